"""The required speed: bounds that the rows of the benchmark are checked against."""

from __future__ import annotations

import math
from typing import NamedTuple

from scripts.bench.measure import BARE, COMPILED, EAGER, JAX, PLAIN, Row


class Target(NamedTuple):
    """A bound: `measured` must be at least (with `at_most`, at most) `bound`; nan: not measured.

    before: what version 0.1 reached. profile: where the time goes, shown where the bound is missed.
    """

    what: str
    before: str
    bound: float
    measured: float
    at_most: bool = False
    profile: str = ""

    @property
    def verdict(self) -> str:
        if math.isnan(self.measured):
            return "not measured"
        met = self.measured <= self.bound if self.at_most else self.measured >= self.bound
        return "met" if met else "missed"

    def cells(self) -> dict[str, str]:
        """A line of the table."""
        return {
            "what": self.what,
            "version 0.1": self.before,
            "target": f"{'at most' if self.at_most else 'at least'} {self.bound:g}",
            "measured": "-" if math.isnan(self.measured) else f"{self.measured:.3g}",
            "verdict": self.verdict,
            "where our time goes": (self.profile or "-") if self.verdict == "missed" else "-",
        }


def targets(rows: list[Row]) -> list[Target]:
    """Every target, against the row that it is about."""
    by_name = {(row.problem, row.program): row for row in rows}
    nothing = Row("", "", math.nan, "")

    def row(problem: str, program: str) -> Row:
        return by_name.get((problem, program), nothing)

    def over(what: str, before: str, bound: float, problem: str, program: str, ours: str) -> Target:
        """A target for the time of a program over the time of ours."""
        column = "over_eager" if ours == EAGER else "over_compiled"
        where = row(problem, ours).where_the_time_goes
        return Target(what, before, bound, getattr(row(problem, program), column), profile=where)

    many, one = "toy RELAX, 1000 seeds", "toy RELAX, 1 seed"
    what = f"{many}: JAX vmap and scan / ours compiled"
    found = [over(what, ".55 to .61", 0.9, many, JAX, COMPILED)]
    slower = over(f"{one}: ours compiled / plain loop", ".14", 0.03, one, PLAIN, COMPILED)
    found.append(slower._replace(measured=1 / slower.measured, at_most=True))
    for estimator, batch, before in JIT:
        problem = f"VAE linear1 {estimator}, batch {batch}"
        what = f"{problem}: JAX jit / ours compiled"
        found.append(over(what, before, 1.0, problem, JAX, COMPILED))
    for batch, before in ((24, ".81"), (100, ".87")):
        problem = f"VAE linear1 concrete, batch {batch}"
        what = f"{problem}: plain / ours, both eager"
        found.append(over(what, before, 0.95, problem, PLAIN, EAGER))
    fastest = min(
        (row("CartPole RELAX, 10 seeds, two collapsed", how) for how in (COMPILED, EAGER)),
        key=lambda row: row.time,
    )
    what, where = "CartPole RELAX, 10 seeds, two collapsed: seconds", fastest.where_the_time_goes
    found.append(Target(what, "52", 15, fastest.time, True, where))
    problem = "LunarLander RELAX, 10 seeds"
    share = max((row(problem, BARE).over_compiled, row(problem, BARE).over_eager))
    where = row(problem, COMPILED).where_the_time_goes
    found.append(Target(f"{problem}: share of bare stepping", ".67", 0.8, share, profile=where))
    first = row("first VAE step", EAGER)
    what, where = "seconds to the first VAE step, eager", first.where_the_time_goes
    return [*found, Target(what, "5.5", 3, first.time, True, where)]


JIT = (  # estimator, batch, what version 0.1 reached
    ("rebar", 24, "1.14"),
    ("relax", 24, "1.02"),
    ("rebar", 100, "1.22"),
    ("relax", 100, "1.11"),
)

"""The required speed: bounds that the rows of the benchmark are checked against."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from scripts.bench.measure import Row


class Floor(NamedTuple):
    """A bound: `measured` must be at least (with `at_most`, at most) `bound`; nan: not measured.

    profile: where the time is spent, shown where the bound is missed.
    """

    what: str
    bound: float
    measured: float
    at_most: bool = False
    unit: str = "x"
    profile: str = ""

    @property
    def verdict(self) -> str:
        if math.isnan(self.measured):
            return "not measured"
        met = self.measured <= self.bound if self.at_most else self.measured >= self.bound
        return "met" if met else "MISSED"

    @property
    def explanation(self) -> str:
        """The profile, where the bound is missed."""
        return self.profile if self.verdict == "MISSED" else ""


class Rows:
    """Rows, selected by the values of their columns."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows

    def all(self, column: str, **wanted) -> list[float]:
        found = [r for r in self.rows if all(getattr(r, k) == v for k, v in wanted.items())]
        return [getattr(row, column) for row in found]

    def least(self, column: str, **wanted) -> float:
        return min(self.all(column, **wanted), default=math.nan)


def floors(rows: list[Row]) -> list[Floor]:
    """Every floor, against the worst of the rows that it is about."""
    ask = Rows(rows).least
    found = []
    for how, seeds, bound in (
        ("eager", 1, 2),
        ("eager", 1000, 800),
        ("eager", 10_000, 2000),
        ("compiled", 1000, 2500),
    ):
        measured = ask("vs_reference", family="toy", variant=how, replicas=seeds)
        found.append(Floor(f"toy: {seeds} seeds {how} against the plain loop", bound, measured))
    for batch, bounds in ((24, (1.7, 2.2)), (100, (1.4, 1.7))):
        for how, bound in zip(("eager", "compiled"), bounds, strict=True):
            wanted = {"family": "vae", "variant": how, "batch": batch}
            measured = min(
                (ask("vs_reference", estimator=name, **wanted) for name in ("rebar", "relax")),
                key=lambda x: (math.isnan(x), x),
            )
            what = f"VAE: batch {batch} {how} against the plain step (the slowest model)"
            found.append(Floor(what, bound, measured))
    for batch, bound in ((24, 45), (100, 65)):
        share = ask("roofline", family="vae", variant="compiled", batch=batch, case="linear1")
        what = f"VAE: batch {batch} compiled: share of the roofline"
        found.append(Floor(what, bound, 100 * share, unit=" %", profile=profile(rows, batch)))
    found += estimators(ask)
    found += replicas(ask)
    return found


def profile(rows: list[Row], batch: int) -> str:
    """The shares of a compiled step's time, for each estimator."""
    of = [r for r in rows if r.family == "vae-profile" and r.batch == batch]
    texts = []
    for name in dict.fromkeys(r.estimator for r in of):
        parts = {r.case: r.ms for r in of if r.estimator == name}
        shares = [f"{case} {ms / sum(parts.values()):.0%}" for case, ms in parts.items()]
        texts.append(f"{name}: " + "; ".join(shares))
    return ". ".join(texts)


def estimators(ask: Callable[..., float]) -> list[Floor]:
    """RELAX against REBAR and Concrete, batch 100 on linear1."""
    wanted = {"family": "vae", "case": "linear1", "batch": 100, "variant": "eager"}
    rebar, two, four = (
        ask("vs_concrete", estimator=name, **wanted) for name in ("rebar", "relax", "relax4")
    )
    return [
        Floor("RELAX over REBAR: batch 100 with r of 2 layers", 1.8, two / rebar, True),
        Floor("RELAX over REBAR: batch 100 with r of 4 layers", 2.4, four / rebar, True),
        Floor("RELAX over Concrete: batch 100", 6, four, True),
    ]


def replicas(ask: Callable[..., float]) -> list[Floor]:
    """The cost of a replica among others, and the floors of a GPU."""
    wanted = {"family": "vae-replicas", "estimator": "rebar"}
    ten = ask("vs_one_replica", variant="eager", replicas=10, **wanted)
    twenty = ask("vs_one_replica", variant="graph", replicas=20, **wanted)
    eager, graph = (
        ask("ms", family="vae", case="linear1", estimator="rebar", batch=24, variant=how)
        for how in ("eager", "graph")
    )
    three = {"family": "vae-replicas", "variant": "graph", "replicas": 3}
    minutes = sum(ask("ms", estimator=name, **three) for name in ("rebar", "relax")) * 2e6 / 6e4
    return [
        Floor("CPU: 10 replicas against 1 (per replica; batch 24; eager)", 1.4, ten),
        Floor("GPU: graph against eager (REBAR; batch 24)", 5, eager / graph),
        Floor("GPU: 20 replicas against 1 (per replica; graph)", 8, twenty),
        Floor("GPU: 2 000 000 steps of rebar and relax with 3 seeds", 9, minutes, True, " min"),
    ]

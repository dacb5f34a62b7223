"""What the paper claims, as inequalities, and the one rule that gives each its verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy import stats

from scripts.report.read import NOT_RUN, markdown, number

REPRODUCED, PARTLY, NOT = "reproduced", "partly", "not"

RULE = f"""\
A claim is one or several cells, each an inequality on one number of one experiment, computed from
the CSV files by the same code for all:

- **{REPRODUCED}**: the run has the paper's length, and the 95 % interval over seeds lies wholly on
  the claim's side;
- **{PARTLY}**: the number lies on the claim's side, but the interval reaches over the boundary, or
  one seed gives no interval, or the run is shorter than the paper's;
- **{NOT}**: the number lies on the other side, however close (the interval tells);
- **{NOT_RUN}**: the files are not there.

A claim of several cells is {REPRODUCED} when all its cells are, {NOT} when none that was run is on
its side, {NOT_RUN} when none was run, else {PARTLY}.
Intervals are Student's t over seeds for means and their differences, Wilson's for shares, and the
bootstrap over seeds for ratios.
"""


class Interval(NamedTuple):
    """An estimate with its 95 % interval, nan where there is none."""

    value: float
    low: float = np.nan
    high: float = np.nan

    def text(self, digits: int) -> str:
        value = number(self.value, digits)
        if np.isnan(self.low):
            return f"{value} (one seed)"
        return f"{value} [{number(self.low, digits)}, {number(self.high, digits)}]"


@dataclass
class Cell:
    """One inequality: `ours` is above `above`, or below `below`."""

    where: str
    paper: str
    ours: Interval | None
    above: float | None = None
    below: float | None = None
    digits: int = 2
    full: bool = True  # the run has the paper's length
    note: str = ""  # short: behind the number

    @property
    def verdict(self) -> str:
        if self.ours is None or np.isnan(self.ours.value):
            return NOT_RUN
        sign, boundary = (1, self.above) if self.below is None else (-1, self.below)
        if sign * (self.ours.value - boundary) <= 0:
            return NOT
        worst = self.ours.low if sign > 0 else self.ours.high
        sure = not np.isnan(worst) and sign * (worst - boundary) > 0
        return REPRODUCED if sure and self.full else PARTLY

    @property
    def text(self) -> str:
        if self.verdict == NOT_RUN:
            return NOT_RUN
        return self.ours.text(self.digits) + (f", {self.note}" if self.note else "")

    @property
    def boundary(self) -> str:
        if self.below is None:
            return f"above {number(self.above, self.digits)}"
        return f"below {number(self.below, self.digits)}"


@dataclass
class Claim:
    """What the paper says, what number stands for it, and its cells."""

    says: str
    number: str
    cells: list[Cell] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        found = {cell.verdict for cell in self.cells}
        if found == {NOT, NOT_RUN}:
            return NOT
        return found.pop() if len(found) == 1 else PARTLY

    @property
    def text(self) -> str:
        """The cells in one line, those of one verdict together."""
        groups: dict[str, list[str]] = {}
        for cell in self.cells:
            found = "" if cell.verdict == NOT_RUN else f" {cell.ours.text(cell.digits)}"
            groups.setdefault(cell.verdict, []).append(cell.where + found)
        if len(groups) == 1:
            return ", ".join(next(iter(groups.values())))
        order = sorted(groups, key=lambda verdict: verdict == NOT_RUN)  # what was run comes first
        return "; ".join(f"{verdict}: {', '.join(groups[verdict])}" for verdict in order)

    def table(self) -> str:
        head = ("where", "the paper", "ours, 95 % interval", "claimed", "verdict")
        rows = [(c.where, c.paper, c.text, c.boundary, c.verdict) for c in self.cells]
        missing = NOT_RUN in {cell.verdict for cell in self.cells} - {self.verdict}
        title = f"**{self.says}**: {self.verdict}{', the rest not run' if missing else ''}. "
        title += self.number
        return f"{title}\n\n{markdown(head, rows)}"


def overview(claims: list[Claim]) -> str:
    rows = [(claim.says, f"**{claim.verdict}**", claim.text) for claim in claims]
    return markdown(("the paper's claim", "verdict", "checked on, and the number"), rows)


# ---- intervals ----


def mean(values: np.ndarray) -> Interval:
    """The mean over seeds."""
    n = len(values)
    if n < 2:
        return Interval(float(values.mean()))
    reach = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5
    return Interval(
        float(values.mean()), float(values.mean() - reach), float(values.mean() + reach)
    )


def difference(a: np.ndarray, b: np.ndarray) -> Interval:
    """mean(a) - mean(b) of two groups of seeds, by Welch."""
    value = float(a.mean() - b.mean())
    if min(len(a), len(b)) < 2:
        return Interval(value)
    parts = [x.var(ddof=1) / len(x) for x in (a, b)]
    if sum(parts) == 0:
        return Interval(value, value, value)
    squares = sum(p**2 / (len(x) - 1) for p, x in zip(parts, (a, b), strict=True))
    reach = stats.t.ppf(0.975, sum(parts) ** 2 / squares) * sum(parts) ** 0.5
    return Interval(value, float(value - reach), float(value + reach))


def share(true: np.ndarray) -> Interval:
    """The share of seeds of which something is true, by Wilson."""
    n, p, z = len(true), float(true.mean()), 1.96
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    return Interval(p, middle - reach, middle + reach)

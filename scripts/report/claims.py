"""What the paper claims, as inequalities, and the one rule that gives each its verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy import stats

from scripts.report.read import NOT_RUN, markdown, number

REPRODUCED, SUPPORTED = "reproduced", "supported"
INCONCLUSIVE, CONTRADICTED = "inconclusive", "contradicted"
VERDICTS = (REPRODUCED, SUPPORTED, INCONCLUSIVE, CONTRADICTED, NOT_RUN)
FEWEST_SEEDS = 3

RULE = f"""\
A claim is an inequality on one number, checked on one or several cases. The number is computed from
the CSV files, and one rule gives every case its verdict:

- **{REPRODUCED}**: the runs have the paper's length, and the 95 % interval over seeds lies on the
  claim's side of the boundary;
- **{SUPPORTED}**: the same, in runs that are shorter than the paper's (their length is named);
- **{INCONCLUSIVE}**: the interval contains the boundary, or there are fewer than {FEWEST_SEEDS}
  seeds;
- **{CONTRADICTED}**: the interval lies on the other side;
- **{NOT_RUN}**: there are no results.

The verdict of a claim on several cases is the least favourable one among its cases of the paper's
length. Where there are none, the verdicts of the shorter runs are counted. Intervals over seeds are
Student's t, on the differences between paired seeds where two estimators share their seeds and
Welch's where they do not. Shares have Wilson's interval, ratios of times the bootstrap over seeds.
"""


class Interval(NamedTuple):
    """An estimate with its 95 % interval over so many seeds; nan where there is none."""

    value: float
    low: float = np.nan
    high: float = np.nan
    seeds: int = 1

    def text(self, digits: int) -> str:
        value = number(self.value, digits)
        if np.isnan(self.low):
            return f"{value} (one seed)" if self.seeds == 1 else value
        return f"{value} [{number(self.low, digits)}, {number(self.high, digits)}]"


@dataclass
class Cell:
    """A claim on one case: `ours` is above `above`, or below `below`."""

    where: str
    paper: str
    ours: Interval | None
    above: float | None = None
    below: float | None = None
    digits: int = 2
    full: bool = True  # the run has the paper's length
    note: str = ""  # short: follows the number

    @property
    def verdict(self) -> str:
        ours = self.ours
        if ours is None or np.isnan(ours.value):
            return NOT_RUN
        low, high = ours.low, ours.high
        if self.below is not None:  # mirrored: the claim's side is above the boundary
            low, high = 2 * self.below - high, 2 * self.below - low
        boundary = self.above if self.below is None else self.below
        if ours.seeds < FEWEST_SEEDS or np.isnan(low) or low <= boundary <= high:
            return INCONCLUSIVE
        if high < boundary:
            return CONTRADICTED
        return REPRODUCED if self.full else SUPPORTED

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
        """The least favourable one at the paper's length, else a count of the shorter runs'."""
        found = [cell.verdict for cell in self.cells if cell.verdict != NOT_RUN]
        if not found:
            return NOT_RUN
        full = [c.verdict for c in self.cells if c.full and c.verdict != NOT_RUN]
        for verdict in (CONTRADICTED, INCONCLUSIVE, REPRODUCED):
            if verdict in full:
                return verdict
        if len(set(found)) == 1:
            return found[0]
        counts = [(found.count(verdict), verdict) for verdict in VERDICTS]
        return f"of {len(found)}: " + ", ".join(f"{n} {verdict}" for n, verdict in counts if n)

    @property
    def not_run(self) -> int:
        """How many cases were not run."""
        return sum(cell.verdict == NOT_RUN for cell in self.cells)

    @property
    def text(self) -> str:
        """A line per case that was run, with its verdict, and how many were not."""
        lines = [
            f"{cell.where}: {cell.verdict}, {cell.ours.text(cell.digits)}"
            for cell in self.cells
            if cell.verdict != NOT_RUN
        ]
        if self.not_run:
            lines.append(f"{self.not_run} case{'s' * (self.not_run > 1)} {NOT_RUN}")
        return "<br>".join(lines)

    def table(self) -> str:
        head = ("case", "the paper", "ours, 95 % interval", "claimed", "verdict")
        rows = [(c.where, c.paper, c.text, c.boundary, c.verdict) for c in self.cells]
        rest = f" ({self.not_run} {NOT_RUN})" if self.not_run and self.verdict != NOT_RUN else ""
        return f"**{self.says}**: {self.verdict}{rest}. {self.number}\n\n{markdown(head, rows)}"


def overview(claims: list[Claim]) -> str:
    """The claims against their cases, one verdict for each."""
    rows = [(claim.says, f"**{claim.verdict}**", claim.text) for claim in claims]
    return markdown(("the paper's claim", "verdict", "by case, with the number"), rows)


def counted(claims: list[Claim]) -> str:
    """How many cases have which verdict."""
    verdicts = [cell.verdict for claim in claims for cell in claim.cells]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS)
    return f"{len(claims)} claims on {len(verdicts)} cases: {counts}.\n"


# ---- intervals ----


def mean(values: np.ndarray) -> Interval:
    """The mean over seeds."""
    n, value = len(values), float(values.mean())
    if n < 2:
        return Interval(value)
    reach = float(stats.t.ppf(0.975, n - 1) * stats.sem(values))
    return Interval(value, value - reach, value + reach, n)


def paired(a: np.ndarray, b: np.ndarray) -> Interval:
    """The mean of a - b over seeds that both have, in the same order."""
    return mean(np.asarray(a) - np.asarray(b))


def difference(a: np.ndarray, b: np.ndarray) -> Interval:
    """mean(a) - mean(b) of two groups of seeds, by Welch."""
    value, seeds = float(a.mean() - b.mean()), min(len(a), len(b))
    if seeds < 2:
        return Interval(value)
    found = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    return Interval(value, float(found.low), float(found.high), seeds)


def share(true: np.ndarray) -> Interval:
    """The share of seeds of which something is true."""
    test = stats.binomtest(int(true.sum()), len(true))
    found = test.proportion_ci(method="wilson")
    return Interval(float(true.mean()), found.low, found.high, len(true))

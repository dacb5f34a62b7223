"""The paper's claims as inequalities, and the one rule that gives each its verdict."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scripts.intervals import Interval
from scripts.results import NOT_RUN, number, plural

REPRODUCED, SUPPORTED = "reproduced", "supported"
INCONCLUSIVE, CONTRADICTED = "inconclusive", "contradicted"
VERDICTS = (REPRODUCED, SUPPORTED, INCONCLUSIVE, CONTRADICTED, NOT_RUN)
FEWEST_SEEDS = 3


@dataclass
class Cell:
    """A claim on one case: `ours` is above the number `above`, or below the number `below`."""

    case: str
    paper: str
    ours: Interval | None
    above: float | None = None
    below: float | None = None
    digits: int = 2
    full: bool = True  # the run has the paper's length
    note: str = ""  # short: follows the number
    differs: bool | None = None  # what another test says of the boundary, in the interval's place

    @property
    def verdict(self) -> str:
        ours = self.ours
        if ours is None or np.isnan(ours.value):
            return NOT_RUN
        value, low, high = ours.value, ours.low, ours.high
        if self.below is not None:  # mirrored, so that the claim's side is above the boundary
            value, low, high = (2 * self.below - x for x in (value, high, low))
        boundary = self.above if self.below is None else self.below
        differs = not low <= boundary <= high if self.differs is None else self.differs
        if ours.seeds < FEWEST_SEEDS or np.isnan(low) or not differs:
            return INCONCLUSIVE
        if value < boundary:
            return CONTRADICTED
        return REPRODUCED if self.full else SUPPORTED

    @property
    def text(self) -> str:
        if self.verdict == NOT_RUN:
            return NOT_RUN
        return self.ours.text(self.digits) + (f", {self.note}" if self.note else "")

    @property
    def claimed(self) -> str:
        side, boundary = ("above", self.above) if self.below is None else ("below", self.below)
        return f"{side} {number(boundary, self.digits)}"

    @property
    def row(self) -> dict[str, str]:
        return {
            "case": self.case,
            "the paper": self.paper,
            "ours, 95 % interval": self.text,
            "claimed": self.claimed,
            "verdict": self.verdict,
        }


@dataclass
class Claim:
    """A sentence of the paper, the number that it is judged by, and its cases."""

    says: str
    number: str
    cells: list[Cell] = field(default_factory=list)

    @property
    def run(self) -> list[Cell]:
        """The cases that were run."""
        return [cell for cell in self.cells if cell.verdict != NOT_RUN]

    @property
    def not_run(self) -> str:
        """2 cases not run; empty if all were run."""
        missing = len(self.cells) - len(self.run)
        return f"{plural(missing, 'case')} {NOT_RUN}" if missing else ""

    @property
    def verdict(self) -> str:
        """The least favourable one at the paper's length, else a count of the shorter runs'."""
        full = [cell.verdict for cell in self.run if cell.full]
        for verdict in (CONTRADICTED, INCONCLUSIVE, REPRODUCED):
            if verdict in full:
                return verdict
        found = [cell.verdict for cell in self.run]
        if len(set(found)) <= 1:
            return found[0] if found else NOT_RUN
        counts = [f"{found.count(v)} {v}" for v in VERDICTS if v in found]
        return f"of {len(found)}: " + ", ".join(counts)

    @property
    def rows(self) -> list[dict[str, str]]:
        return [cell.row for cell in self.cells]

    @property
    def by_case(self) -> list[str]:
        """A line per case that was run, and how many were not."""
        lines = [
            f"{c.case}: {c.verdict}, {c.text} (claimed: {c.claimed}; paper: {c.paper})"
            for c in self.run
        ]
        return [*lines, *([self.not_run] if self.not_run else [])]


def overview(claims: list[Claim]) -> list[dict[str, str]]:
    """A row per claim, with the number that decides it and a verdict for each of its cases."""
    return [
        {
            "the paper's claim, and the number that decides": f"{claim.says}<br>*{claim.number}*",
            "verdict": f"**{claim.verdict}**",
            "by case": "<br>".join(claim.by_case),
        }
        for claim in claims
    ]


def in_short(claims: list[Claim]) -> list[dict[str, str]]:
    """A row per claim with its verdict and the number of cases, without the numbers."""
    return [
        {
            "the paper's claim": claim.says,
            "verdict": f"**{claim.verdict}**",
            "cases": f"{len(claim.run)} run, {len(claim.cells) - len(claim.run)} {NOT_RUN}",
        }
        for claim in claims
    ]


def lengths(claims: list[Claim]) -> str:
    """How many cases were run, and how many of these at the paper's length."""
    cells = [cell for claim in claims for cell in claim.cells]
    run = [cell for claim in claims for cell in claim.run]
    full = sum(cell.full for cell in run)
    missing = f"{len(cells) - len(run)} are {NOT_RUN}"
    return f"Of {len(cells)} cases, {missing} and {full} were run at the paper's length."


def counted(claims: list[Claim]) -> str:
    """How many cases have which verdict."""
    verdicts = [cell.verdict for claim in claims for cell in claim.cells]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS)
    return f"{len(claims)} claims on {len(verdicts)} cases: {counts}."

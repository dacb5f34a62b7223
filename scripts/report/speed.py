"""The benchmark's tables: the required speed, and the times beside plain PyTorch and JAX."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from scripts.bench.measure import Row
from scripts.bench.targets import targets
from scripts.results import Results, markdown

PLACE, COMMAND = "bench/cpu.csv", "make bench"
HEADINGS = {
    "problem": "problem",
    "program": "program",
    "time": "time",
    "unit": "unit",
    "over_eager": "over ours, eager",
    "over_compiled": "over ours, compiled",
    "spread": "spread",
}


def target_table(results: Results) -> str:
    """What is required, what version 0.1 reached, and what was measured."""
    names = [item.name for item in fields(Row)]
    rows = [Row(**{name: row[name] for name in names}) for row in results.rows(PLACE)]
    return markdown(target.cells() for target in targets(rows))


def time_table(results: Results) -> str:
    """Every measurement."""
    return markdown(
        {heading: plain(row[name]) for name, heading in HEADINGS.items()}
        for row in results.rows(PLACE)
    )


def machine(results: Results) -> str:
    """Where it was measured."""
    return results.rows(PLACE)[0]["machine"]


def plain(cell: str | float) -> str:
    """A number in three digits or more, text as it is, a dash for what does not apply."""
    if isinstance(cell, str):
        return cell or "-"
    if not np.isfinite(cell):
        return "-"
    return f"{cell:.0f}" if cell >= 1000 else f"{cell:.3g}"

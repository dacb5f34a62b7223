"""Reading results: what is not there is None, and None is written as "not run"."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from experiments.run.files import read_table
from experiments.run.progress import duration

NOT_RUN = "not run"
Table = dict[str, np.ndarray]


@dataclass(frozen=True)
class Results:
    """The folder results/, read and never written."""

    root: Path
    _read: dict[str, Table | None] = field(default_factory=dict, compare=False, repr=False)

    def table(self, place: str) -> Table | None:
        """A CSV file as columns, or None where it is not there or has no rows."""
        if place not in self._read:
            path = self.root / place
            table = read_table(path) if path.exists() else {}
            self._read[place] = table if any(map(len, table.values())) else None
        return self._read[place]

    def rows(self, place: str) -> list[dict]:
        """A CSV file as one dictionary per row; none where it is not there."""
        table = self.table(place) or {}
        return [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]

    def row(self, place: str, **wanted: str) -> dict | None:
        """The first row with these cells."""
        rows = (r for r in self.rows(place) if all(r[k] == v for k, v in wanted.items()))
        return next(rows, None)

    @cached_property
    def paper(self) -> dict:
        """What the paper says: its curves and tables, by name."""
        found: dict = {}
        for file in sorted((self.root / "paper").glob("*.json")):
            for name, item in json.loads(file.read_text()).items():
                if isinstance(item, dict):  # a table may be spread over files
                    found[name] = {**found.get(name, {}), **item}
        return found

    def picture(self, name: str, caption: str, command: str) -> str:
        """The picture results/figures/<name>.png with what it shows, or "not run"."""
        if not (self.root / "figures" / f"{name}.png").exists():
            return f"*{caption}* {NOT_RUN}: `{command}`\n"
        return f"![{caption}](figures/{name}.png)\n\n*{caption}*\n"


def curve(series: dict, x: float) -> float:
    """The height of one of the paper's curves at x."""
    return float(np.interp(x, series["x"], series["y"]))


def average(series: dict, start: float) -> float:
    """The mean height of one of the paper's curves from `start` on."""
    x = np.linspace(start, series["x"][-1], 1000)
    return float(np.interp(x, series["x"], series["y"]).mean())


# ---- writing ----


def number(value: float | None, digits: int) -> str:
    """A number with so many decimals; "not run" for None and nan."""
    if value is None or not np.isfinite(value):
        return NOT_RUN
    if digits == 0 and abs(value) >= 10_000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no minus before a zero


def plus_minus(value: float | None, error: float | None, digits: int) -> str:
    """mean ± standard error, the error left out where one seed gives none."""
    text = number(value, digits)
    known = error is not None and np.isfinite(error) and text != NOT_RUN
    return f"{text} ± {number(error, digits)}" if known else text


def took(row: dict | None) -> str:
    """Of a row of summary.csv: how long the run took, and on what."""
    if not row or not np.isfinite(row.get("seconds", np.nan)):
        return NOT_RUN
    said = (duration(row["seconds"]), row.get("device"))
    return ", ".join(text for text in said if isinstance(text, str) and text)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a cell must not hold a bar."""
    lines = [list(head), ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def names(usual: Sequence[str], folder: Path, rows: list[dict], ignore: Sequence[str]) -> list[str]:
    """The usual estimators, then the others that a CSV file or a summary row tells of."""
    found = {file.stem.removesuffix("-solved") for file in folder.glob("*.csv")}
    found |= {row["estimator"] for row in rows}
    return [*usual, *sorted(found - {*usual, *ignore})]

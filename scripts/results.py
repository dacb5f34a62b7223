"""Reading results/ and writing its numbers as text: what is missing is written as "not run"."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from experiments.run.files import read_table
from experiments.run.progress import duration
from experiments.run.statistics import standard_error

NOT_RUN = "not run"
ROOT = Path(__file__).parents[1]
NOT_ESTIMATORS = ("summary", "relaxation", "variance", "terms", "terms_variance")


def read(path: Path) -> pd.DataFrame:
    """A CSV file; a torn one raises UserError."""
    return pd.DataFrame(read_table(path))


def by_seed(table: pd.DataFrame, metric: str, index: str, how: str = "all") -> pd.DataFrame:
    """One metric with a row per measurement and a column per seed.

    Args:
        table: one estimator at one setting; at every measurement a row for each of the seeds.
        index: the column that says when it was measured, such as "epoch".
        how: leave out rows where "all" seeds lack the metric, or those where "any" does.
    """
    seeds = table["seed"].unique()
    if metric not in table:
        return pd.DataFrame(columns=seeds, dtype=float)
    values = table[metric].to_numpy().reshape(-1, len(seeds))  # much faster than pivot
    times = table[index].to_numpy()[:: len(seeds)]
    return pd.DataFrame(values, index=times, columns=seeds).dropna(how=how)


def estimators(folder: Path, usual: Sequence[str], suffix: str = "") -> list[str]:
    """Estimators that have a file <name><suffix>.csv in a folder, the usual ones first."""
    names = {file.stem.removesuffix(suffix) for file in folder.glob(f"*{suffix}.csv")}
    names -= {*NOT_ESTIMATORS, *(name for name in names if name.endswith("-solved"))}
    return [*(name for name in usual if name in names), *sorted(names - set(usual))]


@cache
def config(name: str) -> dict:
    """A file of configs/, such as "preset/vae/long"; empty where the preset has none."""
    path = ROOT / "configs" / f"{name}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


@dataclass(frozen=True)
class Results:
    """The folder results/, which this class only reads."""

    root: Path = ROOT / "results"
    _read: dict[str, pd.DataFrame | None] = field(default_factory=dict, compare=False, repr=False)

    def table(self, place: str) -> pd.DataFrame | None:
        """A CSV file, or None where it is missing or has no rows."""
        if place not in self._read:
            path = self.root / place
            table = read(path) if path.exists() else pd.DataFrame()
            self._read[place] = table if len(table) else None
        return self._read[place]

    def rows(self, place: str) -> list[dict]:
        """The rows of a CSV file; none where it is missing."""
        table = self.table(place)
        return [] if table is None else table.to_dict("records")

    def row(self, place: str, **wanted: str | int) -> dict | None:
        """The first row with these values."""
        rows = (r for r in self.rows(place) if all(r[k] == v for k, v in wanted.items()))
        return next(rows, None)

    def names(self, place: str, usual: Sequence[str]) -> list[str]:
        """The usual estimators, then others with a file in a folder or a row of its summary."""
        summary = {row["estimator"] for row in self.rows(f"{place}/summary.csv")}
        others = {*estimators(self.root / place, ()), *summary} - set(usual)
        return [*usual, *sorted(others)]

    @cached_property
    def paper(self) -> dict:
        """The paper's curves and tables, by name; this repository's where the folder has none."""
        folder = self.root / "paper"
        found: dict = {}
        for file in sorted((folder if folder.exists() else ROOT / "results/paper").glob("*.json")):
            for name, item in json.loads(file.read_text(encoding="utf-8")).items():
                if isinstance(item, dict):  # a table may be divided among files
                    found[name] = {**found.get(name, {}), **item}
        return found

    def paper_series(self, figure: str) -> dict[str, dict]:
        """The paper's curves in one of its figures; none where the paper lacks the figure."""
        return self.paper.get(figure, {}).get("series", {})

    def has_picture(self, name: str) -> bool:
        return (self.root / "figures" / f"{name}.png").exists()

    def picture(self, name: str, caption: str, command: str) -> str:
        """Markdown for the picture results/figures/<name>.png, or "not run"."""
        if not self.has_picture(name):
            return f"*{caption}* {NOT_RUN}: `{command}`\n"
        return f"![{caption}](figures/{name}.png)\n\n*{caption}*\n"


def curve(series: dict, x: float) -> float:
    """The height of one of the paper's curves at x."""
    return float(np.interp(x, series["x"], series["y"]))


def covers(series: dict | None, x: float) -> bool:
    """Whether one of the paper's curves is visible at x."""
    return series is not None and min(series["x"]) <= x <= max(series["x"])


def average(series: dict, start: float) -> float:
    """The mean height of one of the paper's curves from `start` to its end."""
    x = np.linspace(start, series["x"][-1], 1000)
    return float(np.interp(x, series["x"], series["y"]).mean())


# ---- text ----


def number(value: float | None, digits: int) -> str:
    """A number with this many decimals; "not run" for None and nan."""
    if value is None or not np.isfinite(value):
        return NOT_RUN
    if digits == 0 and abs(value) >= 10_000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{np.round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no minus sign before a zero


def plus_minus(value: float | None, error: float | None, digits: int) -> str:
    """mean ± standard error; without the error where there is none, as for a single seed."""
    text = number(value, digits)
    known = error is not None and np.isfinite(error) and text != NOT_RUN
    return f"{text} ± {number(error, digits)}" if known else text


def mean_and_error(values: Sequence[float] | None, digits: int) -> str:
    """The mean over seeds ± its standard error."""
    if values is None or not len(values):
        return NOT_RUN
    return plus_minus(np.mean(values), standard_error(values), digits)


def took(row: Mapping | None) -> str:
    """How long a run took and on what device, from its row of summary.csv."""
    if not row or not np.isfinite(row.get("seconds", np.nan)):
        return NOT_RUN
    parts = (duration(row["seconds"]), row.get("device"))
    return ", ".join(text for text in parts if isinstance(text, str) and text)


def plural(count: int, noun: str) -> str:
    """1 seed, 2 seeds"""
    return f"{count} {noun}" + "s" * (count != 1)


def markdown(rows: Iterable[Mapping[str, object]]) -> str:
    """A Markdown table of rows that map column headings to cells; a cell must not hold a bar."""
    rows = [{name: str(cell) for name, cell in row.items()} for row in rows]
    if not rows:
        return f"{NOT_RUN}\n"
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"

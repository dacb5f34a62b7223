"""From finished runs to results/: thinned curves, when each seed solved its task, a summary."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.rl.config import Rl
from experiments.run.config import run_path
from experiments.run.files import TOOK, locked, with_old_times, write_table
from experiments.run.statistics import standard_error

POINTS = 100  # rows of a thinned curve per replica
RATES = ["lr", "scale", "value_lr", "surrogate_lr"]
SUMMARY = (
    "estimator,rates,seeds,frames,solved,solved_frames,solved_frames_se,solved_episodes,recent"
)


def write(config: Rl, folder: Path) -> None:
    """Write <variant>.csv, <variant>-solved.csv and perhaps <variant>.gif for a finished run."""
    case = results_path(config)
    file, table = case / f"{folder.name}-solved.csv", solved(folder)
    columns, rows = list(table), table.astype(object).values.tolist()
    write_table(file, columns, with_old_times(file, columns, rows))
    curves = thinned(folder, config.frames).map(lambda x: "" if math.isnan(x) else f"{x:.6g}")
    write_table(case / f"{folder.name}.csv", list(curves), curves.values.tolist())
    if (folder / "clip.gif").exists():
        shutil.copyfile(folder / "clip.gif", case / f"{folder.name}.gif")


def summarise(config: Rl) -> Path:
    """Write summary.csv over all variants of the case; returns the case's folder."""
    case = results_path(config)
    lock = run_path(config, "rl", config.case, "summary").with_name("summary.lock")
    with locked(lock):  # the cases of a sweep write here at the same time
        rows = [row for file in sorted(case.glob("*-solved.csv")) for row in summary(file)]
        write_table(case / "summary.csv", [*SUMMARY.split(","), *TOOK], rows)
    return case


def results_path(config: Rl) -> Path:
    """results/rl/<preset>/<case>"""
    return Path(config.results) / "rl" / config.preset / config.case


def solved(folder: Path) -> pd.DataFrame:
    """One row per replica: its rates and seed, when it solved the task (-1: not), and the time that
    all replicas took together."""
    entries = json.loads((folder / "summary.json").read_text())
    per_replica = {key: value for key, value in entries.items() if isinstance(value, list)}
    shared = {key: entries[key] for key in ("frames", *TOOK) if key in entries}
    return pd.DataFrame({**per_replica, **shared})


def thinned(folder: Path, frames: int) -> pd.DataFrame:
    """The curves of metrics.csv: for each replica the means over POINTS parts of the run, or every
    measurement where the variance was measured."""
    table = pd.read_csv(folder / "metrics.csv").dropna(subset="frames")
    columns = list(table)
    keys = columns[1 : columns.index("return")]
    values = columns[columns.index("return") :]
    measured = [name for name in values if name.startswith(("logvar_", "term_"))]
    if measured:
        table = table.dropna(subset=measured[0])
        part = table["step"]
    else:
        part = (table["frames"] * POINTS // frames).clip(upper=POINTS - 1)
    means = table.groupby([*keys, part.rename("part")])[values].mean()
    return means.reset_index(keys).reset_index(drop=True)


# ---- when a task is solved ----


def restricted(table: dict[str, np.ndarray]) -> np.ndarray:
    """Frames until solved; a seed that does not solve the task counts with all its frames."""
    return np.where(table["solved_frames"] < 0, table["frames"], table["solved_frames"])


def summary(file: Path) -> list[list]:
    """For each combination of rates: how many seeds solved the task, and the restricted mean."""
    table = pd.read_csv(file)
    rates = [key for key in RATES if key in table]
    name = file.name.removesuffix("-solved.csv")
    groups = table.groupby(rates, sort=False)
    return [[name, *_summary(group, rates)] for _, group in groups]


def _summary(group: pd.DataFrame, rates: list[str]) -> list:
    first, when, solved = group.iloc[0], restricted(group), group["solved_frames"] >= 0
    error = standard_error(when)
    return [
        " ".join(f"{key}={first[key]:g}" for key in rates),
        len(group),
        int(first["frames"]),
        int(solved.sum()),
        f"{when.mean():.0f}",
        "" if math.isnan(error) else f"{error:.0f}",
        f"{group['solved_episodes'].mean():.0f}" if solved.all() else "",
        f"{group['recent'].mean():.1f}",
        *(str(first[key]) if key in group else "" for key in TOOK),
    ]

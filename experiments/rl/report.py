"""What finished runs leave under results/: thinned curves, when each seed solved it, a summary."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from experiments.rl.config import Rl
from experiments.run.config import run_path
from experiments.run.files import TOOK, locked, read_table, with_old_times, write_table

POINTS = 100  # rows per seed that a figure needs
RATES = ("lr", "scale", "value_lr", "surrogate_lr")
SUMMARY = (
    "estimator,rates,seeds,frames,solved,solved_frames,solved_frames_se,solved_episodes,recent,"
    "seconds,device"
)


def write(config: Rl, folder: Path) -> None:
    """results/rl/<preset>/<case>/: <arm>.csv and <arm>-solved.csv."""
    case = place(config)
    file = case / f"{folder.name}-solved.csv"
    columns, rows = solved(folder)
    write_table(file, columns, with_old_times(file, columns, rows))
    write_table(case / f"{folder.name}.csv", *thinned(folder, config.frames))
    if (folder / "clip.gif").exists():
        shutil.copyfile(folder / "clip.gif", case / f"{folder.name}.gif")


def summarise(config: Rl) -> Path:
    """summary.csv over all the arms of the case that are there; its folder."""
    case = place(config)
    lock = run_path(config, "rl", config.case, "summary").with_name("summary.lock")
    with locked(lock):  # a sweep's cases write here side by side
        rows = [row for file in sorted(case.glob("*-solved.csv")) for row in summary(file)]
        write_table(case / "summary.csv", SUMMARY.split(","), rows)
    return case


def place(config: Rl) -> Path:
    return Path(config.results) / "rl" / config.preset / config.case


def solved(folder: Path):
    """One row per replica: its rates, its seed, where it was solved (-1: it was not), and what
    all of them took together."""
    found = json.loads((folder / "summary.json").read_text())
    columns = [key for key, value in found.items() if isinstance(value, list)]
    shared = ("frames", *(key for key in TOOK if key in found))
    rows = zip(*(found[key] for key in columns), strict=True)
    return [*columns, *shared], [[*row, *(found[key] for key in shared)] for row in rows]


def thinned(folder: Path, frames: int):
    """Per replica: every measurement of the variance, or the means over POINTS parts of the run."""
    table = read_table(folder / "metrics.csv")
    names = list(table)
    keys = names[1 : names.index("return")]
    values = [name for name in names if name not in ("step", *keys)]
    measured = [name for name in values if name.startswith("logvar_")]
    part = np.minimum(table["frames"] * POINTS // frames, POINTS - 1)
    if measured:
        part = np.where(np.isnan(table[measured[0]]), np.nan, table["step"])
    replica = np.stack([table[key] for key in keys], 1)
    rows = []
    for one in np.unique(replica, axis=0):
        mine = (replica == one).all(1) & ~np.isnan(part) & ~np.isnan(table["frames"])
        for p in np.unique(part[mine]):
            here = [table[name][mine & (part == p)] for name in values]
            rows.append([*(f"{k:g}" for k in one), *(_mean(v) for v in here)])
    return [*keys, *values], rows


def _mean(values: np.ndarray) -> str:
    values = values[~np.isnan(values)]
    return f"{values.mean():.6g}" if len(values) else ""


# ---- when it is solved ----


def restricted(table: dict[str, np.ndarray]) -> np.ndarray:
    """Frames until solved; a seed that does not get there counts with all the frames it had."""
    return np.where(table["solved_frames"] < 0, table["frames"], table["solved_frames"])


def summary(file: Path) -> list[list]:
    """One row per combination of rates: how many seeds solved it, and the restricted mean."""
    table = read_table(file)
    keys = [key for key in RATES if key in table]
    rates = np.array(
        [" ".join(f"{k}={table[k][i]:g}" for k in keys) for i in range(len(table["seed"]))]
    )
    rows = []
    for one in dict.fromkeys(rates):
        here = {name: column[rates == one] for name, column in table.items()}
        when, done = restricted(here), here["solved_frames"] >= 0
        error = when.std(ddof=1) / len(when) ** 0.5 if len(when) > 1 else np.nan
        episodes = f"{here['solved_episodes'].mean():.0f}" if done.all() else ""
        name = file.name.removesuffix("-solved.csv")
        counts = [len(when), int(here["frames"][0]), int(done.sum())]
        means = [f"{when.mean():.0f}", f"{error:.0f}", episodes, f"{here['recent'].mean():.1f}"]
        took = [str(here[key][0]) if key in here else "" for key in TOOK]
        rows.append([name, one, *counts, *means, *took])
    return rows


def ratio(slow: np.ndarray, fast: np.ndarray, draws: int = 10_000) -> tuple[float, float, float]:
    """mean(slow) / mean(fast) with its 95 % bootstrap interval over seeds."""
    rng = np.random.default_rng(0)
    means = [x[rng.integers(0, len(x), (draws, len(x)))].mean(1) for x in (slow, fast)]
    low, high = np.quantile(means[0] / means[1], [0.025, 0.975])
    return slow.mean() / fast.mean(), low, high

"""What a finished run leaves under results/: its thinned curve, and when each seed solved it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from experiments.files import read_table, write_table
from experiments.rl.config import Rl

POINTS = 100  # rows per seed that a figure needs


def write(config: Rl, name: str, folder: Path) -> None:
    """results/rl/<preset>/<case>/<arm>.csv and <arm>-solved.csv."""
    place = Path(config.results) / "rl" / config.preset / folder.parent.name
    write_table(place / f"{folder.name}-solved.csv", *solved(folder))
    write_table(place / f"{folder.name}.csv", *thinned(folder, config.frames))


def solved(folder: Path):
    """One row per replica: its rates, its seed, and where it was solved (-1: it was not)."""
    summary = json.loads((folder / "summary.json").read_text())
    columns = [key for key, value in summary.items() if isinstance(value, list)]
    rows = zip(*(summary[key] for key in columns), strict=True)
    return [*columns, "frames"], [[*row, summary["frames"]] for row in rows]


def thinned(folder: Path, frames: int):
    """Per replica and POINTS-th part of its frames the mean of the rows that fall there."""
    table = read_table(folder / "metrics.csv")
    names = list(table)
    keys = names[1 : names.index("return")]
    values = [name for name in names if name not in ("step", *keys)]
    replica = np.stack([table[key] for key in keys], 1)
    rows = []
    for one in np.unique(replica, axis=0):
        mine = (replica == one).all(1) & ~np.isnan(table["frames"])
        part = np.minimum(table["frames"][mine] * POINTS // frames, POINTS - 1)
        for p in np.unique(part):
            here = [table[name][mine][part == p] for name in values]
            rows.append([*one, *(_mean(v) for v in here)])
    return [*keys, *values], rows


def _mean(values: np.ndarray) -> str:
    values = values[~np.isnan(values)]
    return f"{values.mean():.6g}" if len(values) else ""

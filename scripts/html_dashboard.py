"""runs/dashboard.html: interactive curves of every run, in one page that needs no network.

The page reads metrics.csv, so it shows running runs as well. Runs are grouped by figure, as in W&B,
and an estimator has the same colour as in all figures.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader
from plotly.offline import get_plotlyjs

from experiments.run import ranks
from experiments.run.files import take_lock, write_whole
from scripts import style

KEYS = ("seed", "lr", "scale", "value_lr", "surrogate_lr")  # columns that identify a replica
POINTS = 300  # of a curve
REFRESH = 60  # seconds
ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True
)


def write(root: Path) -> bool:
    """Write <root>/dashboard.html; whether a run is active."""
    text, active = page(root)
    write_whole(root / "dashboard.html", text.encode())
    return active


def page(root: Path) -> tuple[str, bool]:
    """The page, and whether a run is active."""
    runs = {folder: read(folder) for folder in find_runs(root)}
    rows = [row(folder, table) for folder, table in runs.items()]
    active = any(row["state"] == "running" for row in rows)
    text = ENVIRONMENT.get_template("dashboard.html.j2").render(
        rows=rows,
        panels=panels(runs),
        plotly=get_plotlyjs(),
        refresh=REFRESH if active else None,
    )
    return text, active


def find_runs(root: Path) -> list[Path]:
    """The run folders, runs/<family>/<preset>/<case>/<estimator>[-<tag>].

    Those of ranks are left out once their run has been merged.
    """
    folders = [file.parent for file in sorted(root.glob("*/*/*/*/config.json"))]
    return [f for f in folders if ranks.whole(f) == f or ranks.whole(f) not in folders]


def read(folder: Path) -> pd.DataFrame:
    """A run's metrics.csv; empty while nothing is recorded."""
    file = folder / "metrics.csv"
    return pd.read_csv(file) if file.exists() and file.stat().st_size else pd.DataFrame()


def group(folder: Path) -> str:
    """A run's group in W&B: <family>-<preset>-<case>."""
    return "-".join(folder.parts[-4:-1])


def metrics(table: pd.DataFrame) -> list[str]:
    if "u" in table:  # the learned surrogate as a function of u, not a curve of training
        return []
    return [column for column in table if column not in ("step", *KEYS)]


# ---- the table ----


def row(folder: Path, table: pd.DataFrame) -> dict[str, Any]:
    return {
        "group": group(folder),
        "name": folder.name,
        "colour": style.colour(folder.name),
        "state": state(folder),
        "step": 0 if table.empty else int(table["step"].iloc[-1]),
        "last": last_values(table),
        "settings": settings(folder),
    }


def state(folder: Path) -> str:
    """finished, running (a process holds the folder's lock) or stopped."""
    if (folder / "summary.json").exists():
        return "finished"
    with (folder / "lock").open("a") as file:
        return "stopped" if take_lock(file, wait=False) else "running"


def settings(folder: Path) -> str:
    """The estimator's settings and the family's plain ones, as on the command line."""
    config = json.loads((folder / "config.json").read_text())
    own = config.get("estimators", {}).get(config.get("estimator"), {})
    plain = {key: value for key, value in config.items() if not isinstance(value, dict)}
    return ", ".join(f"{key}={value}" for key, value in {**plain, **own}.items())


def last_values(table: pd.DataFrame) -> str:
    """The last recorded medians over seeds."""
    if table.empty:
        return "nothing recorded yet"
    last = table.groupby("step")[metrics(table)].median().ffill().iloc[-1].dropna()
    return ", ".join(f"{metric} {value:.5g}" for metric, value in last.items())


# ---- the curves ----


def panels(runs: dict[Path, pd.DataFrame]) -> dict[str, dict[str, list]]:
    """group -> metric -> curves."""
    found: dict[str, dict[str, list]] = {}
    for folder, table in runs.items():
        for metric in metrics(table):
            if drawn := curves(folder.name, table, metric):
                found.setdefault(group(folder), {}).setdefault(metric, []).extend(drawn)
    return found


def curves(name: str, table: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    """Median and 10-90 % band over seeds of one metric, a curve per setting of the other keys."""
    others = [key for key in KEYS if key in table and key != "seed"]
    known = table.dropna(subset=[metric])
    drawn = []
    for values, one in known.groupby(others) if others and len(known) else [((), known)]:
        if one.empty:
            continue
        over_seeds = one.groupby("step")[metric]
        band = over_seeds.quantile([0.1, 0.5, 0.9]).unstack()
        band = band.iloc[:: max(1, len(band) // POINTS)]
        setting = " ".join(f"{key}={value:g}" for key, value in zip(others, values, strict=False))
        drawn.append(
            {
                "name": f"{name} {setting}".strip(),
                "colour": style.colour(name),
                "seeds": int(over_seeds.size().max()),
                "x": band.index.tolist(),
                "low": rounded(band[0.1]),
                "median": rounded(band[0.5]),
                "high": rounded(band[0.9]),
            }
        )
    return drawn


def rounded(values: pd.Series) -> list[float | None]:
    """Six significant digits, None for what JSON cannot hold."""
    return [float(f"{value:.6g}") if abs(value) < float("inf") else None for value in values]

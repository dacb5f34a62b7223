"""Writes runs/dashboard.html: interactive curves of every run, in one page that needs no network.

    python -m scripts.html_dashboard [RUNS] [--watch]

The page reads metrics.csv, so it shows running runs as well. Runs are grouped by figure, as in W&B,
and an estimator has the same colour as in all figures. With --watch the page is written again every
minute until no run is active.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, select_autoescape
from plotly.offline import get_plotlyjs

from scripts import style

KEYS = ("seed", "lr", "scale", "value_lr", "surrogate_lr")  # columns that identify a replica
POINTS = 300  # of a curve
REFRESH = 60  # seconds
TEMPLATES = Path(__file__).parent / "templates"


@dataclass
class Run:
    """A run folder, runs/<family>/<preset>/<case>/<estimator>[-<tag>]."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def group(self) -> str:
        """The W&B group: <family>-<preset>-<case>."""
        return "-".join(self.path.parts[-4:-1])

    @cached_property
    def table(self) -> pd.DataFrame:
        """metrics.csv; empty while nothing is recorded."""
        file = self.path / "metrics.csv"
        return pd.read_csv(file) if file.exists() and file.stat().st_size else pd.DataFrame()

    @cached_property
    def config(self) -> dict[str, Any]:
        return json.loads((self.path / "config.json").read_text())

    @property
    def state(self) -> str:
        """finished, running (a process holds the folder's lock) or stopped."""
        if (self.path / "summary.json").exists():
            return "finished"
        return "running" if locked(self.path / "lock") else "stopped"

    @property
    def settings(self) -> str:
        """The estimator's settings and the family's plain ones, as on the command line."""
        own = self.config.get("estimators", {}).get(self.config.get("estimator"), {})
        plain = {k: v for k, v in self.config.items() if not isinstance(v, dict)}
        return ", ".join(f"{key}={value}" for key, value in {**plain, **own}.items())

    @property
    def metrics(self) -> list[str]:
        if "u" in self.table:  # the learned surrogate as a function of u, not a curve of training
            return []
        return [column for column in self.table if column not in ("step", *KEYS)]


def locked(path: Path) -> bool:
    """Whether another process holds the lock file."""
    if not path.exists():
        return False
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return False
    return False


def find_runs(root: Path) -> list[Run]:
    return [Run(file.parent) for file in sorted(root.glob("*/*/*/*/config.json"))]


def curves(run: Run, metric: str) -> list[dict[str, Any]]:
    """Median and 10-90 % band over seeds of one metric, a curve per setting of the other keys."""
    others = [key for key in KEYS if key in run.table and key != "seed"]
    drawn = []
    for values, table in run.table.groupby(others) if others else [((), run.table)]:
        known = table.dropna(subset=[metric])
        if known.empty:
            continue
        over_seeds = known.groupby("step")[metric]
        band = over_seeds.quantile([0.1, 0.5, 0.9]).unstack()
        band = band.iloc[:: max(1, len(band) // POINTS)]
        setting = " ".join(f"{key}={value:g}" for key, value in zip(others, values, strict=True))
        drawn.append(
            {
                "name": f"{run.name} {setting}".strip(),
                "colour": style.colour(run.name),
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


def panels(runs: list[Run]) -> dict[str, dict[str, list]]:
    """group -> metric -> curves."""
    found: dict[str, dict[str, list]] = {}
    for run in runs:
        for metric in run.metrics:
            if drawn := curves(run, metric):
                found.setdefault(run.group, {}).setdefault(metric, []).extend(drawn)
    return found


def last_values(run: Run) -> str:
    """The last recorded medians over seeds."""
    if run.table.empty:
        return "nothing recorded yet"
    last = run.table.groupby("step")[run.metrics].median().ffill().iloc[-1].dropna()
    return ", ".join(f"{metric} {value:.5g}" for metric, value in last.items())


def page(root: Path) -> tuple[str, bool]:
    """The page, and whether a run is active."""
    runs = find_runs(root)
    rows = [
        {
            "group": run.group,
            "name": run.name,
            "colour": style.colour(run.name),
            "state": run.state,
            "step": 0 if run.table.empty else int(run.table["step"].iloc[-1]),
            "last": last_values(run),
            "settings": run.settings,
        }
        for run in runs
    ]
    active = any(row["state"] == "running" for row in rows)
    loader = FileSystemLoader(TEMPLATES)
    environment = Environment(loader=loader, autoescape=select_autoescape(["html.j2"]))
    text = environment.get_template("dashboard.html.j2").render(
        rows=rows,
        panels=panels(runs),
        plotly=get_plotlyjs(),
        refresh=REFRESH if active else None,
    )
    return text, active


def write(root: Path) -> bool:
    """Write <root>/dashboard.html; whether a run is active."""
    text, active = page(root)
    temporary = root / ".dashboard.html"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(root / "dashboard.html")
    return active


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs"))
    parser.add_argument("--watch", action="store_true", help="update until no run is active")
    arguments = parser.parse_args()
    if not find_runs(arguments.runs):
        print(f"no runs under {arguments.runs} yet: make reproduce-toy makes some in a minute")
        return
    active = write(arguments.runs)
    print(f"{arguments.runs / 'dashboard.html'}: open it in a browser", flush=True)
    while arguments.watch and active:
        time.sleep(REFRESH)
        active = write(arguments.runs)


if __name__ == "__main__":
    main()

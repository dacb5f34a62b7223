"""From metrics.csv to results/: the curves of the figures, and a table of the estimators."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from experiments.permutations.config import Permutations
from experiments.run.config import run_path
from experiments.run.files import export_run
from experiments.run.statistics import standard_error

KEYS = ("step", "seed")
METRICS = ("loss", "gap", "mode_gap", "distance", "best_distance")
METRICS += ("lists_wrong", "numbers_wrong", "log_variance")
# Columns of summary.csv: means over seeds at the last step, and their standard errors.
SUMMARY = ("estimator", "seeds", "steps")
SUMMARY += tuple(f"{metric}_{what}" for metric in METRICS for what in ("mean", "se"))
SUMMARY += ("seconds", "device")


def summarise(table: dict[str, np.ndarray]) -> dict[str, float | None]:
    """The summary of one run, from the columns of its metrics.csv; None where there is none."""
    last = table["step"] == table["step"].max()
    summary: dict = {"seeds": int(last.sum()), "steps": int(table["step"].max())}
    for metric in (metric for metric in METRICS if metric in table):
        values = table[metric][last]
        values = values[~np.isnan(values)]
        summary[f"{metric}_mean"] = float(values.mean()) if len(values) else None
        error = standard_error(values)
        summary[f"{metric}_se"] = None if math.isnan(error) else error
    return summary


def headline(summary: dict) -> str:
    """The line that a finished run prints."""
    error = summary["loss_se"]
    return f"loss {summary['loss_mean']:.6f}" + (f" +- {error:.6f}" if error is not None else "")


def results_path(config: Permutations) -> Path:
    """results/permutations/<preset>/<case>"""
    return Path(config.results) / "permutations" / config.preset / config.case


def export(config: Permutations, estimator: str) -> None:
    """Write <estimator>.csv and the estimator's row of summary.csv."""
    run = run_path(config, "permutations", config.case, estimator)
    export_run(run, results_path(config), KEYS, METRICS, SUMMARY)

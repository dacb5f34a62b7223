"""From metrics.csv to results/: the curves of the figures, and a table of the estimators."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from experiments.run.config import run_path
from experiments.run.files import export_run
from experiments.run.statistics import standard_error
from experiments.toy.config import Toy

CURVES = ("loss", "theta", "log_variance")


@dataclass
class Summary:
    """One estimator at its last step; quantiles and standard errors are over seeds.

    None: nothing was measured, or there is one seed, which has no standard error.
    """

    seeds: int
    steps: int
    loss_median: float
    loss_q10: float
    loss_q90: float
    loss_mean: float
    loss_se: float | None
    suboptimality_median: float
    theta_median: float
    theta_max: float
    log_variance_mean: float | None  # over measurements and seeds
    log_variance_se: float | None  # over seeds, of their means over measurements


# Columns of summary.csv; the last two are in the summary.json of every run.
SUMMARY = ("estimator", *(item.name for item in fields(Summary)), "seconds", "device")


def summarise(table: dict[str, np.ndarray]) -> Summary:
    """The summary of one run, from the columns of its metrics.csv."""
    step, seeds = table["step"], len(np.unique(table["seed"]))
    last = {name: column[step == step.max()] for name, column in table.items()}
    loss = last["loss"]
    q10, median, q90 = np.quantile(loss, [0.1, 0.5, 0.9])
    variance = None
    measured = table.get("log_variance", np.array([np.nan])).reshape(-1, seeds)
    if not np.isnan(measured).all(axis=0).any():
        variance = np.nanmean(measured, axis=0)
    return Summary(
        seeds=seeds,
        steps=int(step.max()),
        loss_median=float(median),
        loss_q10=float(q10),
        loss_q90=float(q90),
        loss_mean=float(loss.mean()),
        loss_se=_standard_error(loss),
        suboptimality_median=float(np.median(last["suboptimality"])),
        theta_median=float(np.median(last["theta"])),
        theta_max=float(last["theta"].max()),
        log_variance_mean=None if variance is None else float(variance.mean()),
        log_variance_se=None if variance is None else _standard_error(variance),
    )


def _standard_error(values: np.ndarray) -> float | None:
    error = standard_error(values)
    return None if math.isnan(error) else error


def headline(summary: Summary) -> str:
    """The line that a finished run prints."""
    line = f"loss {summary.loss_mean:.6f}"
    if summary.loss_se is not None:
        line += f" +- {summary.loss_se:.6f}"
    if summary.log_variance_mean is not None:
        line += f", log-variance {summary.log_variance_mean:.2f}"
    return line


def results_path(config: Toy) -> Path:
    """results/toy/<preset>/<case>"""
    return Path(config.results) / "toy" / config.preset / config.case


def export(config: Toy, estimator: str) -> None:
    """Write <estimator>.csv and the estimator's row of summary.csv."""
    run = run_path(config, "toy", config.case, estimator)
    export_run(run, results_path(config), ("step", "seed"), CURVES, SUMMARY)

"""What the figures and the report read from the runs of the toy, the VAE and the policies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from experiments.run.statistics import best_setting
from experiments.vae.config import Vae
from experiments.vae.results import summary_row
from scripts.intervals import Interval, difference, paired
from scripts.results import Results, by_seed

TOY = ("reinforce", "rebar", "relax", "exact")
VAE = ("reinforce", "nvil", "muprop", "concrete", "straight_through", "rebar", "relax")
PERMUTATIONS = ("reinforce", "rloo", "rebar", "relax", "exact")
POLICIES = ("reinforce", "a2c", "relax", "lax")


class ToyRun:
    """One estimator at one t: loss, theta and log-variance, a row per step, a column per seed."""

    def __init__(self, table: pd.DataFrame, t: float):
        self.t, self.steps = t, int(table["step"].max())
        self.loss = by_seed(table, "loss", "step")
        self.theta = by_seed(table, "theta", "step")
        self.log_variance = by_seed(table, "log_variance", "step")
        self.seeds = self.loss.shape[1]

    @property
    def covered(self) -> pd.Series:
        """Which share of the way from theta = .5 to the optimum each seed has covered."""
        return covered(self.loss.loc[self.steps], self.t)

    @property
    def on_better_side(self) -> pd.Series:
        """Whether each seed's theta ends on the better side of .5."""
        theta = self.theta.loc[self.steps]
        return theta < 0.5 if self.t < 0.5 else theta > 0.5

    @property
    def signal(self) -> pd.Series:
        """|true gradient| over the standard deviation of one sample's, mean over measurements."""
        log_variance, theta = self.log_variance.dropna().align(self.theta, "inner")
        gradient = abs(1 - 2 * self.t) * theta * (1 - theta)
        return (gradient / np.exp(log_variance / 2)).mean()

    @property
    def mean_log_variance(self) -> pd.Series:
        """Each seed's mean over the steps at which all seeds have a log-variance."""
        return self.log_variance.dropna().mean()


def covered(loss: pd.Series | float, t: float) -> pd.Series | float:
    """0 at the expected loss of theta = .5, 1 at the optimum."""
    start, best = (t**2 + (1 - t) ** 2) / 2, min(t**2, (1 - t) ** 2)
    return (start - loss) / (start - best)


def toy_runs(results: Results, t: float, names: Sequence[str] = TOY) -> dict[str, ToyRun | None]:
    """The runs of preset paper at t, None where an estimator has none."""
    tables = {name: results.table(f"toy/paper/t{t!r}/{name}.csv") for name in names}
    return {name: None if table is None else ToyRun(table, t) for name, table in tables.items()}


class VaeRun:
    """One estimator at one learning rate: its curves and its row of summary.csv."""

    def __init__(self, table: pd.DataFrame, row: dict):
        self.row, self.name = row, row["estimator"]
        self.table = table[np.isclose(table["lr"], row["lr"])]
        self.seed = sorted(self.table["seed"].unique())
        self.seeds = len(self.seed)

    @cached_property
    def epochs(self) -> float:
        """The last epoch."""
        return float(self.table["epoch"].max())

    def curve(self, metric: str, how: str = "any") -> pd.DataFrame:
        """A metric with a row per epoch at which it was measured and a column per seed."""
        return by_seed(self.table, metric, "epoch", how)

    def at(self, metric: str, epoch: float) -> np.ndarray | None:
        """The values of all seeds at an epoch, None where they were not measured."""
        curve = self.curve(metric)
        rows = curve[np.isclose(curve.index, epoch)]
        return rows.to_numpy()[0] if len(rows) else None

    def until(self, epoch: float) -> VaeRun:
        """The run as it was at an epoch at which validation was measured."""
        table = self.table[self.table["epoch"] < epoch + 0.01]
        final = table[table["step"] == table["step"].max()]
        row = {key: self.row[key] for key in ("estimator", "lr")}
        return VaeRun(table, row | summary_row(table, final, with_test=False))


def vae_runs(results: Results, preset: str, case: str, estimator: str) -> dict[float, VaeRun]:
    """Learning rate -> an estimator's run at that rate.

    REBAR and RELAX of preset table1 are the first twenty epochs of preset long.
    """
    table = results.table(f"vae/{preset}/{case}/{estimator}.csv")
    if table is None and preset == "table1" and estimator in ("rebar", "relax"):
        runs = vae_runs(results, "long", case, estimator)
        return {rate: run.until(Vae.epochs) for rate, run in runs.items()}
    if table is None:
        return {}
    rows = results.rows(f"vae/{preset}/{case}/summary.csv")
    return {row["lr"]: VaeRun(table, row) for row in rows if row["estimator"] == estimator}


def best_run(results: Results, preset: str, case: str, estimator: str) -> VaeRun | None:
    """An estimator's run at the rate with the best validation -ELBO."""
    runs = vae_runs(results, preset, case, estimator)
    if not runs:
        return None
    best = best_setting({rate: run.row["valid"] for rate, run in runs.items()})
    return None if math.isnan(runs[best].row["valid"]) else runs[best]


def run_at_rate(
    results: Results, preset: str, case: str, estimator: str, rate: float
) -> VaeRun | None:
    """An estimator's run at one learning rate."""
    runs = vae_runs(results, preset, case, estimator)
    return next((run for lr, run in runs.items() if math.isclose(lr, rate)), None)


def compare(a: VaeRun, b: VaeRun, of_a: np.ndarray, of_b: np.ndarray) -> Interval:
    """The mean of a's numbers minus b's, over paired seeds if the runs have the same seeds."""
    return paired(of_a, of_b) if a.seed == b.seed else difference(of_a, of_b)


def gap(a: VaeRun | None, b: VaeRun | None, metric: str) -> tuple[float, Interval | None]:
    """The last epoch at which both have the metric, and a's mean minus b's there."""
    if a is None or b is None:
        return np.nan, None
    epoch = float(a.curve(metric).index.intersection(b.curve(metric).index)[-1])
    return epoch, compare(a, b, a.at(metric, epoch), b.at(metric, epoch))


def shared_epochs(*runs: VaeRun) -> float:
    """The last epoch that all runs have reached, so that none is given more training."""
    return min(run.epochs for run in runs)


def solved(results: Results, preset: str, case: str, estimator: str) -> pd.DataFrame | None:
    """When each seed solved a task, if the curve of its returns is there as well."""
    place = f"rl/{preset}/{case}/{estimator}"
    return None if results.table(f"{place}.csv") is None else results.table(f"{place}-solved.csv")

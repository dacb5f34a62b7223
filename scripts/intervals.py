"""Estimates over seeds with their 95 % intervals, computed by scipy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from experiments.run.statistics import standard_error
from scripts.results import number

LEVEL = 0.95


class Interval(NamedTuple):
    """An estimate with its 95 % interval over a number of seeds; nan where there is none."""

    value: float
    low: float = np.nan
    high: float = np.nan
    seeds: int = 1

    def text(self, digits: int) -> str:
        value = number(self.value, digits)
        if np.isnan(self.low):
            return f"{value} (one seed)" if self.seeds == 1 else value
        return f"{value} [{number(self.low, digits)}, {number(self.high, digits)}]"


def mean(values: np.ndarray) -> Interval:
    """The mean over seeds, by Student's t."""
    values = np.asarray(values)
    n, value = len(values), float(values.mean())
    if n < 2:
        return Interval(value)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * standard_error(values)
    return Interval(value, value - reach, value + reach, n)


def paired(a: np.ndarray, b: np.ndarray) -> Interval:
    """The mean of a - b over seeds that both have, in the same order."""
    return mean(np.asarray(a) - np.asarray(b))


def difference(a: np.ndarray, b: np.ndarray) -> Interval:
    """mean(a) - mean(b) of two groups of seeds, by Welch's test."""
    value, seeds = float(np.mean(a) - np.mean(b)), min(len(a), len(b))
    if seeds < 2:
        return Interval(value)
    low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval(LEVEL)
    return Interval(value, float(low), float(high), seeds)


def share(true: np.ndarray) -> Interval:
    """The share of seeds for which something is true, with Wilson's interval."""
    test = stats.binomtest(int(np.sum(true)), len(true))
    found = test.proportion_ci(LEVEL, method="wilson")
    return Interval(float(np.mean(true)), found.low, found.high, len(true))


def ratio(slow: np.ndarray, fast: np.ndarray, draws: int = 10_000) -> Interval:
    """mean(slow) / mean(fast), with the bootstrap's interval over seeds (percentiles)."""

    def of_means(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.mean(a, axis=axis) / np.mean(b, axis=axis)

    return _bootstrap(of_means, np.asarray(slow), np.asarray(fast), draws)


def sooner(slow: np.ndarray, fast: np.ndarray, draws: int = 2000) -> Interval:
    """The probability that a seed of `fast` has the smaller number; a tie counts as one half.

    Source: Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical
    precipice", who call it the probability of improvement.
    """

    def of_pairs(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        a, b = (np.moveaxis(x, axis, -1) for x in (a, b))
        difference = a[..., :, None] - b[..., None, :]
        return (0.5 + 0.5 * np.sign(difference)).mean((-2, -1))

    return _bootstrap(of_pairs, np.asarray(slow), np.asarray(fast), draws)


def _bootstrap(statistic, a: np.ndarray, b: np.ndarray, draws: int) -> Interval:
    """A statistic of two groups of seeds with the bootstrap's interval (percentiles)."""
    seeds, value = min(len(a), len(b)), float(statistic(a, b))
    if seeds < 2:
        return Interval(value)
    found = stats.bootstrap(
        (a, b),
        statistic,
        n_resamples=draws,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(value, float(found.low), float(found.high), seeds)


# ---- times until a task is solved; a seed that does not solve it is censored at its last step ----


def censored(times: np.ndarray, solved: np.ndarray) -> stats.CensoredData:
    """Times of the seeds that solved the task, and the last steps of those that did not."""
    times, solved = np.asarray(times, float), np.asarray(solved, bool)
    return stats.CensoredData(uncensored=times[solved], right=times[~solved])


def log_rank(a: stats.CensoredData, b: stats.CensoredData) -> float:
    """The p-value of the log-rank test for no difference between two groups of seeds; 1 if no seed
    solved the task."""
    if all(times.num_censored() == len(times) for times in (a, b)):
        return 1.0
    return float(stats.logrank(a, b).pvalue)


def solved_by(times: stats.CensoredData) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and the share of seeds that have solved the task by then (Kaplan and Meier, 1958)."""
    curve = stats.ecdf(times).cdf
    return curve.quantiles, curve.probabilities

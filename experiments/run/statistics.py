"""Statistics over seeds: one definition for the families, the figures and the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

Setting = TypeVar("Setting")


def standard_error(values: np.ndarray) -> float:
    """The standard error of the mean over seeds; nan for a single seed, which has none."""
    values = np.asarray(values, dtype=np.float64)
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def best_setting(scores: Mapping[Setting, float]) -> Setting:
    """The setting with the lowest score, such as a learning rate by its validation -ELBO.

    A setting whose score is nan, because a run diverged, is chosen only where all are nan. Of equal
    scores the first counts.
    """
    return min(scores, key=lambda setting: _nan_last(scores[setting]))


def _nan_last(score: float) -> float:
    return math.inf if math.isnan(score) else score

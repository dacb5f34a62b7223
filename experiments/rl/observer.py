"""From raw observations to the input of the networks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Observer:
    """Turns raw observations into the input of the networks.

    The authors' code normalises observations by running moments and appends the previous one. The
    moments change between batches only, so that within a batch the policy is one function of the
    state.

    Args:
        features, replicas: coordinates of an observation, and how many replicas there are.
        filtered: normalise by the running moments.
        previous: append the previous observation.
        dtype: of the input, by default torch's.
    """

    def __init__(
        self,
        features: int,
        replicas: int,
        filtered: bool = False,
        previous: bool = False,
        dtype: type | np.dtype | None = None,
    ) -> None:
        self.filtered, self.previous = filtered, previous
        self.dtype = torch.zeros(0).numpy().dtype if dtype is None else dtype
        self.size = features * (1 + previous)
        self.count = torch.zeros(replicas, 1, dtype=torch.float64)
        self.mean = torch.zeros(replicas, features, dtype=torch.float64)
        self.square = torch.zeros_like(self.mean)  # sum of squared deviations from the mean

    def update(self, observation: Tensor, mask: Tensor) -> None:
        """Add the observations of a batch to the moments."""
        if not self.filtered:
            return
        for row, (seen, real) in enumerate(zip(observation, mask, strict=True)):
            seen = seen[real]
            if not len(seen):
                continue
            mean, old, new = seen.mean(0), self.count[row], len(seen)
            shift = mean - self.mean[row]
            self.square[row] += ((seen - mean) ** 2).sum(0) + shift**2 * old * new / (old + new)
            self.mean[row] += shift * new / (old + new)
            self.count[row] += new

    def select(self, rows: np.ndarray) -> None:
        """Observe for these replicas from now on."""
        if self.filtered:
            variance = self.square / self.count.clamp(min=2)
            std = torch.where(self.count > 1, variance.sqrt(), 1.0) + 1e-8
            self.shift, self.scale = self.mean[rows].numpy(), std[rows].numpy()

    def __call__(self, observation: np.ndarray, before: np.ndarray | None) -> np.ndarray:
        """The input of the networks; `before` is the previous step's, None or 0 at the first."""
        if self.filtered:
            observation = ((observation - self.shift) / self.scale).clip(-5, 5)
        if not self.previous:
            return observation.astype(self.dtype, copy=False)
        width = observation.shape[1]
        previous = np.zeros_like(observation) if before is None else before[:, :width]
        return np.concatenate([observation, previous], -1).astype(self.dtype)

    def state_dict(self) -> dict:
        return {"count": self.count, "mean": self.mean, "square": self.square}

    def load_state_dict(self, saved: dict) -> None:
        self.count, self.mean, self.square = saved["count"], saved["mean"], saved["square"]

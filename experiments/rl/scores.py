"""Returns of finished episodes, and when each replica solved its environment."""

from __future__ import annotations

import numpy as np
import torch

from experiments.rl.batch import Batch

WINDOW = 100  # episodes whose mean return decides whether the environment is solved


class Scores:
    """The returns of every replica, and the frames and episodes until it was solved (-1: not yet).

    Args:
        replicas: how many there are.
        solved: the mean return of the last 100 episodes must exceed this.
    """

    def __init__(self, replicas: int, solved: float) -> None:
        self.solved = solved
        self.recent = np.zeros((replicas, WINDOW))
        self.frames, self.episodes = (np.zeros(replicas, np.int64) for _ in range(2))
        self.solved_frames, self.solved_episodes = (np.full(replicas, -1) for _ in range(2))
        self.total, self.count = (np.zeros(replicas) for _ in range(2))  # since the last flush

    def add(self, batch: Batch) -> None:
        """Count a batch's episodes in the order in which they were played."""
        reward = batch.reward.numpy()
        for row, episodes in enumerate(batch.episodes()):
            if episodes:
                returns = np.add.reduceat(reward[row], [start for start, _ in episodes])
                for value, (start, end) in zip(returns, episodes, strict=True):
                    self._add(row, value, end - start)

    def _add(self, row: int, value: float, length: int) -> None:
        self.recent[row, self.episodes[row] % WINDOW] = value
        self.episodes[row] += 1
        self.frames[row] += length
        self.total[row] += value
        self.count[row] += 1
        if self.solved_frames[row] < 0 and self.mean(row) > self.solved:
            self.solved_frames[row] = self.frames[row]
            self.solved_episodes[row] = self.episodes[row]

    def mean(self, row: int) -> float:
        """The mean of the last 100 returns, -inf before there are as many."""
        return self.recent[row].mean() if self.episodes[row] >= WINDOW else -np.inf

    def latest(self) -> np.ndarray:
        """The mean of each replica's last up to 100 returns."""
        return self.recent.sum(1) / self.episodes.clip(1, WINDOW)

    def flush(self) -> dict[str, np.ndarray]:
        """Values for metrics.csv: the return is the mean since the last flush, or nan if a replica
        finished no episode."""
        with np.errstate(invalid="ignore"):
            mean_return = self.total / self.count
        self.total[:], self.count[:] = 0, 0
        return {
            "return": mean_return,
            "frames": self.frames.copy(),
            "episodes": self.episodes.copy(),
            "recent": self.latest(),
        }

    def state_dict(self) -> dict[str, torch.Tensor]:
        arrays = {name: v for name, v in vars(self).items() if isinstance(v, np.ndarray)}
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}

    def load_state_dict(self, saved: dict[str, torch.Tensor]) -> None:
        vars(self).update({name: value.numpy().copy() for name, value in saved.items()})

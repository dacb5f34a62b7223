"""Small policy-gradient runs and environments, for the tests of experiments.rl."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import relax as rx
from experiments.rl.config import Env, Rl, Variance, arm
from experiments.rl.loop import Run, replicas_of
from experiments.rl.rollout import Batch


def small(discrete: bool, name: str, seeds: int = 2, own: dict | None = None, **changes) -> Run:
    """A run on a real environment, small enough for a test."""
    kinds = {
        True: Env(steps=30, variance=Variance(3, 1, 6, ["a2c", "relax"])),
        False: Env("pendulum", "InvertedPendulum-v4", 30, 950.0, True),
    }
    if not discrete:
        pytest.importorskip("mujoco")
    settings = {
        "env": kinds[discrete],
        "batch": 60,
        "value_steps": 2,
        "continuous_hidden": [8, 8],
        "frames": 10_000,
        "clip": False,
        "kl": 0.0,
    }
    made = Rl(seeds=seeds, estimators={name: own or {}}, **{**settings, **changes})
    made.check()
    settings_of = arm(name, own or {}, made)[1]
    return Run(made, name, settings_of, replicas_of(made, settings_of))


def everyone(run: Run) -> torch.Tensor:
    return torch.ones(len(run.seeds), dtype=torch.bool)


def made_batch(reward, last, terminated) -> Batch:
    reward = torch.tensor(reward, dtype=torch.float64)
    empty = torch.zeros(*reward.shape, 1)
    flags = torch.tensor(terminated), torch.tensor(last)
    return Batch(empty, empty, rx.Noise(empty), reward, *flags, empty, None)


class Counting:
    """An environment whose observation counts its steps, with the length of every episode given.

    lengths: of the episodes, one list for every copy. cut: whether the clock ends them, or they
    terminate. Action and reward mean nothing.
    """

    features, actions, dimension = 1, None, 1

    def __init__(self, lengths: list[list[int]], cut: bool) -> None:
        self.lengths, self.cut, self.copies = lengths, cut, len(lengths)
        self.steps = max(map(max, lengths))
        self.episode = np.full(self.copies, -1)
        self.time = np.zeros(self.copies, int)
        self.seeds: list[int] = []

    def reset(self, rows, seeds):
        self.seeds += seeds
        self.episode[rows] += 1
        self.time[rows] = 0
        return self._seen(rows)

    def step(self, rows, actions):
        self.time[rows] += 1
        over = np.array([self.time[r] == self.lengths[r][self.episode[r]] for r in rows])
        none = np.zeros_like(over)
        return self._seen(rows), np.ones(len(rows)), *((none, over) if self.cut else (over, none))

    def _seen(self, rows):
        return (self.time[rows] + 1.0)[:, None]


def to_go(batch: Batch, gamma: float) -> torch.Tensor:
    """Discounted rewards to go, [R, N], summed in plain Python."""
    found = torch.zeros(batch.reward.shape)
    for row, episodes in enumerate(batch.episodes()):
        for start, end in episodes:
            for t in range(start, end):
                found[row, t] = sum(gamma ** (k - t) * batch.reward[row, k] for k in range(t, end))
    return found

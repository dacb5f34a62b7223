"""Small policy-gradient runs and environments, for the tests of experiments.rl."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import relax as rx
from experiments.rl.agents import Agents, replica_keys
from experiments.rl.batch import Batch
from experiments.rl.config import Env, Rl, Variance


def small(
    discrete: bool, name: str, seeds: int = 2, rates: dict | None = None, **changes
) -> Agents:
    """Replicas of one variant on a real environment, small enough for a test."""
    envs = {
        True: Env(steps=30, variance=Variance(3, 1, 6, ["a2c", "relax"])),
        False: Env("pendulum", "InvertedPendulum-v4", 30, 950.0, True),
    }
    if not discrete:
        pytest.importorskip("mujoco")
    settings = {
        "env": envs[discrete],
        "batch": 60,
        "value_steps": 2,
        "continuous_hidden": [8, 8],
        "frames": 10_000,
        "clip": False,
        "kl": 0.0,
    }
    config = Rl(seeds=seeds, estimators={name: rates or {}}, **{**settings, **changes})
    config.check()
    return Agents(config, name, replica_keys(config, name))


def everyone(agents: Agents) -> torch.Tensor:
    return torch.ones(len(agents.seeds), dtype=torch.bool)


def updated(run: Agents, batch: Batch, optimizer: rx.replicas.Optimizer) -> tuple[dict, list]:
    """Update once: the readings, and the gradients that the optimiser got (the last ones)."""
    got = []
    optimizer.move = lambda grads, active=None: got.append(list(grads))
    readings = run.learner.update(batch, everyone(run))
    del optimizer.move
    return readings, got[-1]


def made_batch(reward, last, terminated) -> Batch:
    reward = torch.tensor(reward, dtype=torch.float64)
    empty = torch.zeros(*reward.shape, 1)
    flags = torch.tensor(terminated), torch.tensor(last)
    return Batch(empty, empty, rx.Noise(empty), reward, *flags, empty, None)


class Counting:
    """An environment whose observation counts its steps; actions have no effect.

    Args:
        lengths: of the episodes, one list for every copy.
        truncates: whether episodes are truncated at their end; otherwise they terminate.
    """

    features, actions, dimension = 1, None, 1

    def __init__(self, lengths: list[list[int]], truncates: bool) -> None:
        self.lengths, self.truncates, self.copies = lengths, truncates, len(lengths)
        self.steps = max(map(max, lengths))
        self.episode = np.full(self.copies, -1)
        self.time = np.zeros(self.copies, int)
        self.seeds: list[int] = []

    def reset(self, rows, seeds):
        self.seeds += seeds
        self.episode[rows] += 1
        self.time[rows] = 0
        return self._observe(rows)

    def step(self, rows, actions):
        self.time[rows] += 1
        over = np.array([self.time[r] == self.lengths[r][self.episode[r]] for r in rows])
        ends = (np.zeros_like(over), over) if self.truncates else (over, np.zeros_like(over))
        return self._observe(rows), np.ones(len(rows)), *ends

    def _observe(self, rows):
        return (self.time[rows] + 1.0)[:, None]


def to_go(batch: Batch, gamma: float) -> torch.Tensor:
    """Discounted rewards to go, [R, N], summed in plain Python."""
    returns = torch.zeros(batch.reward.shape)
    for row, episodes in enumerate(batch.episodes()):
        for start, end in episodes:
            for t in range(start, end):
                paid = [gamma ** (k - t) * batch.reward[row, k] for k in range(t, end)]
                returns[row, t] = sum(paid)
    return returns

"""A batch of whole episodes, its returns and its advantages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

import relax as rx


@dataclass
class Batch:
    """The steps of whole episodes, one row per replica, [R, N], padded at the end.

    x            input of the networks, [R, N, in]
    action       one-hot [R, N, C], or Gaussian before clipping [R, N, D]
    noise        random numbers of the action (u) and of z~ (v), [R, N, ...]
    reward       [R, N]
    terminated   whether the task ended with this step, [R, N]
    last         whether the episode ended with this step, terminated or truncated, [R, N]
    after        input of the networks after an episode's last step [R, N, in], where `last` is set
    observation  raw observations [R, N, O], where they are filtered
    """

    x: Tensor
    action: Tensor
    noise: rx.Noise
    reward: Tensor
    terminated: Tensor
    last: Tensor
    after: Tensor
    observation: Tensor | None

    @cached_property
    def _index(self) -> Tensor:
        return torch.arange(self.reward.shape[1])

    @cached_property
    def length(self) -> Tensor:
        """Number of steps without padding, [R]."""
        return (self.last * (self._index + 1)).amax(1)

    @cached_property
    def mask(self) -> Tensor:
        """Whether a step is not padding, [R, N]."""
        return self._index < self.length[:, None]

    @cached_property
    def clock(self) -> Tensor:
        """The step's index within its episode, [R, N]."""
        begins = torch.zeros_like(self.last, dtype=torch.long)
        begins[:, 1:] = torch.where(self.last[:, :-1], self._index[1:], 0)
        return self._index - begins.cummax(1).values

    def episodes(self) -> list[list[tuple[int, int]]]:
        """(start, end) of every episode, per replica."""
        ends = [(np.flatnonzero(row) + 1).tolist() for row in self.last.numpy()]
        return [list(zip([0, *e][:-1], e, strict=True)) for e in ends]


def discount(values: Tensor, last: Tensor, rate: float) -> Tensor:
    """sum_{t' >= t} rate^(t'-t) values_t' within each episode, [R, N], in float64."""
    steps, keep = values.double().T.numpy(), rate * (~last).T.numpy()
    out, carry = np.empty_like(steps), np.zeros(steps.shape[1])
    for t in reversed(range(len(steps))):
        carry = steps[t] + keep[t] * carry
        out[t] = carry
    return torch.from_numpy(out).T


def advantages(
    batch: Batch, value: Tensor, value_after: Tensor, gamma: float, lambda_: float, bootstrap: bool
) -> tuple[Tensor, Tensor]:
    """The advantage over V(s) by GAE(lambda), and the discounted return, which V(s) is fitted to.

    With lambda = 1 the advantage is the return minus V(s). Both are [R, N].

    Args:
        value, value_after: V of the state before each step and after it, [R, N].
        bootstrap: add V of the state after a truncated episode to its return.

    Source: Schulman et al. (2016), equations 11 to 16.
    """
    cut = batch.last & ~batch.terminated if bootstrap else torch.zeros_like(batch.last)
    reward = batch.reward + gamma * torch.where(cut, value_after.double(), 0.0)
    returns = discount(reward, batch.last, gamma)
    if lambda_ == 1:
        return returns - value, returns
    following = torch.where(batch.last, 0.0, torch.roll(value.double(), -1, 1))
    delta = torch.where(batch.mask, reward + gamma * following - value, 0.0)
    return discount(delta, batch.last, gamma * lambda_), returns

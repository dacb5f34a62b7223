"""Playing: whole episodes in every replica, returns, advantages, the observation filter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

import relax as rx
from experiments.rl.envs import Environments, episode_seed
from experiments.rl.networks import Actor


@dataclass
class Batch:
    """The steps of whole episodes, one replica a row, [R, N]; rows shorter than N are padded at the
    end.

    x           the nets' input [R, N, in]
    action      one-hot [R, N, C], or Gaussian before clipping [R, N, D]
    noise       what the action was made from, and more for z~ (rx.Noise), cut to N
    reward      [R, N]; `last` flags an episode's last step, `terminated` one that the task ended
    after       the nets' input behind an episode's last step [R, N, in], where `last` is set
    observation the raw observations [R, N, O], where the filter wants them
    """

    x: Tensor
    action: Tensor
    noise: rx.Noise
    reward: Tensor
    terminated: Tensor
    last: Tensor
    after: Tensor
    observation: Tensor | None

    def draw(self, dist: rx.Distribution) -> rx.Draw:
        """The rollout replayed: its actions and their noise on the policy's parameters of now.

        Padding is no draw, so `dist` must not validate.
        """
        return rx.Draw(dist, self.noise, self.action)

    @cached_property
    def _index(self) -> Tensor:
        return torch.arange(self.reward.shape[1])

    @cached_property
    def length(self) -> Tensor:
        """How many steps are real, [R]."""
        return (self.last * (self._index + 1)).amax(1)

    @cached_property
    def mask(self) -> Tensor:
        """Whether a step is real, [R, N]."""
        return self._index < self.length[:, None]

    @cached_property
    def clock(self) -> Tensor:
        """The step's index within its episode, [R, N]."""
        begins = torch.zeros_like(self.last, dtype=torch.long)
        begins[:, 1:] = torch.where(self.last[:, :-1], self._index[1:], 0)
        return self._index - begins.cummax(1).values

    def episodes(self) -> list[list[tuple[int, int]]]:
        """(start, end) of every episode, per replica."""
        ends = [(row.nonzero()[:, 0] + 1).tolist() for row in self.last]
        return [list(zip([0, *e][:-1], e, strict=True)) for e in ends]


class Observer:
    """Raw observations to the nets' input: as they are, or filtered and with the one before.

    The filter divides by running moments, as the published code does; they change between batches
    only, so that the policy is one function of the state within a batch.
    """

    def __init__(self, features: int, replicas: int, filtered: bool, previous: bool, dtype) -> None:
        self.filtered, self.previous, self.dtype = filtered, previous, dtype
        self.size = features * (1 + previous)
        self.count = torch.zeros(replicas, 1, dtype=torch.float64)
        self.mean = torch.zeros(replicas, features, dtype=torch.float64)
        self.square = torch.zeros(
            replicas, features, dtype=torch.float64
        )  # sum of squared deviations

    def update(self, observation: Tensor, mask: Tensor) -> None:
        """Take the observations of a batch into the moments."""
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

    def focus(self, rows: np.ndarray) -> None:
        if self.filtered:
            std = (
                torch.where(self.count > 1, (self.square / self.count.clamp(min=2)).sqrt(), 1.0)
                + 1e-8
            )
            self.shift, self.scale = self.mean[rows].numpy(), std[rows].numpy()

    def __call__(self, observation: np.ndarray, before: np.ndarray | None) -> np.ndarray:
        """The nets' input; `before` is that of the step before (None, zero: there is none)."""
        if self.filtered:
            observation = ((observation - self.shift) / self.scale).clip(-5, 5)
        if not self.previous:
            return observation.astype(self.dtype, copy=False)
        last = np.zeros_like(observation) if before is None else before[:, : observation.shape[1]]
        return np.concatenate([observation, last], -1).astype(self.dtype)

    def state_dict(self) -> dict:
        return {"count": self.count, "mean": self.mean, "square": self.square}

    def load_state_dict(self, saved: dict) -> None:
        self.count, self.mean, self.square = saved["count"], saved["mean"], saved["square"]


def draw_noise(
    actions: int | None, dimension: int, streams: rx.replicas.Streams, steps: int
) -> rx.Noise:
    """Noise for `steps` steps of every replica, so many numbers of a stream whatever is played."""
    if actions:
        return rx.Categorical(torch.zeros(len(streams), steps, actions), replicas=1).noise(
            generator=streams
        )
    zeros = torch.zeros(len(streams), steps, dimension)
    return rx.Normal(zeros, zeros, replicas=1).noise(generator=streams)


def collect(
    envs: Environments,
    observer: Observer,
    actor: Actor,
    noise: rx.Noise,
    rows: np.ndarray,
    at_least: int,
    next_seed: Callable[[int], int],
) -> Batch:
    """Whole episodes in each of `rows` until they hold `at_least` steps; 1 means one episode.

    The replicas step in time with each other: step t of every row that still plays is one call of
    the policy.
    """
    cap, shape, dtype = noise.u.shape[1], noise.u.shape[1::-1], observer.dtype
    x, after = (np.zeros((*shape, observer.size), dtype) for _ in range(2))
    action = (
        np.zeros(shape, np.int64) if envs.actions else np.zeros((*shape, envs.dimension), dtype)
    )
    reward, terminated, last = np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool)
    observation = np.zeros((*shape, envs.features)) if observer.filtered else None

    live = rows
    raw, before = envs.reset(live, [next_seed(row) for row in live]), None
    _focus(live, actor, observer)
    for t in range(cap):
        x[t, live] = seen = observer(raw, before)
        if observation is not None:
            observation[t, live] = raw
        action[t, live] = chosen = actor(seen, t)
        raw, reward[t, live], failed, truncated = envs.step(live, chosen)
        before, ended = seen, failed | truncated
        if not ended.any():
            continue
        terminated[t, live], last[t, live] = failed, ended
        after[t, live[ended]] = observer(raw, before)[ended]
        if t + 1 < at_least:
            raw[ended] = envs.reset(live[ended], [next_seed(row) for row in live[ended]])
            before = np.where(ended[:, None], 0, before)
            continue
        live, raw, before = live[~ended], raw[~ended], before[~ended]
        if not len(live):
            break
        _focus(live, actor, observer)

    def rows_first(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array[: t + 1].swapaxes(0, 1).copy())

    observation = None if observation is None else rows_first(observation)
    action = rows_first(action)
    if envs.actions:
        action = torch.nn.functional.one_hot(action, envs.actions).to(noise.u.dtype)
    noise = rx.Noise(*(None if n is None else n[:, : t + 1] for n in noise))
    flags = (rows_first(a) for a in (terminated, last, after))
    return Batch(rows_first(x), action, noise, rows_first(reward), *flags, observation)


def _focus(rows: np.ndarray, actor: Actor, observer: Observer) -> None:
    actor.focus(rows)
    observer.focus(rows)


def seeds_of(seeds: list[int], played: Tensor) -> Callable[[int], int]:
    """The seed of each row's next episode; counts the episodes that were begun in `played`."""

    def next_seed(row: int) -> int:
        seed = episode_seed(seeds[row], int(played[row]))
        played[row] += 1
        return seed

    return next_seed


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
):
    """(A, R), [R, N]: the advantage over V(s) by GAE(lambda) and the discounted return, V's target.

    An episode that the clock cut is continued by V of the state behind it, unless `bootstrap` is
    off. With lambda = 1 the advantage is R - V(s). Source: Schulman et al. (2016), equations 11 to
    16.
    """
    cut = batch.last & ~batch.terminated if bootstrap else torch.zeros_like(batch.last)
    reward = batch.reward + gamma * torch.where(cut, value_after.double(), 0.0)
    returns = discount(reward, batch.last, gamma)
    if lambda_ == 1:
        return returns - value, returns
    following = torch.where(batch.last, 0.0, torch.roll(value.double(), -1, 1))
    delta = torch.where(batch.mask, reward + gamma * following - value, 0.0)
    return discount(delta, batch.last, gamma * lambda_), returns

"""Playing whole episodes in every replica."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

import relax as rx
from experiments.rl.actor import Actor
from experiments.rl.batch import Batch
from experiments.rl.envs import Environments, episode_seed
from experiments.rl.observer import Observer


def draw_noise(
    actions: int | None, dimension: int, streams: rx.replicas.Streams, steps: int
) -> rx.Noise:
    """Noise for `steps` steps of every replica, the same number of draws whatever is played."""
    zeros = torch.zeros(len(streams), steps, actions or dimension)
    dist = rx.Categorical(zeros, replicas=1) if actions else rx.Normal(zeros, zeros, replicas=1)
    return dist.noise(generator=streams)


def episode_seeds(seeds: list[int], played: Tensor) -> Callable[[int], int]:
    """A function that gives the seed of a row's next episode and counts it in `played`."""

    def next_seed(row: int) -> int:
        seed = episode_seed(seeds[row], int(played[row]))
        played[row] += 1
        return seed

    return next_seed


class Recording:
    """The arrays of a batch while it is played, time first; see `Batch`."""

    def __init__(self, envs: Environments, observer: Observer, noise: rx.Noise) -> None:
        replicas, steps = noise.u.shape[:2]
        shape, dtype = (steps, replicas), observer.dtype
        self.noise, self.actions = noise, envs.actions
        self.x, self.after = (np.zeros((*shape, observer.size), dtype) for _ in range(2))
        self.action = np.zeros(shape, np.int64)
        if not envs.actions:
            self.action = np.zeros((*shape, envs.dimension), dtype)
        self.reward = np.zeros(shape)
        self.terminated, self.last = np.zeros(shape, bool), np.zeros(shape, bool)
        self.observation = np.zeros((*shape, envs.features)) if observer.filtered else None

    def batch(self, steps: int) -> Batch:
        """The first `steps` steps as tensors, replicas first."""

        def replicas_first(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array[:steps].swapaxes(0, 1).copy())

        u, v = self.noise
        action = replicas_first(self.action)
        if self.actions:
            action = torch.nn.functional.one_hot(action, self.actions).to(u.dtype)
        return Batch(
            x=replicas_first(self.x),
            action=action,
            noise=rx.Noise(u[:, :steps], None if v is None else v[:, :steps]),
            reward=replicas_first(self.reward),
            terminated=replicas_first(self.terminated),
            last=replicas_first(self.last),
            after=replicas_first(self.after),
            observation=None if self.observation is None else replicas_first(self.observation),
        )


def collect(
    envs: Environments,
    observer: Observer,
    actor: Actor,
    noise: rx.Noise,
    rows: np.ndarray,
    at_least: int,
    next_seed: Callable[[int], int],
) -> Batch:
    """Play whole episodes in each of `rows` until it has `at_least` steps; 1 means one episode.

    The replicas step together: the policy is called once for step t of all that are still playing.
    """
    record, playing, before = Recording(envs, observer, noise), rows, None
    raw = envs.reset(playing, [next_seed(row) for row in playing])
    actor.select(playing)
    observer.select(playing)
    for t in range(len(record.x)):
        record.x[t, playing] = x = observer(raw, before)
        if record.observation is not None:
            record.observation[t, playing] = raw
        record.action[t, playing] = action = actor(x, t)
        raw, record.reward[t, playing], terminated, truncated = envs.step(playing, action)
        before, ended = x, terminated | truncated
        if not ended.any():
            continue
        record.terminated[t, playing], record.last[t, playing] = terminated, ended
        record.after[t, playing[ended]] = observer(raw, before)[ended]
        if t + 1 < at_least:
            raw[ended] = envs.reset(playing[ended], [next_seed(row) for row in playing[ended]])
            before = np.where(ended[:, None], 0, before)
            continue
        playing, raw, before = playing[~ended], raw[~ended], before[~ended]
        if not len(playing):
            break
        actor.select(playing)
        observer.select(playing)
    return record.batch(t + 1)

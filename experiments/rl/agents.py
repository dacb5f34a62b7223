"""The environments, learners and random numbers of all replicas of one variant."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

import relax as rx
from experiments.rl import envs
from experiments.rl.batch import Batch
from experiments.rl.config import Rl
from experiments.rl.continuous import Continuous
from experiments.rl.discrete import Discrete
from experiments.rl.envs import episode_seed
from experiments.rl.rollout import collect, draw_noise, episode_seeds
from experiments.rl.scores import Scores

# Added to the seeds of the weights' generators: the streams of the actions use the seeds
# themselves, and the weights and the actions must not be made from the same numbers.
WEIGHTS = 10**6
METRICS = ["return", "frames", "episodes", "length", "recent"]
TERMS = ("trajectory", "action", "state", "action_with_exact_value")  # see terms.py
NOT_TRAINED_ON = 10**9  # number of the first episode that is kept for measurements and clips


def replica_keys(config: Rl, name: str) -> dict[str, list]:
    """The key columns of the replicas: every combination of the rates with every seed."""
    first = 0 if config.mode == "grid" else config.first_seed
    rates = vars(config.rates_of(name))
    keys = {key: value for key, value in rates.items() if isinstance(value, list)}
    keys["seed"] = list(range(first, first + config.seeds))
    columns = zip(*product(*keys.values()), strict=True)
    return {key: list(column) for key, column in zip(keys, columns, strict=True)}


class Agents:
    """All replicas of one variant between two updates.

    Args:
        config: of the run.
        name: of the variant.
        keys: seed and rates of every replica, as `replica_keys` makes them.
    """

    def __init__(self, config: Rl, name: str, keys: dict[str, list]) -> None:
        self.config, self.name, self.keys = config, name, keys
        self.seeds, env = keys["seed"], config.env
        self.envs = envs.make(env.id, len(self.seeds), env.steps, env.rescale)
        generators = [torch.Generator().manual_seed(WEIGHTS + seed) for seed in self.seeds]
        learner = Discrete if env.discrete else Continuous
        self.learner = learner(config, self.envs, name, self._rates(), generators)
        self.streams = rx.replicas.Streams(self.seeds)
        self.played = torch.zeros(len(self.seeds), dtype=torch.long)  # episodes begun
        self.scores = Scores(len(self.seeds), env.solved)
        self.updates = 0
        self.at_least = 1 if env.discrete else config.batch  # steps per update

    @property
    def metrics(self) -> list[str]:
        """The columns of metrics.csv beside the keys."""
        config, measured = self.config, []
        if config.mode == "variance":
            measured = [f"logvar_{name}" for name in config.measured]
        if config.mode == "terms":
            measured = [f"term_{name}" for name in TERMS]
            measured += [f"total_{name}" for name in config.measured]
        return [*METRICS, *self.learner.metrics, *measured]

    def _rates(self) -> dict[str, Any]:
        """A tensor of one value per replica for each rate, and the settings that are no rates."""
        columns = {key: torch.tensor(column) for key, column in self.keys.items() if key != "seed"}
        settings = vars(self.config.rates_of(self.name))
        return columns | {key: v for key, v in settings.items() if not isinstance(v, list)}

    def active(self) -> Tensor:
        """Which replicas are not finished; measuring the variance ends with its last point."""
        variance, enough = self.config.env.variance, self.scores.frames >= self.config.frames
        last_point = (variance.points - 1) * variance.every
        measured = bool(self.config.measured) and self.updates > last_point
        return torch.from_numpy(~enough & (not measured))

    def play(self, active: Tensor) -> Batch:
        """A batch of whole episodes of the `active` replicas."""
        steps = self.at_least + self.envs.steps - 1
        noise = draw_noise(self.envs.actions, self.envs.dimension, self.streams, steps)
        return collect(
            self.envs,
            self.learner.observer,
            self.learner.actor(noise),
            noise,
            np.flatnonzero(active.numpy()),
            self.at_least,
            episode_seeds(self.seeds, self.played),
        )

    @torch.no_grad()
    def copy_replica(self, source: Agents, row: int) -> None:
        """Give all replicas here the parameters of one replica of `source`, and new episodes.

        The episodes depend on that replica's seed and on the number of updates alone, and none of
        them is used in training.
        """
        for ours, theirs in zip(self.learner.tensors(), source.learner.tensors(), strict=True):
            ours.copy_(theirs[row].expand_as(ours))
        first, count = NOT_TRAINED_ON + source.updates * len(self.seeds), len(self.seeds)
        seed = source.seeds[row]
        self.seeds = [episode_seed(seed, first + episode) for episode in range(count)]
        self.streams = rx.replicas.Streams(self.seeds)
        self.played.zero_()

    def summary(self) -> dict[str, Any]:
        """The entries of summary.json."""
        scores = self.scores
        # A longer run that was shortened may have solved the task after its new end.
        too_late = scores.solved_frames > self.config.frames
        return {
            **{key: list(column) for key, column in self.keys.items()},
            "frames": self.config.frames,
            "solved_frames": np.where(too_late, -1, scores.solved_frames).tolist(),
            "solved_episodes": np.where(too_late, -1, scores.solved_episodes).tolist(),
            "recent": scores.latest().tolist(),
        }

    def state_dict(self) -> dict:
        return {
            "learner": self.learner.state_dict(),
            "streams": self.streams.state_dict(),
            "scores": self.scores.state_dict(),
            "played": self.played,
            "updates": self.updates,
        }

    def load_state_dict(self, saved: dict) -> None:
        self.learner.load_state_dict(saved["learner"])
        self.streams.load_state_dict(saved["streams"])
        self.scores.load_state_dict(saved["scores"])
        self.played, self.updates = saved["played"], saved["updates"]

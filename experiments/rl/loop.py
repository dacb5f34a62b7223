"""Training all replicas of one arm: play, update, log, save; and when each solved its task."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import relax as rx
from experiments.rl import envs
from experiments.rl.clip import record
from experiments.rl.config import Rl
from experiments.rl.continuous import Continuous
from experiments.rl.discrete import Discrete
from experiments.rl.rollout import Batch, collect, draw_noise, seeds_of
from experiments.rl.variance import measure
from experiments.run.config import run_path, settings
from experiments.run.folder import RunFolder
from experiments.run.tracker import Tracker, now_and_then

WINDOW = 100  # episodes whose mean return decides whether the environment is solved
METRICS = ["return", "frames", "episodes", "length", "recent"]


def replicas_of(config: Rl, own: Any) -> dict[str, list]:
    """The key columns: every combination of the rates, with every seed."""
    first = 0 if config.mode == "grid" else config.first_seed
    seeds = list(range(first, first + config.seeds))
    grid = {key: value for key, value in vars(own).items() if isinstance(value, list)}
    rows = list(product(*grid.values(), seeds))
    return {
        key: list(column)
        for key, column in zip([*grid, "seed"], zip(*rows, strict=True), strict=True)
    }


class Scores:
    """Returns of finished episodes per replica, and when the goal was first met (-1: not yet)."""

    def __init__(self, replicas: int, solved: float) -> None:
        self.solved = solved
        self.recent = np.zeros((replicas, WINDOW))
        self.frames, self.episodes = (np.zeros(replicas, np.int64) for _ in range(2))
        self.solved_frames, self.solved_episodes = (np.full(replicas, -1) for _ in range(2))
        self.total, self.count = (np.zeros(replicas) for _ in range(2))

    def add(self, batch: Batch) -> None:
        """Take in a batch's episodes, in the order in which they were played."""
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
            self.solved_frames[row], self.solved_episodes[row] = (
                self.frames[row],
                self.episodes[row],
            )

    def mean(self, row: int) -> float:
        """The mean of the last 100 returns; nothing counts before there are as many."""
        return self.recent[row].mean() if self.episodes[row] >= WINDOW else -np.inf

    def latest(self) -> np.ndarray:
        """The mean of the last up to 100 returns of every replica."""
        return self.recent.sum(1) / self.episodes.clip(1, WINDOW)

    def flush(self) -> dict[str, np.ndarray]:
        """For metrics.csv: means since the last time, nan for a replica that did not play."""
        with np.errstate(invalid="ignore"):
            told = {"return": self.total / self.count}
        told |= {
            "frames": self.frames.copy(),
            "episodes": self.episodes.copy(),
            "recent": self.latest(),
        }
        self.total[:], self.count[:] = 0, 0
        return told

    def state_dict(self) -> dict:
        arrays = {
            name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}

    def load_state_dict(self, saved: dict) -> None:
        vars(self).update({name: value.numpy().copy() for name, value in saved.items()})


def identity(config: Rl, name: str, own: Any) -> dict[str, Any]:
    """What decides the run (config.json); other arms' rates do where they have critics here."""
    computed = settings(config, name, own, without=("lengths", "clip"))
    unused = {"grid"} if config.measured else {"grid", "rates", "variance"}
    computed["env"] = {key: v for key, v in computed["env"].items() if key not in unused}
    computed["env"]["discrete"] = config.env.discrete
    return computed


def train(config: Rl, name: str, own: Any, bar: bool = True) -> Path:
    """Train one arm, all seeds and rates at once; the folder of the finished run."""
    torch.set_default_dtype(getattr(torch, config.precision))
    keys = replicas_of(config, own)
    path = run_path(config, "rl", config.case, name)
    computed = identity(config, name, own)
    with RunFolder(
        path,
        computed,
        free=("frames",),
        fresh=config.fresh,
        every=config.save_every,
    ) as folder:
        if folder.finished(config.frames):
            print(f"{path}: finished before", flush=True)
            return path
        saved = folder.load()
        run = Run(config, name, own, keys)
        if saved:
            run.load_state_dict(saved)
        metrics = [*METRICS, *run.learner.metrics, *(f"logvar_{of}" for of in run.measured)]
        rows = "each" if len(keys["seed"]) <= 10 else "quantiles"
        with Tracker(
            folder,
            keys,
            metrics,
            config.frames,
            config.tracking,
            group=f"rl-{config.preset}-{config.case}",
            job_type=name,
            name=f"rl-{config.case}-{path.name}",
            rows=rows,
            runs=config.runs,
            bar=bar,
        ) as tracker:
            run.run(folder, tracker)
            if config.clip and config.mode == "train":
                record(run, path / "clip.gif")
    return path


class Run:
    """The state of a run between two episodes, and the loop over them."""

    def __init__(self, config: Rl, name: str, own: Any, keys: dict[str, list]) -> None:
        self.config, self.name, self.own, self.keys = config, name, own, keys
        self.seeds, replicas = keys["seed"], len(keys["seed"])
        self.envs = envs.make(config.env.id, replicas, config.env.steps, config.env.rescale)
        # Not the streams' seeds: weights and actions would be made of the same numbers.
        generators = [torch.Generator().manual_seed(10**6 + seed) for seed in self.seeds]
        self.rates = {key: torch.tensor(column) for key, column in keys.items() if key != "seed"}
        self.rates |= {key: value for key, value in vars(own).items() if isinstance(value, int)}
        kind = Discrete if config.env.discrete else Continuous
        self.learner = kind(config, self.envs, name, self.rates, generators)
        self.streams = rx.replicas.Streams(self.seeds)
        self.played = torch.zeros(replicas, dtype=torch.long)
        self.scores = Scores(replicas, config.env.solved)
        self.updates = 0
        self.at_least = 1 if config.env.discrete else config.batch
        self.measured = config.measured
        self.shadow: Run | None = None

    def active(self) -> Tensor:
        """Which replicas go on; a run that measures ends with its last measurement."""
        variance = self.config.env.variance
        measuring = not self.measured or self.updates <= (variance.points - 1) * variance.every
        return torch.from_numpy(self.scores.frames < self.config.frames) & measuring

    def run(self, folder: RunFolder, tracker: Tracker) -> None:
        config, scores = self.config, self.scores
        while (active := self.active()).any():
            self.measure_if_due(tracker)
            batch = self.play(active)
            told = self.learner.update(batch, active)
            scores.add(batch)
            self.updates += 1
            if now_and_then(self.updates):
                grads = [p.grad.flatten(1) for p in self.learner.optimizer.params]
                tracker.histogram("gradient", torch.cat(grads, 1), self.updates)
            step = min(int(scores.frames.min()), config.frames)
            if self.updates % config.log_every == 0 or not self.active().any():
                tracker.log(self.updates, {**scores.flush(), "length": _rows(batch), **told})
                tracker.progress(step)
            if folder.due:
                folder.save(step, self.state_dict(), tracker)
        folder.save(config.frames, self.state_dict(), tracker)
        tracker.finish(self.summary(), self.headline())

    def play(self, active: Tensor) -> Batch:
        noise = draw_noise(
            self.envs.actions,
            self.envs.dimension,
            self.streams,
            self.at_least + self.envs.steps - 1,
        )
        return collect(
            self.envs,
            self.learner.observer,
            self.learner.actor(noise),
            noise,
            np.flatnonzero(active.numpy()),
            self.at_least,
            seeds_of(self.seeds, self.played),
        )

    def measure_if_due(self, tracker: Tracker) -> None:
        variance = self.config.env.variance
        index, rest = divmod(self.updates, variance.every)
        if not self.measured or index >= variance.points or rest:
            return
        if self.shadow is None:
            self.shadow = Run(self.config, self.name, self.own, self._episode_keys())
            self.shadow.at_least = 1
        found = {f"logvar_{of}": values for of, values in measure(self, self.shadow).items()}
        where = {"frames": self.scores.frames.copy(), "episodes": self.scores.episodes.copy()}
        tracker.log(self.updates, {**where, **found})

    def _episode_keys(self) -> dict[str, list]:
        """The rows of `shadow`: a replica per measured episode; its rates are never used."""
        rows = self.config.env.variance.episodes
        return {
            key: list(range(rows)) if key == "seed" else column[:1] * rows
            for key, column in self.keys.items()
        }

    def summary(self) -> dict[str, Any]:
        # A replica may have gone on behind `frames` in a longer run that was cut.
        late = self.scores.solved_frames > self.config.frames
        return {
            **{key: list(column) for key, column in self.keys.items()},
            "frames": self.config.frames,
            "solved_frames": np.where(late, -1, self.scores.solved_frames).tolist(),
            "solved_episodes": np.where(late, -1, self.scores.solved_episodes).tolist(),
            "recent": self.scores.latest().tolist(),
        }

    def headline(self) -> str:
        recent = self.scores.latest()
        solved = self.scores.solved_frames >= 0
        error = recent.std(ddof=len(recent) > 1) / len(recent) ** 0.5
        found = f"solved {int(solved.sum())} of {len(solved)}"
        return f"return {recent.mean():.4g} +- {error:.2g}, {found}"

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


def _rows(batch: Batch) -> Tensor:
    """Steps of the update, nan where a replica sat out."""
    return torch.where(batch.length > 0, batch.length.double(), torch.nan)

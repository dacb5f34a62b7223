"""Training all replicas of one variant."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.rl.agents import Agents, replica_keys
from experiments.rl.batch import Batch
from experiments.rl.clip import record
from experiments.rl.config import Rl
from experiments.rl.scores import Scores
from experiments.rl.variance import VarianceMeter
from experiments.run.config import settings
from experiments.run.folder import RunFolder
from experiments.run.job import Job
from experiments.run.statistics import standard_error
from experiments.run.tracker import Tracker, now_and_then

FEW = 10  # replicas up to which each is a W&B run of its own


def train(config: Rl, name: str, bar: bool = True) -> Path:
    """Train one variant, all seeds and rates at once; returns the folder of the finished run."""
    torch.set_default_dtype(getattr(torch, config.precision))
    job = Job(config, "rl", config.case, name)
    with job.folder(identity(config, name), free=("frames",)) as folder:
        if folder.finished(config.frames):
            print(f"{folder.path}: finished before", flush=True)
            return folder.path
        agents = Agents(config, name, replica_keys(config, name))
        folder.restore(agents)
        rows = "each" if len(agents.seeds) <= FEW else "quantiles"
        with job.tracker(folder, agents, config.frames, rows, bar) as tracker:
            loop(agents, folder, tracker)
            if config.clip and config.mode == "train":
                record(agents, folder.path / "clip.gif")
    return folder.path


def loop(agents: Agents, folder: RunFolder, tracker: Tracker) -> None:
    """Play, update and log until every replica has had its frames."""
    config, scores, meter = agents.config, agents.scores, VarianceMeter(agents)
    while (active := agents.active()).any():
        if meter.due():
            counts = {"frames": scores.frames.copy(), "episodes": scores.episodes.copy()}
            tracker.log(agents.updates, {**counts, **meter.measure()})
        batch = agents.play(active)
        readings = agents.learner.update(batch, active)
        scores.add(batch)
        agents.updates += 1

        step = min(int(scores.frames.min()), config.frames)
        if now_and_then(agents.updates):
            gradients = [g.flatten(1) for g in agents.learner.gradient]
            tracker.histogram("gradient", torch.cat(gradients, 1), agents.updates)
        if agents.updates % config.log_every == 0 or not agents.active().any():
            tracker.log(agents.updates, {**scores.flush(), "length": lengths(batch), **readings})
            tracker.progress(step)
        if folder.due:
            folder.save(step, agents.state_dict(), tracker)
    folder.save(config.frames, agents.state_dict(), tracker)
    tracker.finish(agents.summary(), headline(scores))


def identity(config: Rl, name: str) -> dict[str, Any]:
    """The settings that decide what a run computes, for config.json.

    The rates of other variants are among them where their critics are trained as well.
    """
    deciding = settings(config, name, config.rates_of(name), without=("lengths", "clip"))
    unused = {"grid"} if config.measured else {"grid", "rates", "variance"}
    deciding["env"] = {key: v for key, v in deciding["env"].items() if key not in unused}
    deciding["env"]["discrete"] = config.env.discrete
    return deciding


def lengths(batch: Batch) -> Tensor:
    """Steps of an update, nan where a replica did not play."""
    return torch.where(batch.length > 0, batch.length.double(), torch.nan)


def headline(scores: Scores) -> str:
    """The line that a finished run prints; one replica has no standard error."""
    recent, error = scores.latest(), standard_error(scores.latest())
    spread = "" if math.isnan(error) else f" +- {error:.2g}"
    solved = int((scores.solved_frames >= 0).sum())
    return f"return {recent.mean():.4g}{spread}, solved {solved} of {len(recent)}"

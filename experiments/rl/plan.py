"""About how long policy-gradient runs take on this machine, from a few updates of every arm."""

from __future__ import annotations

from time import perf_counter

import torch

from experiments.rl.config import Rl, arm
from experiments.rl.loop import Run, replicas_of
from experiments.run.processes import ahead

LONG = 200  # frames of a replica in an update


def seconds(config: Rl, name: str) -> float:
    """A run's time if it starts anew."""
    torch.set_default_dtype(getattr(torch, config.precision))
    own = arm(name, config.estimators[name], config)[1]
    run = Run(config, name, own, replicas_of(config, own))
    return frames(config) * len(run.seeds) / frames_per_second(run)


def frames(config: Rl) -> int:
    """Steps of one replica at most; a measurement plays whole episodes with the policy held."""
    if not config.measured:
        return config.frames
    variance, length = config.env.variance, config.env.steps
    updates = (variance.points - 1) * variance.every + 1
    trained = updates * (length if config.env.discrete else config.batch)
    return min(trained, config.frames) + variance.points * variance.episodes * length


def frames_per_second(run: Run, seconds: float = 1.0) -> float:
    """Of all replicas, from updates of that many seconds; at least one is made.

    Updates are made long, as a trained policy's: the first episodes of CartPole are short, and
    what an update costs beside its frames would count too much.
    """
    run.at_least = max(run.at_least, min(run.envs.steps, LONG))
    everyone = torch.ones(len(run.seeds), dtype=torch.bool)
    played, taken = 0, 0.0
    while taken < seconds:
        begun = perf_counter()
        batch = run.play(everyone)
        run.learner.update(batch, everyone)
        taken += perf_counter() - begun
        played += int(batch.length.sum())
    return played / taken


def plan(config: Rl, costs: dict[str, float]) -> str:
    """What will be done, and about how long it takes; costs: name -> seconds."""
    return (
        f"rl, {config.case}: {', '.join(costs)}; {config.seeds} seeds of {config.frames} frames, "
        f"{ahead(costs.values(), config.at_once)}"
    )

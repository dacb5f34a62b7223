"""An estimate of how long policy-gradient runs take on this machine."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import torch

from experiments.rl.agents import Agents, replica_keys
from experiments.rl.config import Rl

LONG = 200  # frames of a replica in a timed update


def seconds(config: Rl, name: str) -> float:
    """The time that a run of one variant takes from its start, without what torch.compile saves."""
    torch.set_default_dtype(getattr(torch, config.precision))
    config = replace(config, compile="off")
    agents = Agents(config, name, replica_keys(config, name))
    return frames(config) * len(agents.seeds) / frames_per_second(agents)


def frames(config: Rl) -> int:
    """The greatest number of steps of one replica, with the episodes that measurements play."""
    if not config.measured:
        return config.frames
    variance, length = config.env.variance, config.env.steps
    updates = (variance.points - 1) * variance.every + 1
    trained = updates * (length if config.env.discrete else config.batch)
    return min(trained, config.frames) + variance.points * variance.episodes * length


def frames_per_second(agents: Agents, seconds: float = 1.0) -> float:
    """Frames of all replicas per second, from at least one update and about `seconds` seconds.

    The updates are as long as those of a trained policy: the first episodes of CartPole are short,
    and the fixed cost of an update would count too much.
    """
    agents.at_least = max(agents.at_least, min(agents.envs.steps, LONG))
    everyone = torch.ones(len(agents.seeds), dtype=torch.bool)
    played, elapsed = 0, 0.0
    while elapsed < seconds:
        start = perf_counter()
        batch = agents.play(everyone)
        agents.learner.update(batch, everyone)
        elapsed += perf_counter() - start
        played += int(batch.length.sum())
    return played / elapsed


def describe(config: Rl) -> str:
    """What will be run, in one line."""
    names = ", ".join(config.estimators)
    how = "compiled" if config.compiled else "eager"
    return f"rl, {config.case}: {names}; {config.seeds} seeds of {config.frames} frames, {how}"

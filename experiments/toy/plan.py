"""An estimate of how long the toy takes on this machine, from a few steps of every estimator."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from experiments.run.accelerate import seconds_per_call
from experiments.toy import relaxation
from experiments.toy.config import Toy
from experiments.toy.train import Run, log_variance


def seconds(config: Toy, name: str) -> float:
    """The time of a run from its start, without the time that torch.compile saves."""
    config = replace(config, compile="off")
    if name == relaxation.NAME:
        per_step = sum(seconds_per_step(Run(config, each)) for each in relaxation.ESTIMATORS)
        return max(config.snapshots) * per_step
    run = Run(config, name)
    steps = config.steps * seconds_per_step(run)
    if not run.noisy:
        return steps
    measurement = median(seconds_per_call(lambda _: log_variance(run.draws()), range(3)))
    return steps + config.steps / config.variance_every * measurement


def seconds_per_step(run: Run) -> float:
    return median(seconds_per_call(lambda _: run.steps(), range(12)))


def describe(config: Toy) -> str:
    """What will be run, in one line."""
    names = ", ".join(config.estimators)
    how = "compiled" if config.compiled else "eager"
    size = f"{config.seeds} seeds, {config.steps} steps, {how}"
    return f"toy, E[(b - {config.t:g})^2]: {names}; {size}"

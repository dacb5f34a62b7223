"""About how long the toy takes on this machine, from a few steps of every estimator."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from experiments.run.accelerate import seconds_per_call
from experiments.run.processes import ahead
from experiments.toy import relaxation
from experiments.toy.config import Toy
from experiments.toy.train import Run, log_variance


def seconds(config: Toy, name: str) -> float:
    """A run's time if it starts anew; what torch.compile saves is left out."""
    config = replace(config, compile=False)
    if name == relaxation.NAME:
        both = relaxation.ESTIMATORS
        return max(config.snapshots) * sum(per_step(Run(config, n, config.own(n))) for n in both)
    run = Run(config, name, config.own(name))
    steps = config.steps * per_step(run)
    if not run.noisy:
        return steps
    measured = median(seconds_per_call(lambda _: log_variance(run.draws()), range(3)))
    return steps + config.steps / config.variance_every * measured


def per_step(run: Run) -> float:
    return median(seconds_per_call(lambda _: run.step(), range(12)))


def plan(config: Toy, costs: dict[str, float]) -> str:
    """What will be done, and about how long it takes; costs: name -> seconds."""
    return (
        f"toy, E[(b - {config.t:g})^2]: {', '.join(config.estimators)}; {config.seeds} seeds, "
        f"{config.steps} steps, {ahead(costs.values(), config.at_once)}"
    )

"""Trains the chosen estimators of a family, several at a time."""

from __future__ import annotations

from collections.abc import Callable

from experiments.run.config import Experiment
from experiments.run.processes import ahead, side_by_side
from experiments.run.tracking import preload


def train_all(
    config: Experiment,
    description: str,
    seconds: dict[str, float],
    train: Callable[[str], object],
) -> None:
    """Print what will be run and about how long it takes, then train every estimator.

    Args:
        description: of the experiment, for the printed line.
        seconds: the expected time of each run by its name; the longest run starts first.
        train: trains, resumes or skips the run of that name.
    """
    print(f"{description}, {ahead(seconds.values(), config.at_once)}", flush=True)
    if config.at_once > 1:
        preload()
    names = sorted(seconds, key=lambda name: -seconds[name])
    side_by_side(train, names, config.at_once)

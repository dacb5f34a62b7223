"""Trains the chosen estimators of a family, several at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from experiments.run import ranks
from experiments.run.config import Experiment
from experiments.run.processes import ahead, side_by_side
from experiments.run.tracking import preload


@dataclass(frozen=True)
class Part:
    """The replicas of one estimator that one process trains."""

    estimator: str
    rank: int
    size: int
    seconds: float

    def train(self, train: Callable[[str], object]) -> None:
        if self.size == 1:
            train(self.estimator)
            return
        with ranks.acting_as(self.rank, self.size):
            train(self.estimator)


def train_all(
    config: Experiment,
    description: str,
    seconds: dict[str, float],
    train: Callable[[str], object],
    shared: dict[str, int] | None = None,
) -> None:
    """Print what will be run and about how long it takes, then train every estimator.

    Args:
        description: of the experiment, for the printed line.
        seconds: the expected time of each run by its name; the longest run starts first.
        train: trains, resumes or skips the run of that name.
        shared: how many ranks share the replicas of a run, by its name; one if it is not there.
    """
    parts = {}
    for name, cost in seconds.items():
        size = (shared or {}).get(name, 1)
        for rank in range(size):
            part = name if size == 1 else f"{name}, part {rank + 1} of {size}"
            parts[part] = Part(name, rank, size, cost / size)
    at_once = config.at_once(len(parts))
    print(f"{description}, {ahead([p.seconds for p in parts.values()], at_once)}", flush=True)
    if at_once > 1:
        preload()
    longest_first = sorted(parts, key=lambda part: -parts[part].seconds)
    side_by_side(lambda part: parts[part].train(train), longest_first, at_once)

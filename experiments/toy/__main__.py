"""python -m experiments.toy preset=toy/quick 'estimator=[reinforce,rebar,relax]' t=.49 seeds=100"""

from __future__ import annotations

from functools import partial

from experiments.config import launch, register
from experiments.files import writable
from experiments.processes import side_by_side
from experiments.progress import duration
from experiments.toy import relaxation
from experiments.toy.config import Toy
from experiments.toy.results import export, results_path
from experiments.toy.train import train

# Milliseconds of one step of 200 seeds, measuring included, on one slow core.
COST = {"exact": 0.5, "reinforce": 0.8, "rebar": 2.2, "relax": 3.0, relaxation.NAME: 4.0}


def run(config: Toy) -> None:
    """Train the chosen estimators side by side, then write their results."""
    names = list(config.estimators)
    if set(relaxation.ESTIMATORS) <= set(names):
        names.append(relaxation.NAME)
    names.sort(key=lambda name: -seconds(config, name))
    writable(results_path(config))
    plan(config, names)
    processes = 1 if config.on_gpu else config.processes
    side_by_side(partial(train_one, config, alone=processes == 1), names, processes)
    for name in names:
        relaxation.export(config) if name == relaxation.NAME else export(config, name)
    print(f"curves and summary.csv: {results_path(config)}", flush=True)


def train_one(config: Toy, name: str, alone: bool) -> None:
    relaxation.learn(config) if name == relaxation.NAME else train(config, name, bar=alone)


def seconds(config: Toy, name: str) -> float:
    """About how long a run takes that starts anew."""
    steps = max(config.snapshots) if name == relaxation.NAME else config.steps
    return 2 + steps * COST.get(name, 2.0) / 1000


def plan(config: Toy, names: list[str]) -> None:
    """Say what will be done, and about how long it takes."""
    busy = [0.0] * min(config.processes, len(names))
    for name in names:  # each goes to the process that is free first
        busy[busy.index(min(busy))] += seconds(config, name)
    print(
        f"toy, E[(b - {config.t:g})^2]: {', '.join(config.estimators)}; {config.seeds} seeds, "
        f"{config.steps} steps, {len(busy)} processes; about {duration(max(busy))} if none of it "
        "is done yet",
        flush=True,
    )


register("toy", Toy)

if __name__ == "__main__":
    launch(run, "toy", Toy)

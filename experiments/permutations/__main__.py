"""python -m experiments.permutations problem=structure n=6 'estimator=[rloo,relax]' seeds=20"""

from __future__ import annotations

from functools import partial

from experiments.permutations.config import Permutations
from experiments.permutations.methods import SETTINGS
from experiments.permutations.results import export, results_path
from experiments.permutations.train import seconds, train
from experiments.run import ranks
from experiments.run.config import launch, register
from experiments.run.files import writable
from experiments.run.launch import train_all
from experiments.run.processes import side_by_side


def run(config: Permutations) -> None:
    """Train the chosen estimators side by side, then write their results."""
    ranks.alone("experiments.permutations")
    names = list(config.estimators)
    writable(results_path(config))
    costs = {name: seconds(config, name) for name in names}
    at_once = config.at_once(len(names))
    train_all(config, describe(config), costs, partial(train, config, bar=at_once == 1))
    side_by_side(partial(export, config), names, at_once)
    print(f"curves and summary.csv: {results_path(config)}", flush=True)


def describe(config: Permutations) -> str:
    """What will be run, in one line."""
    names = ", ".join(config.estimators)
    size = f"{config.seeds} seeds, {config.steps} steps"
    how = "compiled" if config.compiled else "eager"
    return f"permutations, {config.case}: {names}; {size}, {how}"


register("permutations", Permutations, SETTINGS)

if __name__ == "__main__":
    launch(run, "permutations", Permutations)

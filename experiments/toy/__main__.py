"""python -m experiments.toy preset=toy/quick 'estimator=[reinforce,rebar,relax]' t=.49 seeds=100"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from experiments.run import ranks
from experiments.run.config import launch, register, run_path
from experiments.run.files import read_table, writable
from experiments.run.launch import train_all
from experiments.run.processes import side_by_side
from experiments.toy import relaxation
from experiments.toy.config import Toy
from experiments.toy.methods import SETTINGS
from experiments.toy.plan import describe, seconds
from experiments.toy.results import export, results_path, summarise
from experiments.toy.train import train


def run(config: Toy) -> None:
    """Train the chosen estimators side by side, then write their results."""
    names = list(config.estimators)
    if set(relaxation.ESTIMATORS) <= set(names) and ranks.rank() == 0:
        names.append(relaxation.NAME)
    writable(results_path(config))
    costs = {name: seconds(config, name) for name in names}
    train_all(config, describe(config), costs, partial(train_one, config))
    if not ranks.gather(
        [run_path(config, "toy", config.case, name) for name in config.estimators],
        lambda path, _: asdict(summarise(read_table(path / "metrics.csv"))),
    ):
        return
    side_by_side(partial(export_one, config), names, config.at_once(len(names)))
    print(f"curves and summary.csv: {results_path(config)}", flush=True)


def train_one(config: Toy, name: str) -> None:
    alone = config.at_once(len(config.estimators)) == 1
    relaxation.train(config) if name == relaxation.NAME else train(config, name, bar=alone)


def export_one(config: Toy, name: str) -> None:
    relaxation.export(config) if name == relaxation.NAME else export(config, name)


register("toy", Toy, SETTINGS)

if __name__ == "__main__":
    launch(run, "toy", Toy)

"""python -m experiments.rl env=cartpole 'estimator=[a2c,relax]' seeds=5"""

from __future__ import annotations

from functools import partial

from experiments.rl import results
from experiments.rl.config import Rl
from experiments.rl.plan import describe, seconds
from experiments.rl.train import train
from experiments.rl.variants import CONTINUOUS, DISCRETE
from experiments.run import ranks
from experiments.run.config import launch, register
from experiments.run.launch import train_all


def run(config: Rl) -> None:
    """Train the chosen variants side by side, then write their results."""
    ranks.alone("rl, whose environments are on the CPU,")
    costs = {name: seconds(config, name) for name in config.estimators}
    alone = config.at_once(len(config.estimators)) == 1
    task = partial(train_and_export, config, alone=alone)
    train_all(config, describe(config), costs, task)
    print(f"curves and summary.csv: {results.summarise(config)}", flush=True)


def train_and_export(config: Rl, name: str, alone: bool) -> None:
    results.write(config, train(config, name, bar=alone))


register("rl", Rl, [*DISCRETE, *CONTINUOUS])

if __name__ == "__main__":
    launch(run, "rl", Rl)

"""python -m experiments.rl env=cartpole 'estimator=[a2c,relax]' seeds=5"""

from __future__ import annotations

from functools import partial

from experiments.rl import report
from experiments.rl.config import CONTINUOUS, DISCRETE, Rl, arm
from experiments.rl.loop import train
from experiments.rl.plan import plan, seconds
from experiments.run import ranks
from experiments.run.config import launch, register
from experiments.run.processes import side_by_side


def run(config: Rl) -> None:
    """Train the chosen arms side by side, then write their results."""
    ranks.alone("rl, whose environments are on the CPU,")
    costs = {name: seconds(config, name) for name in config.estimators}
    print(plan(config, costs), flush=True)
    names = sorted(costs, key=lambda name: -costs[name])
    task = partial(train_and_export, config, alone=config.at_once == 1)
    side_by_side(task, names, config.at_once)
    print(f"curves and summary.csv: {report.summarise(config)}", flush=True)


def train_and_export(config: Rl, name: str, alone: bool) -> None:
    own = arm(name, config.estimators[name], config)[1]
    report.write(config, train(config, name, own, bar=alone))


register("rl", Rl, [*DISCRETE, *CONTINUOUS])

if __name__ == "__main__":
    launch(run, "rl", Rl)

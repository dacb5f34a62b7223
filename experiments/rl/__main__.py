"""python -m experiments.rl env=cartpole 'estimator=[a2c,relax]' seeds=5"""

from __future__ import annotations

from experiments.config import launch, register
from experiments.rl.config import Rl, arm
from experiments.rl.loop import train
from experiments.rl.report import write

register("rl", Rl)


def run(config: Rl) -> None:
    """Train every chosen arm, one after the other, and write what the figures are drawn from."""
    print(
        f"rl: {config.case}, {', '.join(config.estimators)}: "
        f"{config.seeds} seeds of {config.frames} frames",
        flush=True,
    )
    for name, values in config.estimators.items():
        own = arm(name, values, config)[1]
        write(config, name, train(config, name, own))


if __name__ == "__main__":
    launch(run, "rl", Rl)

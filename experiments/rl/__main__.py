"""python -m experiments.rl env=cartpole 'estimator=[a2c,relax]' seeds=5"""

from __future__ import annotations

from functools import partial

from experiments import ranks
from experiments.config import launch, register
from experiments.processes import side_by_side
from experiments.rl import report
from experiments.rl.config import Rl, arm
from experiments.rl.loop import replicas_of, train
from experiments.tracking import duration

FRAMES_PER_SECOND = {"cartpole": 20_000, "lunarlander": 7_000}  # of all replicas, on one slow core


def run(config: Rl) -> None:
    """Train the chosen arms side by side, then write their results."""
    ranks.alone("rl, whose environments are on the CPU,")
    names = list(config.estimators)
    plan(config, names)
    alone = config.processes == 1 or len(names) == 1
    side_by_side(partial(train_and_export, config, alone=alone), names, config.processes)
    print(f"curves and summary.csv: {report.summarise(config)}", flush=True)


def train_and_export(config: Rl, name: str, alone: bool) -> None:
    own = arm(name, config.estimators[name], config)[1]
    report.write(config, train(config, name, own, bar=alone))


def plan(config: Rl, names: list[str]) -> None:
    """Say what will be done, and about how long it takes."""
    busy = [0.0] * min(config.processes, len(names))
    for name in names:  # each goes to the process that is free first
        replicas = len(replicas_of(config, arm(name, config.estimators[name], config)[1])["seed"])
        speed = FRAMES_PER_SECOND.get(config.env.name, 5_000)
        busy[busy.index(min(busy))] += replicas * config.frames / speed
    print(
        f"rl, {config.case}: {', '.join(names)}; {config.seeds} seeds of {config.frames} frames, "
        f"{len(busy)} processes; about {duration(max(busy))} if none of it is done yet",
        flush=True,
    )


register("rl", Rl)

if __name__ == "__main__":
    launch(run, "rl", Rl)

"""One training run from start to end: its folder, its tracker, its checkpoints.

job = Job(config, "vae", "mnist-linear1", "relax")
with job.folder(deciding) as folder:
    if folder.finished(steps):
        return
    run = Run(...)
    folder.restore(run)
    with job.tracker(folder, run, steps) as tracker:
        for step in steps_left(run, folder, tracker):
            ...  # train, tracker.log(step, ...)
        tracker.finish(summary, headline)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from experiments.run import ranks
from experiments.run.config import Experiment, run_path
from experiments.run.folder import RunFolder
from experiments.run.tracker import Tracker


class Resumable(Protocol):
    """What is trained: a family's state of all replicas, with its random streams.

    keys: the columns that identify the replicas, such as {"seed": [0, 1]}.
    metrics: the other columns of metrics.csv.
    """

    keys: dict[str, list]
    metrics: list[str]

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Job:
    """One estimator of an experiment. `case` names the problem, such as mnist-linear1."""

    config: Experiment
    family: str
    case: str
    estimator: str

    @property
    def path(self) -> Path:
        """The run folder; under torchrun that of this rank's replicas."""
        return ranks.shard(run_path(self.config, self.family, self.case, self.estimator))

    def folder(self, deciding: dict[str, Any], free: tuple[str, ...] = ("steps",)) -> RunFolder:
        """The run folder. `deciding` is what `config.settings` returns; `free` as in RunFolder."""
        return RunFolder(self.path, deciding, free, self.config.fresh, self.config.save_every)

    def tracker(
        self,
        folder: RunFolder,
        run: Resumable,
        steps: int,
        rows: str = "quantiles",
        bar: bool = True,
    ) -> Tracker:
        """The tracker of a run of so many steps; `rows` and `bar` as in Tracker.

        With rows="each" the names of the W&B runs do not tell which rank trained the replica.
        """
        path = run_path(self.config, self.family, self.case, self.estimator)
        name = path.name if rows == "each" else folder.path.name
        return Tracker(
            folder,
            run.keys,
            run.metrics,
            steps,
            self.config.tracking,
            group=f"{self.family}-{self.config.preset}-{self.case}",
            job_type=self.estimator,
            name=f"{self.family}-{self.case}-{name}",
            rows=rows,
            runs=self.config.runs,
            bar=bar,
        )


def steps_left(
    run: Resumable, folder: RunFolder, tracker: Tracker, stride: int = 1, block: int = 1
) -> Iterator[int]:
    """The steps from the newest checkpoint to the end of the run.

    After each step the progress line is updated, and a checkpoint is written if one is due.

    Args:
        stride: how many steps are made at a time; every one of these multiples is yielded.
        block: checkpoints are written after multiples of so many steps.
    """
    for step in range(folder.step + stride, tracker.steps + 1, stride):
        yield step
        tracker.progress(step)
        if (folder.due and step % block == 0) or step == tracker.steps:
            folder.save(step, run.state_dict(), tracker)

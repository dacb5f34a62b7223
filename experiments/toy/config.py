"""What can be set about the toy; the defaults are the settings of the paper's figure 1."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from experiments.run.accelerate import GRAPH
from experiments.run.config import Experiment, overlay
from experiments.run.errors import check, known, positive
from experiments.toy.methods import OWN


@dataclass
class Toy(Experiment):
    """E[(b - t)^2] for one coin flip b per step and seed; the seeds run side by side."""

    t: float = 0.499
    steps: int = 10_000
    seeds: int = 200
    lr: float = 0.01  # Adam, the logit of theta
    phi_lr: float = 0.01  # Adam, the surrogate, eta and lambda
    log_every: int = 100
    variance_every: int = 50  # steps between measurements of the gradient's variance
    variance_samples: int = 1000  # fresh gradients in one measurement
    snapshots: list[int] = field(default_factory=lambda: [30, 1000])  # see relaxation.py
    compile: bool = False  # torch.compile: half a minute first, a quarter of the time a step then
    graph: str = "auto"  # CUDA graphs: auto (on a GPU) | on | off

    def check(self) -> None:
        super().check()
        check(math.isfinite(self.t), f"t={self.t}: a finite number is needed")
        known(self.graph, GRAPH, "graph")
        positive(self.lr, "lr")
        positive(self.phi_lr, "phi_lr")
        for name in ("steps", "log_every", "variance_every"):
            value = getattr(self, name)
            check(value >= 1, f"{name}={value}: 1 or more is needed")
        mend = f"steps must be a multiple of log_every={self.log_every}"
        check(self.steps % self.log_every == 0, f"steps={self.steps}: {mend}")
        samples = self.variance_samples
        check(samples >= 2, f"variance_samples={samples}: a variance needs 2 or more")
        shots = self.snapshots
        check(shots and min(shots) >= 1, f"snapshots={shots}: steps of 1 or more are needed")
        for name in self.estimators:
            self.own(name)

    def own(self, name: str) -> Any:
        """The settings of one estimator."""
        known(name, OWN, "estimator")
        return overlay(OWN[name], self.estimators.get(name, {}), f"estimators.{name}")

    @property
    def case(self) -> str:
        """The folder of the run and of its results: t0.499"""
        return f"t{self.t!r}"

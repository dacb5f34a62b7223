"""The configuration of the toy; the defaults are the settings of the paper's figure 1."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from experiments.run.accelerate import COMPILE, GRAPH, compiles
from experiments.run.config import Experiment, overlay
from experiments.run.errors import check, known, positive
from experiments.toy.methods import SETTINGS

# Steps from which torch.compile has paid on a CPU: it takes 20 to 60 s, and a step then takes .5 to
# .6 ms less.
WORTHWHILE = 80_000


@dataclass
class Toy(Experiment):
    """Minimise E[(b - t)^2] over the probability of b = 1; all seeds are trained at once."""

    t: float = 0.499
    steps: int = 10_000
    seeds: int = 200
    lr: float = 0.01  # of Adam for the logit of theta
    phi_lr: float = 0.01  # of Adam for phi: the surrogate, eta and lambda
    log_every: int = 100
    variance_every: int = 50  # steps between measurements of the gradient's variance
    variance_samples: int = 1000  # gradients per measurement
    snapshots: list[int] = field(default_factory=lambda: [30, 1000])  # see relaxation.py
    compile: str = "auto"  # torch.compile of several steps at once: auto | on | off
    graph: str = "auto"  # CUDA graphs: auto (on a GPU) | on | off

    def check(self) -> None:
        super().check()
        check(math.isfinite(self.t), f"t={self.t}: must be finite")
        known(self.graph, GRAPH, "graph")
        known(self.compile, COMPILE, "compile")
        positive(self.lr, "lr")
        positive(self.phi_lr, "phi_lr")
        for name in ("steps", "log_every", "variance_every"):
            value = getattr(self, name)
            check(value >= 1, f"{name}={value}: must be at least 1")
        check(
            self.steps % self.log_every == 0,
            f"steps={self.steps}: steps must be a multiple of log_every={self.log_every}",
        )
        samples, snapshots = self.variance_samples, self.snapshots
        check(samples >= 2, f"variance_samples={samples}: a variance needs 2 or more")
        check(
            snapshots and min(snapshots) >= 1,
            f"snapshots={snapshots}: steps of 1 or more are needed",
        )
        for name in self.estimators:
            self.settings_of(name)

    def settings_of(self, name: str) -> Any:
        """The settings of one estimator, a dataclass of `methods.SETTINGS`."""
        known(name, SETTINGS, "estimator")
        return overlay(SETTINGS[name], self.estimators.get(name, {}), f"estimators.{name}")

    @property
    def compiled(self) -> bool:
        """Whether the steps are compiled."""
        return compiles(self.compile, self.steps, WORTHWHILE)

    @property
    def case(self) -> str:
        """The folder of the run and of its results, such as t0.499."""
        return f"t{self.t!r}"

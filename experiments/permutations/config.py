"""The configuration of the family; the defaults are those of Gadetsky et al. (2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.permutations.methods import RELAXED, SETTINGS
from experiments.run.accelerate import COMPILE, compiles
from experiments.run.config import Experiment, overlay
from experiments.run.errors import check, known, positive

LARGEST = {"matching": 8, "structure": 7, "sorting": 100}
WORTHWHILE = 20_000  # steps from which torch.compile has paid
SORTING = "gumbel_sinkhorn"  # the only estimator of the sorting network


@dataclass
class Permutations(Experiment):
    """Minimise an expectation over orders of n items; all seeds are trained at once."""

    problem: str = "matching"  # matching | structure | sorting
    n: int = 8
    steps: int = 50_000
    lr: float = 0.01  # of Adam for the log-scores, or for the sorting network
    phi_lr: float = 0.01  # of Adam for phi
    log_every: int = 500
    compile: str = "auto"  # torch.compile, which makes a step three times as fast: auto | on | off
    variance_samples: int = 30  # gradients behind each logged variance
    observations: int = 500  # structure: data behind each DAG
    batch: int = 10  # sorting: lists per step
    tested: int = 100  # sorting: new lists behind each logged share of errors

    def check(self) -> None:
        super().check()
        known(self.problem, LARGEST, "problem")
        largest = LARGEST[self.problem]
        check(2 <= self.n <= largest, f"n={self.n}: {self.problem} takes 2 to {largest} items")
        known(self.compile, COMPILE, "compile")
        positive(self.lr, "lr")
        positive(self.phi_lr, "phi_lr")
        for name in ("steps", "log_every", "observations", "batch", "tested"):
            check(getattr(self, name) >= 1, f"{name}={getattr(self, name)}: must be at least 1")
        check(self.variance_samples >= 2, "variance_samples: a variance needs 2 or more")
        check(
            self.steps % self.log_every == 0,
            f"steps={self.steps}: steps must be a multiple of log_every={self.log_every}",
        )
        for name in self.estimators:
            self.settings_of(name)

    def settings_of(self, name: str) -> Any:
        """The settings of one estimator, a dataclass of `methods.SETTINGS`."""
        known(name, SETTINGS, "estimator")
        fits = (name == SORTING) == (self.problem == "sorting")
        check(fits, f"problem={self.problem} does not take estimator={name}")
        relaxable = self.problem == "matching" or name not in RELAXED
        check(relaxable, f"{name} relaxes f, which is a black box in problem={self.problem}")
        return overlay(SETTINGS[name], self.estimators.get(name, {}), f"estimators.{name}")

    @property
    def compiled(self) -> bool:
        """Whether the steps are compiled."""
        return compiles(self.compile, self.steps, WORTHWHILE)

    @property
    def case(self) -> str:
        """The folder of the run and of its results, such as matching-n8."""
        return f"{self.problem}-n{self.n}"

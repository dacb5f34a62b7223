"""The estimators of orders: their settings, their phi, and the call to the core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import relax as rx
from experiments.run.errors import positive


@dataclass
class NoSettings:
    """An estimator without settings."""


@dataclass
class Temperature:
    """An estimator that relaxes b at a temperature lambda; REBAR and RELAX learn it from there."""

    lambda_: float = 1.0

    def __post_init__(self) -> None:
        positive(self.lambda_, "lambda_")


@dataclass
class RelaxSettings(Temperature):
    """c(z) = f(sigma_lambda(z)) + r(z), or r(z) alone where f cannot be relaxed.

    hidden: ReLU units of r. zero_scale: multiply r by a learned scalar that starts at 0.
    """

    hidden: int = 32
    zero_scale: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.hidden, "hidden")


@dataclass
class SinkhornSettings(Temperature):
    """The network and the relaxation of Mena et al. for sorting.

    hidden: units of the network. iterations: of Sinkhorn. samples: of the Gumbel noise.
    """

    hidden: int = 32
    iterations: int = 10
    samples: int = 5


SETTINGS = {
    "exact": NoSettings,
    "reinforce": NoSettings,
    "rloo": NoSettings,
    "dlax": RelaxSettings,
    "rebar": Temperature,
    "relax": RelaxSettings,
    "concrete": Temperature,
    "gumbel_sinkhorn": SinkhornSettings,
}
RELAXED = ("rebar", "concrete")  # estimators that need an f that can be relaxed

Estimator = Callable[..., rx.Estimate]  # (f, dist, generator=) -> Estimate


def build(
    name: str, settings: Any, problem: Any, n: int, seeds: Sequence[int], device: torch.device
) -> tuple[Estimator, nn.Module]:
    """The estimator and its phi, one replica per seed; the seeds determine phi's initial values."""
    if name == "rebar":
        phi = rx.surrogates.Scales(1.0, settings.lambda_, len(seeds)).double().to(device)
        return lambda f, dist, **own: rx.rebar(
            f, dist, eta=phi.eta, lambda_=phi.lambda_, **own
        ), phi
    if isinstance(settings, RelaxSettings):
        phi = Surrogate(settings, problem.relaxable, n, seeds).double().to(device)
        function = rx.ESTIMATORS[name].function
        return lambda f, dist, **own: function(f, dist, c=phi.of(f, dist), **own), phi
    return partial(rx.ESTIMATORS[name].function, **vars(settings)), nn.Module()


class Surrogate(nn.Module):
    """f(sigma_lambda(z)) + r(z), the surrogate of Gadetsky et al. (2020), section 4."""

    def __init__(self, settings: RelaxSettings, relaxable: bool, n: int, seeds: Sequence[int]):
        super().__init__()
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.r = rx.surrogates.mlp(
            (n, 1),
            settings.hidden,
            activation="relu",
            zero_scale=settings.zero_scale,
            replicas=len(seeds),
            generator=generators,
        )
        start = torch.full((len(seeds),), settings.lambda_).log()
        self.log_lambda = nn.Parameter(start) if relaxable else None

    def of(self, f: Callable, dist: rx.PlackettLuce) -> Callable[[Tensor], Tensor]:
        """c as a function of z."""
        if self.log_lambda is None:
            return self.r
        relaxed = rx.surrogates.relaxed(f, dist, lambda_=self.log_lambda.exp())
        return lambda z: relaxed(z) + self.r(z)

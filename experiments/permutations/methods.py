"""The estimators of orders: their settings and their phi."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import relax as rx
from experiments.run.errors import positive

Function = Callable[[Tensor], Tensor]


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


def build(settings: Any, name: str, relaxable: bool, n: int, seeds: Sequence[int]) -> nn.Module:
    """The estimator's phi, one replica per seed; `phi.arguments(f, dist)` are its settings.

    The seeds determine phi's initial values. It has no parameters where nothing is learned.
    """
    if name == "rebar":
        return Scales(1.0, settings.lambda_, len(seeds)).double()
    if isinstance(settings, RelaxSettings):
        return Surrogate(settings, relaxable, n, seeds).double()
    return Fixed(settings)


class Fixed(nn.Module):
    """Settings that are not learned."""

    def __init__(self, settings: Any) -> None:
        super().__init__()
        self.settings = vars(settings)

    def arguments(self, f: Function, dist: rx.PlackettLuce) -> dict[str, Any]:
        return self.settings


class Scales(rx.surrogates.Scales):
    """REBAR's eta and lambda."""

    def arguments(self, f: Function, dist: rx.PlackettLuce) -> dict[str, Any]:
        return {"eta": self.eta, "lambda_": self.lambda_}


class Surrogate(nn.Module):
    """c(z) = f(sigma_lambda(z)) + r(z), or r(z) alone where f cannot be relaxed.

    Source: Gadetsky et al. (2020), section 4.
    """

    def __init__(self, settings: RelaxSettings, relaxable: bool, n: int, seeds: Sequence[int]):
        super().__init__()
        self.r = rx.surrogates.mlp(
            (n, 1),
            settings.hidden,
            activation="relu",
            zero_scale=settings.zero_scale,
            replicas=len(seeds),
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        )
        start = torch.full((len(seeds),), settings.lambda_).log()
        self.log_lambda = nn.Parameter(start) if relaxable else None

    def arguments(self, f: Function, dist: rx.PlackettLuce) -> dict[str, Any]:
        if self.log_lambda is None:
            return {"c": self.r}
        relaxed = rx.surrogates.relaxed(f, dist, lambda_=self.log_lambda.exp())
        return {"c": lambda z: relaxed(z) + self.r(z)}

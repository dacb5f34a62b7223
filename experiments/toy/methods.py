"""The estimators as the toy uses them: their settings, their phi, and the call to the core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import relax as rx
from experiments.errors import positive


@dataclass
class Nothing:
    """An estimator without settings."""


@dataclass
class Temperature:
    lambda_: float = 0.5  # fixed

    def __post_init__(self) -> None:
        positive(self.lambda_, "lambda_")


@dataclass
class Rebar(Temperature):
    """eta and lambda are where learning starts; coupled noise is the authors' choice."""

    eta: float = 1.0
    coupled: bool = True


@dataclass
class Relax(Temperature):
    """The authors' surrogate: one layer of tanh units on 2 sigmoid(z / lambda) - 1, times a scale
    that starts at 0."""

    hidden: int = 10
    zero_scale: bool = True
    coupled: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.hidden, "hidden")


# The settings of every estimator that the toy can run.
OWN: dict[str, type] = {
    "exact": Nothing,
    "reinforce": Nothing,
    "straight_through": Nothing,
    "muprop": Nothing,
    "concrete": Temperature,
    "rebar": Rebar,
    "dlax": Relax,
    "relax": Relax,
}


@dataclass
class Method:
    """An estimator bound to its own phi.

    estimate: (f, dist, noise) -> Estimate.
    phi: the module that minimises the variance; empty where there is none.
    readings: what to log of phi, name -> [R].
    surrogate: c as a function of z for the figure of learned relaxations, or None.
    """

    estimate: Callable[..., rx.Estimate]
    coupled: bool = True
    phi: nn.Module = field(default_factory=nn.Module)
    readings: Callable[[], dict[str, Tensor]] = dict
    surrogate: Callable[[Callable, Any], Callable[[Tensor], Tensor]] | None = None


def build(name: str, own: Any, seeds: list[int], device: torch.device) -> Method:
    """The method `name`, one replica per seed."""
    if name == "exact":
        return Method(exact)
    function = rx.ESTIMATORS[name].function
    if name == "rebar":
        return _rebar(own, len(seeds), device)
    if isinstance(own, Relax):
        return _relax(function, own, seeds, device)

    def estimate(f, dist, noise):
        return function(f, dist, noise=noise, **vars(own))

    return Method(estimate)


def _rebar(own: Rebar, replicas: int, device: torch.device) -> Method:
    scales = rx.surrogates.Scales(own.eta, own.lambda_, replicas).to(device)

    def estimate(f, dist, noise):
        eta, lambda_ = scales.eta, scales.lambda_
        return rx.rebar(f, dist, eta=eta, lambda_=lambda_, noise=noise, coupled=own.coupled)

    def readings():
        return {"eta": scales.eta, "lambda": scales.lambda_}

    def relaxed(f, dist):  # without eta: what REBAR sees of f
        return rx.surrogates.relaxed(f, dist, 1.0, scales.lambda_)

    return Method(estimate, own.coupled, scales, readings, relaxed)


def _relax(function, own: Relax, seeds: list[int], device: torch.device) -> Method:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    c = rx.surrogates.mlp(
        1,
        own.hidden,
        lambda_=own.lambda_,
        zero_scale=own.zero_scale,
        replicas=len(seeds),
        generator=generators,
    ).to(device)
    coupled = {"coupled": own.coupled} if function is rx.relax else {}

    def estimate(f, dist, noise):
        return function(f, dist, c=c, noise=noise, **coupled)

    def readings():
        return {"lambda": c.log_lambda.exp().flatten()}

    return Method(estimate, own.coupled, c, readings, lambda f, dist: c)


def exact(f, dist: rx.Bernoulli, noise: rx.Noise) -> rx.Estimate:
    """The true gradient, [f(1) - f(0)] theta (1 - theta): the limit that the others are held to."""
    draw = dist.draw(noise)
    one, zero = f(torch.ones_like(draw.b)), f(torch.zeros_like(draw.b))
    theta = dist.mean().detach()
    grad = (one - zero)[..., None] * theta * (1 - theta)
    return rx.Estimate(dist.theta, grad, f(draw.b), draw)

"""The estimators as the toy uses them: their settings, their phi, and the call to the core."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import relax as rx
from experiments.run.errors import positive


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


def _schema(name: str, entry: rx.Entry) -> type | None:
    """The settings of an estimator on the toy; None where it cannot run there."""
    parameters = inspect.signature(entry.function).parameters.values()
    required = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
    if not entry.accepts(rx.Bernoulli(torch.zeros(1))) or required - {"c", "baseline"}:
        return None
    if name == "rebar":
        return Rebar
    if "c" in required:
        return Relax
    return Temperature if "lambda_" in {p.name for p in parameters} else Nothing


OWN: dict[str, type] = {"exact": Nothing} | {
    name: schema
    for name, entry in rx.ESTIMATORS.items()
    if (schema := _schema(name, entry)) is not None
}


@dataclass
class Method:
    """An estimator bound to its own phi.

    name: of the estimator, for its kind of draw.
    estimate: (f, draw) -> Estimate, a pure function.
    coupled: whether v is recovered from u where there is a choice.
    phi: the module that minimises the variance; without parameters where there is none.
    readings: what to log of phi, name -> [R].
    surrogate: (f, dist) -> c as a function of z, where there is one.
    """

    name: str
    estimate: Callable[..., rx.Estimate]
    coupled: bool = False
    phi: nn.Module = field(default_factory=nn.Module)
    readings: Callable[[], dict[str, Tensor]] = dict
    surrogate: Callable[..., Callable[[Tensor], Tensor]] | None = None

    def noise(self, dist: rx.Bernoulli, generator: rx.replicas.Streams) -> Any:
        """The random numbers of one draw for every row of dist."""
        estimator = rx.ESTIMATORS[self.name].function
        return estimator.noise(dist, generator=generator, coupled=self.coupled)

    def draw(self, dist: rx.Bernoulli, noise: Any) -> rx.Draw:
        """The draw that these random numbers make."""
        return rx.ESTIMATORS[self.name].function.draw(dist, noise=noise)


def build(name: str, own: Any, seeds: list[int], device: torch.device) -> Method:
    """The method `name` with one replica per seed; the seeds are for phi's first values."""
    if name == "exact":
        return Method("reinforce", exact)
    if name == "nvil":
        return _nvil(len(seeds), device)
    if name == "rebar":
        return _rebar(own, len(seeds), device)
    function = rx.ESTIMATORS[name].function
    if isinstance(own, Relax):
        return _relax(name, own, seeds, device)
    return Method(name, partial(function, **vars(own)))


def _rebar(own: Rebar, replicas: int, device: torch.device) -> Method:
    phi = rx.surrogates.Scales(own.eta, own.lambda_, replicas).to(device)

    def estimate(f, draw):
        return rx.rebar(f, draw, eta=phi.eta, lambda_=phi.lambda_)

    def readings():
        return {"lambda": phi.lambda_, "eta": phi.eta}

    def relaxed(f, dist):  # without eta: what REBAR sees of f
        return rx.surrogates.relaxed(f, dist, 1.0, phi.lambda_)

    return Method("rebar", estimate, own.coupled, phi, readings, relaxed)


def _relax(name: str, own: Relax, seeds: list[int], device: torch.device) -> Method:
    """RELAX, and dlax, which has no z~ to couple."""
    c = rx.surrogates.mlp(
        1,
        own.hidden,
        lambda_=own.lambda_,
        zero_scale=own.zero_scale,
        replicas=len(seeds),
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    ).to(device)
    function = rx.ESTIMATORS[name].function

    def readings():
        return {"lambda": c.log_lambda.exp().flatten()}

    estimate = partial(function, c=c)
    coupled = own.coupled and name == "relax"
    return Method(name, estimate, coupled, c, readings, lambda f, dist: c)


def _nvil(replicas: int, device: torch.device) -> Method:
    """NVIL without an input to look at: a learned constant per replica."""
    phi = nn.ParameterList([torch.zeros(replicas, 1, device=device)])

    def estimate(f, draw):
        return rx.nvil(f, draw, baseline=phi[0].expand(draw.value_shape))

    return Method("nvil", estimate, phi=phi)


def exact(f, draw: rx.Draw) -> rx.Estimate:
    """The true gradient, [f(1) - f(0)] theta (1 - theta): the limit that the others are held to."""
    logit, b = draw.dist.theta, torch.ones_like(draw.dist.theta)
    one, zero = f(b), f(0 * b)
    theta = draw.dist.mean().detach()
    grad = (one - zero)[..., None] * theta * (1 - theta)
    return rx.Estimate(logit, grad, one, draw)

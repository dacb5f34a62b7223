"""The estimators as the toy uses them: their settings, their phi, and the call to the core."""

from __future__ import annotations

import inspect
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


def _schema(name: str, entry: rx.estimators.Entry) -> type | None:
    """The settings of an estimator on the toy; None where it cannot run there."""
    parameters = inspect.signature(entry.function).parameters.values()
    required = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
    if rx.Bernoulli not in entry.distributions or required - {"c", "baseline"}:
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

    name: of the estimator, for its kind of noise.
    estimate: (f, dist, noise) -> Estimate, a pure function.
    coupled: whether v is recovered from u, or not needed at all.
    phi: the module that minimises the variance; without parameters where there is none.
    readings: what to log of phi, name -> [R].
    surrogate: (f, dist) -> c as a function of z, where there is one.
    """

    name: str
    estimate: Callable[..., rx.Estimate]
    coupled: bool = True
    phi: nn.Module = field(default_factory=nn.Module)
    readings: Callable[[], dict[str, Tensor]] = dict
    surrogate: Callable[..., Callable[[Tensor], Tensor]] | None = None

    def noise(self, dist: rx.Bernoulli, generator: rx.replicas.Streams) -> Any:
        """What makes one estimate for every row of dist."""
        return rx.noise(self.name, dist, generator=generator, coupled=self.coupled)


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

    def estimate(f, dist, noise):
        return function(f, dist, noise=noise, **vars(own))

    return Method(name, estimate, coupled=name != "rao_relax")  # its v makes h given b


def _rebar(own: Rebar, replicas: int, device: torch.device) -> Method:
    phi = rx.surrogates.Scales(own.eta, own.lambda_, replicas).to(device)

    def estimate(f, dist, noise):
        return rx.rebar(f, dist, eta=phi.eta, lambda_=phi.lambda_, noise=noise, coupled=own.coupled)

    def readings():
        return {"lambda": phi.lambda_, "eta": phi.eta}

    def relaxed(f, dist):  # without eta: what REBAR sees of f
        return rx.surrogates.relaxed(f, dist, 1.0, phi.lambda_)

    return Method("rebar", estimate, own.coupled, phi, readings, relaxed)


def _relax(name: str, own: Relax, seeds: list[int], device: torch.device) -> Method:
    """RELAX, and dlax, whose noise is not coupled because it has no z~."""
    c = rx.surrogates.mlp(
        1,
        own.hidden,
        lambda_=own.lambda_,
        zero_scale=own.zero_scale,
        replicas=len(seeds),
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    ).to(device)
    function = rx.ESTIMATORS[name].function
    coupled = {"coupled": own.coupled} if name == "relax" else {}

    def estimate(f, dist, noise):
        return function(f, dist, c=c, noise=noise, **coupled)

    def readings():
        return {"lambda": c.log_lambda.exp().flatten()}

    return Method(name, estimate, own.coupled, c, readings, lambda f, dist: c)


def _nvil(replicas: int, device: torch.device) -> Method:
    """NVIL without an input to look at: a learned constant per replica."""
    phi = nn.ParameterList([torch.zeros(replicas, 1, device=device)])

    def estimate(f, dist, noise):
        baseline = phi[0].expand(dist.theta.shape[:-1])
        return rx.nvil(f, dist, baseline=baseline, noise=noise)

    return Method("nvil", estimate, phi=phi)


def exact(f, dist: rx.Bernoulli, noise) -> rx.Estimate:
    """The true gradient, [f(1) - f(0)] theta (1 - theta): the limit that the others are held to."""
    b = torch.ones_like(dist.theta)
    one, zero = f(b), f(0 * b)
    theta = dist.mean().detach()
    grad = (one - zero)[..., None] * theta * (1 - theta)
    return rx.Estimate(dist.theta, grad, one, dist.draw(rx.Noise(0.5 * b), b))

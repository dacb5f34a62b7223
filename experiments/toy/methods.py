"""The estimators on the toy: their settings, their phi, and the call to the core."""

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
class NoSettings:
    """An estimator without settings."""


@dataclass
class Temperature:
    """An estimator that relaxes b at a fixed temperature lambda."""

    lambda_: float = 0.5

    def __post_init__(self) -> None:
        positive(self.lambda_, "lambda_")


@dataclass
class RebarSettings(Temperature):
    """The first values of eta and lambda, which are learned; coupled noise as in the authors' code.

    coupled: z~ equals z in value, because its noise v is computed from u instead of sampled.
    """

    eta: float = 1.0
    coupled: bool = True


@dataclass
class RelaxSettings(Temperature):
    """The authors' surrogate: one layer of tanh units on 2 sigmoid(z / lambda) - 1, multiplied by a
    scale that starts at 0 unless `zero_scale` is off."""

    hidden: int = 10
    zero_scale: bool = True
    coupled: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.hidden, "hidden")


def _settings() -> dict[str, type]:
    """The settings of every estimator in the registry that can be used on the toy."""
    settings: dict[str, type] = {"exact": NoSettings}
    bit = rx.Bernoulli(torch.zeros(1))
    for name, entry in rx.ESTIMATORS.items():
        parameters = inspect.signature(entry.function).parameters.values()
        keywords = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
        required = {key for key, p in keywords.items() if p.default is p.empty}
        if not entry.accepts(bit) or required - {"c", "baseline"}:
            continue
        if name == "rebar":
            settings[name] = RebarSettings
        elif "c" in required:
            settings[name] = RelaxSettings
        else:
            settings[name] = Temperature if "lambda_" in keywords else NoSettings
    return settings


SETTINGS = _settings()


@dataclass
class Method:
    """An estimator with its own phi.

    name: of the registered estimator, which makes the draws.
    estimate: (f, draw) -> Estimate, a pure function.
    coupled: whether v is computed from u, where the estimator leaves the choice.
    phi: the module that minimises the variance; it may have no parameters.
    readings: () -> what is logged of phi, name -> [R].
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


def build(name: str, settings: Any, seeds: list[int], device: torch.device) -> Method:
    """The method `name` with one replica per seed; the seeds determine phi's initial values."""
    if name == "exact":
        return Method("reinforce", exact)
    if name == "nvil":
        return _nvil(len(seeds), device)
    if name == "rebar":
        return _rebar(settings, len(seeds), device)
    if isinstance(settings, RelaxSettings):
        return _relax(name, settings, seeds, device)
    return Method(name, partial(rx.ESTIMATORS[name].function, **vars(settings)))


def _rebar(settings: RebarSettings, replicas: int, device: torch.device) -> Method:
    phi = rx.surrogates.Scales(settings.eta, settings.lambda_, replicas).to(device)

    def estimate(f, draw):
        return rx.rebar(f, draw, eta=phi.eta, lambda_=phi.lambda_)

    def readings():
        return {"lambda": phi.lambda_, "eta": phi.eta}

    def relaxed(f, dist):  # the relaxation of f, without the factor eta
        return rx.surrogates.relaxed(f, dist, 1.0, phi.lambda_)

    return Method("rebar", estimate, settings.coupled, phi, readings, relaxed)


def _relax(name: str, settings: RelaxSettings, seeds: list[int], device: torch.device) -> Method:
    """RELAX and the other estimators with a free surrogate."""
    c = rx.surrogates.mlp(
        1,
        settings.hidden,
        lambda_=settings.lambda_,
        zero_scale=settings.zero_scale,
        replicas=len(seeds),
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    ).to(device)

    def readings():
        return {"lambda": c.log_lambda.exp().flatten()}

    return Method(
        name,
        estimate=partial(rx.ESTIMATORS[name].function, c=c),
        coupled=settings.coupled and name == "relax",  # dlax has no z~
        phi=c,
        readings=readings,
        surrogate=lambda f, dist: c,
    )


def _nvil(replicas: int, device: torch.device) -> Method:
    """NVIL without an input: its baseline is a learned constant per replica."""
    phi = nn.ParameterList([torch.zeros(replicas, 1, device=device)])

    def estimate(f, draw):
        return rx.nvil(f, draw, baseline=phi[0].expand(draw.value_shape))

    return Method("nvil", estimate, phi=phi)


def exact(f, draw: rx.Draw) -> rx.Estimate:
    """The true gradient, [f(1) - f(0)] theta (1 - theta), the reference for the estimators."""
    logit, b = draw.dist.theta, torch.ones_like(draw.dist.theta)
    f_1, f_0 = f(b), f(0 * b)
    theta = draw.dist.mean().detach()
    grad = (f_1 - f_0)[..., None] * theta * (1 - theta)
    return rx.Estimate(logit, grad, f_1, draw)

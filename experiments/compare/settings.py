"""The settings at which estimators are compared: those of the registry, and a few variants.

An estimator that needs nothing but f and a distribution is compared as it is. The others have a
function that builds them with their phi for a problem. All scalars of phi (eta, lambda, gamma,
alpha) are fitted alike, from their default values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import relax as rx

Built = tuple[Callable[..., rx.Estimate], list[Tensor]]  # an estimator and its phi


class Bench:
    """The current problem; it counts the rows at which f and its relaxation are evaluated.

    The problem can be exchanged for another of its kind, because phi is fitted on other images
    than those that are measured.
    """

    def __init__(self, problem: Any) -> None:
        self.problem, self.rows = problem, 0
        if getattr(problem, "cheap_flips", False):
            self.flips = lambda b: self._count(self.problem.flips(b))

    @property
    def dist(self) -> Any:
        return self.problem.dist

    @property
    def event(self) -> torch.Size:
        return self.dist.sample_shape[-self.dist.event_ndim :]

    def __call__(self, b: Tensor) -> Tensor:
        """f(b)."""
        return self._count(self.problem.f(b))

    def relaxed(self, h: Tensor, lambda_: Tensor | float) -> Tensor:
        return self._count(self.problem.relaxed(h, lambda_))

    def _count(self, value: Tensor) -> Tensor:
        self.rows += value.numel()
        return value


# ---- estimators with a phi ----


def plain(bench: Bench, function: Callable, samples: int) -> Built:
    """An estimator without phi."""
    return partial(function, samples=samples), []


def with_baseline(bench: Bench, function: Callable, samples: int) -> Built:
    """NVIL and MuProp; the baseline is a network of the logits."""
    baseline = rx.surrogates.mlp(bench.event, hidden=100, zero_scale=False)

    def estimate(f: Callable, dist: Any, **own: Any) -> rx.Estimate:
        return function(f, dist, baseline=baseline(dist.theta.detach()), **own)

    return estimate, list(baseline.parameters())


def with_scalar(bench: Bench, function: Callable, samples: int, name: str, start: float) -> Built:
    """An estimator with one learned scalar."""
    scalar = nn.Parameter(torch.tensor(start))
    return partial(function, samples=samples, **{name: scalar}), [scalar]


def with_stein(bench: Bench, function: Callable, samples: int) -> Built:
    stein = rx.Stein(hidden=100)
    return partial(function, stein=stein, samples=samples), list(stein.parameters())


def network(bench: Bench) -> tuple[Callable, list[Tensor]]:
    """r(z), on a VAE r(z, x, bits of the layers below), whose output starts at 0; and its phi."""
    context = bench.problem.context
    features = None if context is None else context.shape[-1]
    r = rx.surrogates.mlp(bench.event, hidden=100, lambda_=1.0, context=features)
    return (lambda z: r(z, bench.problem.context)), list(r.parameters())


def relaxed_f(
    bench: Bench,
    function: Callable,
    samples: int,
    residual: bool = False,
    coupled: bool = False,
    with_f: bool = True,
    tucker: bool = False,
    lambda_: float = 0.5,
) -> Built:
    """c = eta (f(sigma_lambda(z)) + r(z)): REBAR without the residual r, else RELAX.

    Args:
        residual: add r. with_f: False leaves f out of c. tucker: the relaxation of Tucker et al.
        lambda_: where the temperature starts.
    """
    scales = rx.surrogates.Scales(lambda_=lambda_)
    r, weights = network(bench)

    def estimate(f: Callable, dist: Any, **own: Any) -> rx.Estimate:
        lambda_ = scales.lambda_
        shift = dist.theta.detach() * lambda_**2 / (lambda_ + 1) if tucker else 0.0

        def c(z: Tensor) -> Tensor:
            if not with_f:
                return scales.eta * r(z)
            f_z = bench.relaxed(dist.relaxed(z + shift, lambda_), lambda_)
            return scales.eta * (f_z + r(z) if residual else f_z)

        return rx.relax(f, dist, c=c, coupled=coupled, **own)

    phi = [scales.eta, *([scales.log_lambda] if with_f else []), *(weights if residual else [])]
    return estimate, phi


def unbiased_reinmax(bench: Bench, function: Callable, samples: int) -> Built:
    scales = rx.surrogates.Scales(lambda_=1.0, gamma=1.0)

    def estimate(f: Callable, dist: Any, **own: Any) -> rx.Estimate:
        lambda_ = scales.lambda_
        return rx.unbiased_reinmax(
            f,
            dist,
            c=None if bench.problem.smooth else partial(bench.relaxed, lambda_=lambda_),
            eta=scales.eta,
            lambda_=lambda_,
            gamma=scales.gamma,
            samples=samples,
            **own,
        )

    return estimate, list(scales.parameters())


# ---- the settings ----


@dataclass(frozen=True)
class Setting:
    """An estimator of the registry at one setting.

    Args:
        name: of the estimator. make: builds it and its phi for a bench.
        lr: of networks in phi. steps: of fitting phi. slow: measure fewer draws on a VAE.
        on_vaes: whether it is measured on the layers of VAEs.
    """

    name: str
    make: Callable[..., Built] = plain
    samples: int = 1
    lr: float = 3e-3
    steps: int = 600
    slow: bool = False
    on_vaes: bool = True

    @property
    def unbiased(self) -> bool:
        return rx.ESTIMATORS[self.name].unbiased

    def build(self, bench: Bench) -> Built:
        return self.make(bench, rx.ESTIMATORS[self.name].function, self.samples)

    def exists_on(self, problem: Any) -> bool:
        if self.name == "unordered_set" and problem.dist.event_ndim > 1:
            return False  # it takes a single choice
        if problem.context is not None and not self.on_vaes:
            return False
        return rx.ESTIMATORS[self.name].accepts(problem.dist)


SPECIAL: dict[str, dict[str, Any]] = {  # what differs from the defaults of `Setting`
    "nvil": {"make": with_baseline, "lr": 0.01, "steps": 2_000},
    "muprop": {"make": with_baseline, "lr": 0.01, "steps": 2_000},
    "double_cv": {"make": partial(with_scalar, name="alpha", start=-0.5)},
    "rodeo": {"make": with_stein, "slow": True},
    "rebar": {"make": relaxed_f},
    "relax": {"make": partial(relaxed_f, residual=True)},
    "unbiased_reinmax": {"make": unbiased_reinmax},
    "debiased_reinmax": {"make": partial(with_scalar, name="gamma", start=1.0)},
    "local_expectation": {"slow": True},
}
SAMPLES = {  # other numbers of samples than the estimator's default
    "rloo": (2, 4),
    "arms": (3, 4),
    "carms": (3, 4),
    "double_cv": (3,),
    "rodeo": (3,),
    "unbiased_reinmax": (1, 2, 3),
}


def registered() -> dict[str, Setting]:
    """Every estimator of discrete variables, at each number of samples that is compared."""
    found = {}
    for name, entry in rx.ESTIMATORS.items():
        if {"continuous", "mean_and_std", "log_prob_z"} & {*entry.needs}:
            continue
        counts = SAMPLES.get(name, (entry.samples,))
        several = name in SAMPLES or entry.samples > 1
        for count in counts:
            label = f"{name}-{count}" if several else name
            found[label] = Setting(name, samples=count, **SPECIAL.get(name, {}))
    return found


SETTINGS = registered() | {
    "rebar-coupled": Setting("rebar", partial(relaxed_f, coupled=True)),
    "relax-coupled": Setting("relax", partial(relaxed_f, residual=True, coupled=True)),
    # A network of z alone, fitted like NVIL's. On a VAE `same_weights` fits it, at a lower rate.
    "relax-black_box": Setting(
        "relax",
        partial(relaxed_f, residual=True, coupled=True, with_f=False),
        lr=0.01,
        steps=2_000,
        on_vaes=False,
    ),
}

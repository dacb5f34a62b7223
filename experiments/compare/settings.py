"""The settings at which estimators are compared: those of the registry, and some variants.

An estimator that needs nothing but f and a distribution is compared as it is. The others have a
function that builds their phi for a problem.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
    def context(self) -> Tensor:
        """What a surrogate may see in addition to z, [B, C]."""
        return self.problem.context

    def __call__(self, b: Tensor) -> Tensor:
        """f(b)."""
        return self._count(self.problem.f(b))

    def relaxed(self, h: Tensor, lambda_: Tensor | float) -> Tensor:
        return self._count(self.problem.relaxed(h, lambda_))

    def _count(self, value: Tensor) -> Tensor:
        self.rows += value.numel()
        return value


# ---- estimators with a phi of their own ----


def with_baseline(bench: Bench, function: Callable, samples: int) -> Built:
    """NVIL and MuProp; the baseline is a network of the logits."""
    baseline = rx.surrogates.mlp(bench.dist.theta.shape[-1], hidden=100, zero_scale=False)

    def estimate(f: Callable, dist: Any, **own: Any) -> rx.Estimate:
        return function(f, dist, baseline=baseline(dist.theta.detach()), **own)

    return estimate, list(baseline.parameters())


def with_alpha(bench: Bench, function: Callable, samples: int) -> Built:
    alpha = nn.Parameter(torch.tensor(-0.5))
    return partial(function, alpha=alpha, samples=samples), [alpha]


def with_stein(bench: Bench, function: Callable, samples: int) -> Built:
    stein = rx.Stein(hidden=100)
    return partial(function, stein=stein, samples=samples), list(stein.parameters())


def network(bench: Bench, context: bool, **own: Any) -> tuple[Callable, list[Tensor]]:
    """r(z), or r(z, x, bits of the layers below), whose output starts at 0; and its phi."""
    features = bench.dist.theta.shape[-1] + (bench.context.shape[-1] if context else 0)
    r = rx.surrogates.mlp(features, hidden=100, **own)

    def with_context(z: Tensor) -> Tensor:
        seen = bench.context.expand(*z.shape[:-1], -1)
        return r(torch.cat([seen, z], -1))

    return with_context if context else r, list(r.parameters())


def relaxed_f(
    bench: Bench,
    function: Callable,
    samples: int,
    residual: bool = False,
    context: bool = False,
    coupled: bool = False,
    with_f: bool = True,
    tucker: bool = False,
) -> Built:
    """c = eta (f(sigma_lambda(z)) + r(z)): REBAR without the residual r, else RELAX.

    Args:
        residual: add r. context: let r see the image and the bits of the layers below.
        with_f: False leaves f out of c. tucker: the relaxation of Tucker et al.
    """
    scales = rx.surrogates.Scales(1.0, 0.1)
    r, weights = network(bench, context, lambda_=1.0)

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


def several_z(bench: Bench, function: Callable, samples: int) -> Built:
    """Coupled REBAR averaged over several z ~ p(z|b), one evaluation of the relaxed f each."""
    scales = rx.surrogates.Scales(1.0, 0.1)

    def estimate(f: Callable, dist: Any, **own: Any) -> rx.Estimate:
        b = dist.sample(**own)
        v, p = dist.noise(samples, coupled=True, **own).u, torch.sigmoid(dist.theta)
        u = torch.where(b > 0, 1 - p + p * v, (1 - p) * v).clamp(1e-7, 1 - 1e-7)
        f_b = f(b).expand(u.shape[:-1])

        def c(z: Tensor) -> Tensor:
            relaxed = dist.relaxed(z, scales.lambda_)
            return scales.eta * bench.relaxed(relaxed, scales.lambda_)

        return rx.relax(f_b, rx.Draw(dist, rx.Noise(u), b.expand_as(u)), c=c)

    return estimate, list(scales.parameters())


def unbiased_reinmax(
    bench: Bench,
    function: Callable,
    samples: int,
    linear: bool = True,
    context: bool = False,
    learn_lambda: bool = False,
) -> Built:
    """eta and gamma are fitted; lambda too with `learn_lambda`, at the cost of a second derivative.

    Args:
        linear: False leaves the linear term out: REBAR with antithetic samples.
        context: c = f + r(h, x, bits of the layers below).
    """
    eta, gamma = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.8))
    log_lambda = nn.Parameter(torch.tensor(0.1).log(), requires_grad=learn_lambda)
    r, weights = network(bench, context) if context else (None, [])

    def c(h: Tensor) -> Tensor:
        f_h = bench.relaxed(h, log_lambda.exp())
        return f_h if r is None else f_h + r(h)

    def estimate(f: Callable, dist: Any, **own: Any) -> rx.Estimate:
        return rx.unbiased_reinmax(
            f,
            dist,
            c=None if bench.problem.smooth and not context else c,
            eta=eta,
            gamma=gamma if linear else 0.0,
            lambda_=log_lambda.exp(),
            samples=samples,
            **own,
        )

    phi = [eta, *([gamma] if linear else []), *([log_lambda] if learn_lambda else [])]
    return estimate, phi + weights


def concrete_direct(bench: Bench, function: Callable, samples: int) -> Built:
    """Concrete with the direct derivative h - p of log q(h|theta), the part of f that sees theta.

    At hard bits its mean is 0, and every other setting leaves it out.
    """

    def estimate(f: Callable, dist: Any, **own: Any) -> rx.Estimate:
        est = rx.concrete(f, dist, lambda_=0.5, **own)
        direct = dist.relaxed(est.draw.z, 0.5) - torch.sigmoid(dist.theta)
        return replace(est, grad=est.grad + direct)

    return estimate, []


def plain(bench: Bench, function: Callable, samples: int) -> Built:
    """An estimator without phi."""
    return partial(function, samples=samples), []


# ---- the settings ----


@dataclass(frozen=True)
class Setting:
    """An estimator of the registry at one setting.

    Args:
        name: of the estimator. make: builds it and its phi for a bench.
        lr, steps, average: of fitting phi, on the mean of `average` draws of b.
        vae: it exists on layers of VAEs only. bits: on Bernoulli variables only.
        slow: measure fewer draws.
    """

    name: str
    make: Callable[..., Built] = plain
    samples: int = 1
    lr: float = 0.02
    steps: int = 150
    average: int = 1
    vae: bool = False
    bits: bool = False
    slow: bool = False

    @property
    def unbiased(self) -> bool:
        return rx.ESTIMATORS[self.name].unbiased

    def build(self, bench: Bench) -> Built:
        return self.make(bench, rx.ESTIMATORS[self.name].function, self.samples)

    def exists_on(self, problem: Any) -> bool:
        dist = problem.dist
        fits = rx.ESTIMATORS[self.name].accepts(dist) and (not self.bits or dist.supports("bits"))
        return fits and (not self.vae or hasattr(problem, "context"))


RELAX: dict[str, Any] = {"lr": 3e-3, "steps": 300}
SPECIAL: dict[str, dict[str, Any]] = {  # what differs from the defaults of `Setting`
    "nvil": {"make": with_baseline, "lr": 0.1, "steps": 600},
    "muprop": {"make": with_baseline, "lr": 0.1, "steps": 600},
    "double_cv": {"make": with_alpha},
    "rodeo": {"make": with_stein, "lr": 3e-3, "steps": 600, "slow": True},
    "rebar": {"make": relaxed_f},
    "relax": {"make": partial(relaxed_f, residual=True), **RELAX},
    "unbiased_reinmax": {"make": unbiased_reinmax},
    "local_expectation": {"slow": True},
}
SAMPLES = {  # other numbers of samples than the estimator's default
    "rloo": (2, 3, 4),
    "disarm": (2, 4),
    "arms": (3, 4),
    "double_cv": (2, 3),
    "rodeo": (2, 3),
    "unbiased_reinmax": (1, 2, 3),
}
WITH_CONTEXT = partial(relaxed_f, residual=True, context=True)  # as the paper's VAE has it
VARIANTS = {
    "rebar-coupled": Setting("rebar", partial(relaxed_f, coupled=True)),
    "relax_context": Setting("relax", WITH_CONTEXT, vae=True, **RELAX),
    "relax_averaged": Setting("relax", WITH_CONTEXT, vae=True, average=4, **RELAX),
    "several_z-2": Setting("relax", several_z, samples=2, bits=True),
    "pairs_relax-2": Setting(
        "unbiased_reinmax", partial(unbiased_reinmax, linear=False), samples=2
    ),
    "unbiased_reinmax_context-1": Setting(
        "unbiased_reinmax", partial(unbiased_reinmax, context=True), vae=True, **RELAX
    ),
    "concrete_direct": Setting("concrete", concrete_direct, vae=True, bits=True),
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


SETTINGS = registered() | VARIANTS
for count in SAMPLES["unbiased_reinmax"]:
    SETTINGS[f"unbiased_reinmax_lambda-{count}"] = Setting(
        "unbiased_reinmax", partial(unbiased_reinmax, learn_lambda=True), samples=count
    )

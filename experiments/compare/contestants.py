"""Every estimator at the settings that are compared, each made ready on a bench."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import relax as rx

Estimator = Callable[..., rx.Estimate]
Made = tuple[Estimator, list[Tensor]]  # and its phi


class Bench:
    """The problem at hand, which counts the rows that f and its relaxation are asked for.

    It can be swapped for another of its kind: phi is fitted on other images than it is measured on.
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
        """What a surrogate may see beside z, [B, C]."""
        return self.problem.context

    def __call__(self, b: Tensor) -> Tensor:
        """f(b)."""
        return self._count(self.problem.f(b))

    def relaxed(self, h: Tensor, lambda_: Tensor | float) -> Tensor:
        return self._count(self.problem.relaxed(h, lambda_))

    def _count(self, value: Tensor) -> Tensor:
        self.rows += value.numel()
        return value


def plain(function: Estimator, **own: Any) -> Callable[[Bench], Made]:
    """An estimator without phi."""
    return lambda bench: (partial(function, **own), [])


def with_baseline(function: Estimator) -> Callable[[Bench], Made]:
    """NVIL and MuProp: a network of the logits stands for one of the image."""

    def make(bench: Bench) -> Made:
        baseline = rx.surrogates.mlp(bench.dist.theta.shape[-1], hidden=100, zero_scale=False)

        def estimate(f: Callable, dist: Any, **own: Any) -> rx.Estimate:
            return function(f, dist, baseline=baseline(dist.theta.detach()), **own)

        return estimate, list(baseline.parameters())

    return make


def double_cv(samples: int) -> Callable[[Bench], Made]:
    def make(bench: Bench) -> Made:
        alpha = nn.Parameter(torch.tensor(-0.5))
        return partial(rx.double_cv, alpha=alpha, samples=samples), [alpha]

    return make


def rodeo(samples: int) -> Callable[[Bench], Made]:
    def make(bench: Bench) -> Made:
        stein = rx.Stein(hidden=100)
        return partial(rx.rodeo, stein=stein, samples=samples), list(stein.parameters())

    return make


def network(bench: Bench, context: bool, **own: Any) -> tuple[Callable, list[Tensor]]:
    """r(z), or r(z, x, bits of the layers below), a network whose output starts at 0; its phi."""
    features = bench.dist.theta.shape[-1] + (bench.context.shape[-1] if context else 0)
    r = rx.surrogates.mlp(features, hidden=100, **own)

    def with_context(z: Tensor) -> Tensor:
        seen = bench.context.expand(*z.shape[:-1], -1)
        return r(torch.cat([seen, z], -1))

    return with_context if context else r, list(r.parameters())


def rebar(coupled: bool, residual: bool = False, context: bool = False) -> Callable[[Bench], Made]:
    """REBAR; with a residual network r of z, RELAX; with its context, as the paper's VAE has it."""

    def make(bench: Bench) -> Made:
        scales = rx.surrogates.Scales(1.0, 0.1)
        phi = list(scales.parameters())
        r, weights = network(bench, context, lambda_=1.0)
        phi += weights if residual else []

        def estimate(f: Callable, dist: Any, **own: Any) -> rx.Estimate:
            def c(z: Tensor) -> Tensor:
                relaxed = bench.relaxed(dist.relaxed(z, scales.lambda_), scales.lambda_)
                return scales.eta * (relaxed + r(z) if residual else relaxed)

            return rx.relax(f, dist, c=c, coupled=coupled, **own)

        return estimate, phi

    return make


def several_z(draws: int) -> Callable[[Bench], Made]:
    """Coupled REBAR averaged over several z ~ p(z|b), one evaluation of the relaxed f each."""

    def make(bench: Bench) -> Made:
        scales = rx.surrogates.Scales(1.0, 0.1)

        def estimate(f: Callable, dist: Any, **own: Any):
            b = dist.sample(**own)
            v, p = dist.noise(draws, coupled=True, **own).u, torch.sigmoid(dist.theta)
            u = torch.where(b > 0, 1 - p + p * v, (1 - p) * v).clamp(1e-7, 1 - 1e-7)
            f_b = f(b).expand(u.shape[:-1])

            def c(z: Tensor) -> Tensor:
                relaxed = dist.relaxed(z, scales.lambda_)
                return scales.eta * bench.relaxed(relaxed, scales.lambda_)

            return rx.relax(f_b, rx.Draw(dist, rx.Noise(u), b.expand_as(u)), c=c)

        return estimate, list(scales.parameters())

    return make


def rao_relax(
    samples: int, linear: bool = True, context: bool = False, learn_lambda: bool = False
) -> Callable[[Bench], Made]:
    """eta and gamma fitted; lambda too if asked for, which costs a second derivative in every fit.

    linear=False leaves the linear term out: REBAR with antithetic samples, nothing more.
    context: c = f + r(h, x, bits of the layers below).
    """

    def make(bench: Bench) -> Made:
        eta, gamma = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.8))
        log_lambda = nn.Parameter(torch.tensor(0.1).log(), requires_grad=learn_lambda)
        r, weights = network(bench, context) if context else (None, [])

        def c(h: Tensor) -> Tensor:
            f_h = bench.relaxed(h, log_lambda.exp())
            return f_h if r is None else f_h + r(h)

        def estimate(f: Callable, dist: Any, **own: Any) -> rx.Estimate:
            return rx.rao_relax(
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

    return make


def concrete_direct(bench: Bench) -> Made:
    """Concrete with the direct slope h - p of log q(h|theta), the part of f that knows theta.

    At hard bits its mean is 0, and every other contestant leaves it out.
    """

    def estimate(f: Callable, dist: Any, **own: Any) -> rx.Estimate:
        est = rx.concrete(f, dist, lambda_=0.5, **own)
        direct = dist.relaxed(est.draw.z, 0.5) - torch.sigmoid(dist.theta)
        return replace(est, grad=est.grad + direct)

    return estimate, []


@dataclass(frozen=True)
class Contestant:
    """An estimator at one setting.

    lr, steps, average: of fitting phi, on the mean of so many draws of b.
    vae: has a meaning on layers of VAEs only.
    """

    make: Callable[[Bench], Made]
    unbiased: bool
    distributions: tuple = (rx.Bernoulli, rx.Categorical)
    lr: float = 0.02
    steps: int = 150
    average: int = 1
    vae: bool = False
    slow: bool = False  # fewer draws


BITS = (rx.Bernoulli,)
CONTESTANTS: dict[str, Contestant] = {
    "reinforce": Contestant(plain(rx.reinforce), True),
    "nvil": Contestant(with_baseline(rx.nvil), True, lr=0.1, steps=600),
    "muprop": Contestant(with_baseline(rx.muprop), True, lr=0.1, steps=600),
    **{f"rloo-{k}": Contestant(plain(rx.rloo, samples=k), True) for k in (2, 3, 4)},
    "arm-2": Contestant(plain(rx.arm), True, BITS),
    **{f"disarm-{k}": Contestant(plain(rx.disarm, samples=k), True, BITS) for k in (2, 4)},
    **{f"arms-{k}": Contestant(plain(rx.arms, samples=k), True, BITS) for k in (3, 4)},
    **{f"double_cv-{k}": Contestant(double_cv(k), True) for k in (2, 3)},
    **{
        f"rodeo-{k}": Contestant(rodeo(k), True, BITS, lr=3e-3, steps=600, slow=True)
        for k in (2, 3)
    },
    "rebar": Contestant(rebar(coupled=False), True),
    "rebar-coupled": Contestant(rebar(coupled=True), True),
    "relax": Contestant(rebar(coupled=False, residual=True), True, lr=3e-3, steps=300),
    "relax_context": Contestant(rebar(False, True, True), True, lr=3e-3, steps=300, vae=True),
    "relax_averaged": Contestant(
        rebar(False, True, True), True, lr=3e-3, steps=300, average=4, vae=True
    ),
    "several_z-2": Contestant(several_z(2), True, BITS),
    "pairs_relax-2": Contestant(rao_relax(2, linear=False), True, BITS),
    **{f"rao_relax-{k}": Contestant(rao_relax(k), True, BITS) for k in (1, 2, 3)},
    **{
        f"rao_relax_lambda-{k}": Contestant(rao_relax(k, learn_lambda=True), True, BITS)
        for k in (1, 2, 3)
    },
    "rao_relax_context-1": Contestant(
        rao_relax(1, context=True), True, BITS, lr=3e-3, steps=300, vae=True
    ),
    "unordered_set-2": Contestant(plain(rx.unordered_set), True, (rx.Categorical,)),
    "local_expectation": Contestant(plain(rx.local_expectation), True, slow=True),
    "concrete": Contestant(plain(rx.concrete), False),
    "concrete_direct": Contestant(concrete_direct, False, BITS, vae=True),
    "straight_through": Contestant(plain(rx.straight_through), False),
    "st_gumbel": Contestant(plain(rx.st_gumbel), False),
    "rao_gumbel": Contestant(plain(rx.rao_gumbel), False),
    "reinmax": Contestant(plain(rx.reinmax), False),
}


def contestants(problem: Any) -> dict[str, Contestant]:
    """Those that have a meaning on this problem."""
    return {
        name: contestant
        for name, contestant in CONTESTANTS.items()
        if isinstance(problem.dist, contestant.distributions)
        and (hasattr(problem, "context") or not contestant.vae)
    }

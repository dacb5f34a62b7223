"""What the estimators are worth on one problem: bias, variance, evaluations of f and time.

A problem has `dist` (rows of logits), `f(b)`, `relaxed(h, lambda_)` (a smooth relaxation of f, f
itself where `smooth`) and `redraw()` (the noise inside f, where there is any). A contestant makes
its estimator and phi on a bench; phi is fitted to the variance first, on a stream of other problems
of the same kind. Everything is measured at fixed parameters, per row:

    variance = sum over coordinates of the variance of one estimate, mean over rows
    bias^2   = sum over coordinates of (mean - reference)^2, both means' noise subtracted
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import relax as rx

Estimator = Callable[..., rx.Estimate]
Made = tuple[Estimator, list[Tensor]]  # and its phi


@dataclass
class Toy:
    """A problem with an exact gradient: one row of logits and f in closed form."""

    dist: Any
    f: Callable[[Tensor], Tensor]
    smooth = True

    def relaxed(self, h: Tensor, lambda_: Tensor | float = 0.1) -> Tensor:
        return self.f(h)

    def redraw(self) -> None:
        pass


def bernoulli_toy(t: float = 0.499) -> Toy:
    """The paper's toy, (b - t)^2, at an even start."""
    return Toy(rx.Bernoulli(torch.zeros(1, 1)), lambda b: (b - t).square().squeeze(-1))


def categorical_toy(t: float = 0.499) -> Toy:
    """Four classes worth 0, 1/3, 2/3 and 1: (value - t)^2."""
    values = torch.linspace(0, 1, 4)
    logits = torch.tensor([[0.4, -0.3, 0.1, -0.6]])
    return Toy(rx.Categorical(logits), lambda b: (b @ values - t).square())


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


def exact(problem: Any) -> Tensor | None:
    """The exact gradient of a toy."""
    return rx.exact_gradient(problem.f, problem.dist) if isinstance(problem, Toy) else None


# ---- the contestants ----


def plain(function: Estimator, **own: Any) -> Callable[[Bench], Made]:
    """An estimator without phi."""
    return lambda bench: (partial(function, **own), [])


def with_baseline(function: Estimator) -> Callable[[Bench], Made]:
    """NVIL and MuProp: a network of the logits stands for one of the image."""

    def make(bench: Bench) -> Made:
        baseline = rx.surrogates.mlp(bench.dist.theta.shape[-1], hidden=100)

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
    r = rx.surrogates.mlp(features, hidden=100, zero_scale=True, **own)

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

        def estimate(f: Callable, dist: Any, noise: rx.Noise | None = None, **own: Any):
            b = dist.sample(dist.noise(coupled=True, **own))
            v, p = dist.noise(draws, coupled=True, **own).u, torch.sigmoid(dist.theta)
            u = torch.where(b > 0, 1 - p + p * v, (1 - p) * v).clamp(1e-7, 1 - 1e-7)
            f_b = f(b)

            def c(z: Tensor) -> Tensor:
                relaxed = dist.relaxed(z, scales.lambda_)
                return scales.eta * bench.relaxed(relaxed, scales.lambda_)

            return rx.relax(
                lambda b: f_b.expand(draws, *f_b.shape),
                dist,
                c=c,
                noise=rx.Noise(u),
                b=b.expand_as(u),
                coupled=True,
            )

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


@dataclass(frozen=True)
class Contestant:
    """An estimator at one setting.

    lr, steps, average: of fitting phi, on the mean of so many draws of b.
    context: needs a problem with something for a surrogate to see beside z.
    """

    make: Callable[[Bench], Made]
    unbiased: bool
    distributions: tuple = (rx.Bernoulli, rx.Categorical)
    lr: float = 0.02
    steps: int = 150
    average: int = 1
    context: bool = False
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
    "relax_context": Contestant(rebar(False, True, True), True, lr=3e-3, steps=300, context=True),
    "relax_averaged": Contestant(
        rebar(False, True, True), True, lr=3e-3, steps=300, average=4, context=True
    ),
    "several_z-2": Contestant(several_z(2), True, BITS),
    "pairs_relax-2": Contestant(rao_relax(2, linear=False), True, BITS),
    **{f"rao_relax-{k}": Contestant(rao_relax(k), True, BITS) for k in (1, 2, 3)},
    **{
        f"rao_relax_lambda-{k}": Contestant(rao_relax(k, learn_lambda=True), True, BITS)
        for k in (1, 2, 3)
    },
    "rao_relax_context-1": Contestant(
        rao_relax(1, context=True), True, BITS, lr=3e-3, steps=300, context=True
    ),
    "unordered_set-2": Contestant(plain(rx.unordered_set), True, (rx.Categorical,)),
    "local_expectation": Contestant(plain(rx.local_expectation), True, slow=True),
    "concrete": Contestant(plain(rx.concrete), False),
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
        and (hasattr(problem, "context") or not contestant.context)
    }


# ---- measuring ----


@dataclass
class Measured:
    """One estimator on one problem; see the head of this file."""

    variance: float
    evaluations: float  # of f per estimate, relaxed ones included
    milliseconds: float  # of this process's CPU time per estimate of all rows
    mean: Tensor = field(repr=False)
    variance_of_mean: Tensor = field(repr=False)  # per coordinate
    draws: int = 0
    bias2: float = 0.0
    bias2_error: float = 0.0


def fit(
    bench: Bench,
    made: Made,
    contestant: Contestant,
    stream: Callable[[], Any],
    generator: torch.Generator,
) -> None:
    """Fit phi to the estimator's own objective (mostly its variance) on a stream of problems."""
    estimator, phi = made
    if not phi:
        return
    measured = bench.problem
    own = {"samples": contestant.average} if contestant.average > 1 else {}
    steps = 10 * contestant.steps if isinstance(measured, Toy) else contestant.steps
    optimiser = torch.optim.Adam(phi, contestant.lr, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, steps)
    for _ in range(steps):
        bench.problem = stream()
        objective = rx.variance_objective(estimator(bench, bench.dist, generator=generator, **own))
        for p, grad in zip(phi, torch.autograd.grad(objective, phi), strict=True):
            p.grad = grad
        optimiser.step()
        schedule.step()
    bench.problem, bench.rows = measured, 0


def measure(
    bench: Bench, made: Made, draws: int, generator: torch.Generator, copies: int = 1
) -> Measured:
    """Over `draws` estimates of every row, `copies` of them at once."""
    estimator, _ = made
    shape = bench.dist.theta.shape
    total, squares, seconds = torch.zeros(shape), torch.zeros(shape), []
    for _ in range(draws // copies):
        bench.problem.redraw()
        dist = bench.dist.expand(copies) if copies > 1 else bench.dist
        start = time.process_time()
        grad = estimator(bench, dist, generator=generator).grad.detach()
        seconds.append(time.process_time() - start)
        grad = grad.double().reshape(copies, *shape)
        total, squares = total + grad.sum(0), squares + grad.square().sum(0)
    n = len(seconds) * copies
    mean = total / n
    variance = (squares - n * mean.square()) / (n - 1)
    return Measured(
        variance=float(variance.sum(-1).mean()),
        evaluations=bench.rows / (n * len(mean)),
        milliseconds=1e3 * sorted(seconds)[len(seconds) // 2] / copies,
        mean=mean,
        variance_of_mean=variance / n,
        draws=n,
    )


def add_bias(found: Measured, reference: Tensor, variance_of_reference: Tensor | float) -> None:
    """bias^2 against a reference gradient, mean over rows with its standard error."""
    noise = found.variance_of_mean + variance_of_reference
    per_row = ((found.mean - reference).square() - noise).sum(-1)
    found.bias2 = float(per_row.mean())
    spread = per_row.std() if len(per_row) > 1 else (2 * noise.square().sum()).sqrt()
    found.bias2_error = float(spread / len(per_row) ** 0.5)

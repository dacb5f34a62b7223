"""What the estimators are worth on one problem: bias, variance, evaluations of f and time.

A problem has `dist` (rows of logits), `f(b)`, `relaxed(h, lambda_)` (a smooth relaxation of f, f
itself where `smooth`) and `redraw()` (the noise inside f, where there is any). A contestant makes
its estimator and phi on a bench, see contestants.py; phi is fitted to the variance first, on a
stream of other problems of the same kind. Everything is measured at fixed parameters, per row:

    variance = sum over coordinates of the variance of one estimate, mean over rows
    bias^2   = sum over coordinates of (mean - reference)^2, both means' noise subtracted
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import relax as rx
from experiments.compare.contestants import Bench, Contestant, Made


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


def exact(problem: Any) -> Tensor | None:
    """The exact gradient of a toy."""
    return rx.exact_gradient(problem.f, problem.dist) if isinstance(problem, Toy) else None


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

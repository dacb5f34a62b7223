"""Bias, variance, evaluations of f and time of estimators on one problem.

phi is fitted to the variance first, on a stream of other problems of the same kind. Everything is
measured at fixed parameters, per row:

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
from experiments.compare.problems import Toy
from experiments.compare.settings import Bench, Built, Setting


class Moments:
    """The mean and the variance of tensors of one shape over draws, in double precision."""

    def __init__(self) -> None:
        self.count, self.total, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, draws: Tensor) -> None:
        """Add draws [N, ...]."""
        draws = draws.detach().double()
        self.count += len(draws)
        self.total, self.squares = self.total + draws.sum(0), self.squares + draws.square().sum(0)

    @property
    def mean(self) -> Tensor:
        return self.total / self.count

    @property
    def variance(self) -> Tensor:
        return (self.squares - self.count * self.mean.square()) / (self.count - 1)


@dataclass
class Measured:
    """One estimator on one problem; for the definitions see the head of this file."""

    variance: float
    evaluations: float  # of f per estimate, relaxed ones included
    milliseconds: float  # of this process's CPU time per estimate of all rows
    mean: Tensor = field(repr=False)
    variance_of_mean: Tensor = field(repr=False)  # per coordinate
    draws: int = 0
    bias2: float = 0.0
    bias2_error: float = 0.0
    weights: float = 0.0  # variance of the batch's gradient in the given weights, summed


def fit(
    bench: Bench,
    built: Built,
    setting: Setting,
    stream: Callable[[], Any],
    generator: torch.Generator,
) -> None:
    """Fit phi to the estimator's own objective (mostly its variance) on a stream of problems."""
    estimator, phi = built
    if not phi:
        return
    measured = bench.problem
    own = {"samples": setting.average} if setting.average > 1 else {}
    steps = 10 * setting.steps if isinstance(measured, Toy) else setting.steps
    optimiser = torch.optim.Adam(phi, setting.lr, betas=(0.9, 0.99))
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
    bench: Bench,
    built: Built,
    draws: int,
    generator: torch.Generator,
    copies: int = 1,
    weights: list[Tensor] | None = None,
) -> Measured:
    """Over `draws` estimates of every row, `copies` of them at once.

    weights: parameters behind the problem's logits whose gradient is measured as well.
    """
    estimator, _ = built
    shape, logits, batch, seconds = bench.dist.theta.shape, Moments(), Moments(), []
    for _ in range(draws // copies):
        bench.problem.redraw()
        dist = bench.dist.expand(copies) if copies > 1 else bench.dist
        start = time.process_time()
        est = estimator(bench, dist, generator=generator)
        seconds.append(time.process_time() - start)
        logits.add(est.grad.reshape(copies, *shape))
        if weights:
            batch.add(torch.cat([g.flatten() for g in rx.gradients(est, weights)])[None])
    return Measured(
        variance=float(logits.variance.sum(-1).mean()),
        evaluations=bench.rows / (logits.count * len(logits.mean)),
        milliseconds=1e3 * sorted(seconds)[len(seconds) // 2] / copies,
        mean=logits.mean,
        variance_of_mean=logits.variance / logits.count,
        draws=logits.count,
        weights=float(batch.variance.sum()) if weights else 0.0,
    )


def add_bias(found: Measured, reference: Tensor, variance_of_reference: Tensor | float) -> None:
    """Set bias^2 against a reference gradient, mean over rows with its standard error."""
    noise = found.variance_of_mean + variance_of_reference
    per_row = ((found.mean - reference).square() - noise).sum(-1)
    found.bias2 = float(per_row.mean())
    spread = per_row.std() if len(per_row) > 1 else (2 * noise.square().sum()).sqrt()
    found.bias2_error = float(spread / len(per_row) ** 0.5)

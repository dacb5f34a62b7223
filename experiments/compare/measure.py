"""Bias, variance, evaluations of f and time of estimators on one problem.

phi is fitted to the variance first, on a stream of other problems of the same kind. Everything is
measured at fixed parameters, per row:

    variance = sum over coordinates of the variance of one estimate, mean over rows
    bias^2   = sum over coordinates of (mean - reference)^2, both means' noise subtracted
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

import relax as rx
from experiments.compare.settings import Bench, Built, Setting


class Measured(NamedTuple):
    """The gradients of one estimator on one problem."""

    grads: Tensor  # [draws, rows, coordinates], in double precision
    evaluations: float  # of f per estimate, relaxed ones included
    milliseconds: float  # of this process's CPU time per estimate of all rows

    @property
    def mean(self) -> Tensor:
        return self.grads.mean(0)

    @property
    def variance(self) -> float:
        return float(self.grads.var(0).sum(-1).mean())

    @property
    def noise(self) -> Tensor:
        """The variance of the mean."""
        return self.grads.var(0) / len(self.grads)


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
    optimiser = torch.optim.Adam(phi, setting.lr, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, setting.steps)
    for _ in range(setting.steps):
        bench.problem = stream()
        objective = rx.variance_objective(estimator(bench, bench.dist, generator=generator))
        for p, grad in zip(phi, torch.autograd.grad(objective, phi), strict=True):
            p.grad = grad
        optimiser.step()
        schedule.step()
    bench.problem = measured


def measure(
    bench: Bench, estimator: Callable, draws: int, generator: torch.Generator, copies: int = 1
) -> Measured:
    """`draws` estimates of every row, `copies` of them at once."""
    found, seconds, rows = [], [], bench.dist.batch_shape.numel()
    bench.rows = 0
    for _ in range(draws // copies):
        bench.problem.redraw()
        dist = bench.dist.expand(copies) if copies > 1 else bench.dist
        start = time.process_time()
        grad = estimator(bench, dist, generator=generator).grad.detach()
        seconds.append(time.process_time() - start)
        found.append(grad.double().reshape(copies, rows, -1))
    grads, median = torch.cat(found), sorted(seconds)[len(seconds) // 2]
    return Measured(grads, bench.rows / (len(grads) * rows), 1e3 * median / copies)


def squared_bias(found: Measured, reference: Tensor, noise: Tensor | float) -> tuple[float, float]:
    """bias^2 against a reference gradient [rows, coordinates] and its standard error.

    noise: the variance of the reference.
    """
    noise = found.noise + noise
    per_row = ((found.mean - reference).square() - noise).sum(-1)
    spread = per_row.std() if len(per_row) > 1 else (2 * noise.square().sum()).sqrt()
    return float(per_row.mean()), float(spread / len(per_row) ** 0.5)

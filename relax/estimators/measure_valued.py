"""Measure-valued derivatives: the derivative of the density as a difference of two densities."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from relax.distributions import Draw
from relax.estimate import estimator, weigh
from relax.function import Function


@estimator(
    unbiased=True,
    evaluations=0,
    differentiable=False,
    needs=("mean_and_std",),
    draws="three normals",
)
def measure_valued(f: Function, draw: Draw) -> Tensor:
    """Measure-valued derivatives.

        g_mean    = [f(mean + std W) - f(mean - std W)] / (std sqrt(2 pi)),   W Rayleigh
        g_log_std = f(mean + std M) - f(mean + std u),                        M double-sided Maxwell

    one coordinate at a time, the others at u. Unbiased, f any Python. 3 D + 1 evaluations of f. W
    and M share their noise: with two more normals n, W = |n| and M = sign(u) |(u, n)|, which
    couples M to u.

    Args:
        f: b [(K,) *batch, *event] -> [(K,) *batch], any Python.
        dist: a Normal, or a Draw by `rx.measure_valued.draw`.
        samples: K. generator: of the samples.

    Source: Heidergott, Vazquez-Abad and Volk-Makarewicz (2008); Rosca et al. (2019).
    """
    f_b, (u, n) = f(draw.b), draw.noise
    assert n is not None
    mean, std = (x.detach() for x in draw.dist.mean_and_std())
    w = n.square().sum(0).sqrt()
    m = torch.copysign((u.square() + w.square()).sqrt(), u)
    f_plus, f_minus, f_m = (f.coordinatewise(mean + std * x) for x in (w, -w, m))
    g_mean = (f_plus - f_minus) / (std * math.sqrt(2 * math.pi))
    g_log_std = f_m - weigh(f_b, torch.ones_like(f_m))
    return torch.stack([g_mean, g_log_std], dim=-1)

"""Measure-valued derivatives: the derivative of the density as a difference of two densities.

    g_mean    = [f(mean + std W) - f(mean - std W)] / (std sqrt(2 pi)),   W Rayleigh
    g_log_std = f(mean + std M) - f(mean + std u),                        M double-sided Maxwell

one coordinate at a time, the others at u. Unbiased, f any Python. 3 D + 1 evaluations of f. W and M
share their noise: with two more normals n, W = |n| and M = sign(u) |(u, n)|, which couples M to u.
Source: Heidergott, Vazquez-Abad and Volk-Makarewicz (2008); Rosca et al. (2019).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from relax.distributions import Distribution, Noise, Normal, RandomSource
from relax.estimators.coordinatewise import coordinatewise
from relax.estimators.estimate import (
    Estimate,
    Function,
    evaluate,
    make_draw,
    make_estimate,
    normal,
    weigh,
)


def measure_valued(
    f: Function,
    dist: Normal,
    *,
    samples: int = 1,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """Measure-valued derivatives; f: b [(K,) *batch, *event] -> [(K,) *batch].

    noise: u standard normal like b, and v [2, (K,) *shape of b] for W and M.
    """
    dist = normal("measure_valued", dist)
    noise = three_normals(dist, samples, generator, False) if noise is None else noise
    if noise.v is None or noise.v.shape != (2, *noise.u.shape):
        raise ValueError("measure_valued: noise.v must hold two normals for each of noise.u")
    draw = make_draw("measure_valued", dist, samples, noise, None, b)
    f_b = evaluate("measure_valued", f, draw.b, draw)
    mean, log_std = dist.theta.detach().unbind(-1)
    std = log_std.exp()
    w = noise.v.square().sum(0).sqrt()
    m = torch.copysign((noise.u.square() + w.square()).sqrt(), noise.u)
    f_plus, f_minus, f_m = (
        coordinatewise("measure_valued", f, draw, mean + std * x, f_b.ndim) for x in (w, -w, m)
    )
    g_mean = (f_plus - f_minus) / (std * math.sqrt(2 * math.pi))
    g_log_std = f_m - weigh(f_b.detach(), torch.ones_like(f_m))
    return make_estimate(dist, draw, torch.stack([g_mean, g_log_std], dim=-1), f_b)


def three_normals(
    dist: Distribution, samples: int, generator: RandomSource, coupled: bool
) -> Noise:
    """u, and the two normals behind W and M."""
    u = dist.noise(samples, generator).u
    return Noise(u, dist.noise(2 * samples, generator).u.reshape(2, *u.shape))

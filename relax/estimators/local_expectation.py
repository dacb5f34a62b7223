"""Local expectation gradients: every coordinate summed out in turn, exactly, given the others.

    g_d = sum_v f(b with b_d = v) dp(b_d = v|theta)/dtheta_d

Unbiased; for a single coordinate it is the exact gradient. One evaluation of f at b and one for
every other value of every coordinate: D + 1 for D bits. An f that samples later layers must do so
again, from the same noise, for every value. Source: Titsias and Lazaro-Gredilla (2015).
"""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions import Bernoulli, Discrete, Noise, RandomSource
from relax.estimators.coordinatewise import coordinatewise
from relax.estimators.estimate import (
    Estimate,
    Function,
    discrete,
    evaluate,
    make_draw,
    make_estimate,
    weigh,
)


def local_expectation(
    f: Function,
    dist: Discrete,
    *,
    samples: int = 1,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """Local expectation gradients; f: b [(K,) *batch, *event] -> [(K,) *batch], any Python.

    f may offer `f.flips(b)`: its values with each bit flipped in turn, like b, for where they cost
    less than D evaluations (a linear first layer moves by one row of weights).
    """
    dist = discrete("local_expectation", dist)
    draw = make_draw("local_expectation", dist, samples, noise, generator, b, coupled=True)
    f_b = evaluate("local_expectation", f, draw.b, draw)
    grad = torch.zeros_like(draw.b)
    for other in other_values(dist, draw.b):
        if hasattr(f, "flips"):
            f_other = f.flips(draw.b)
        else:
            f_other = coordinatewise("local_expectation", f, draw, other, f_b.ndim)
        change = f_other - weigh(f_b.detach(), torch.ones_like(draw.b))
        # a bit's mean moves by b' - b; a class's own by 1, and f(b) cancels in the normalisation
        direction = other - draw.b if isinstance(dist, Bernoulli) else other
        grad = grad + dist.pull_mean(change * direction)  # [f(b_d = v) - f(b)] dp(b_d = v)/dtheta
    return make_estimate(dist, draw, grad.detach(), f_b)


def other_values(dist: Discrete, b: Tensor) -> list[Tensor]:
    """Every value that b does not have, all coordinates at once."""
    if isinstance(dist, Bernoulli):
        return [1 - b]
    return [torch.roll(b, shift, -1) for shift in range(1, b.shape[-1])]

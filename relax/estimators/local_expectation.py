"""Local expectation gradients: every coordinate summed out in turn, exactly, given the others."""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions import Draw
from relax.estimate import estimator, weigh
from relax.function import Function


@estimator(unbiased=True, evaluations=0, differentiable=False, needs=("mean", "alternatives"))
def local_expectation(f: Function, draw: Draw) -> Tensor:
    """Local expectation gradients.

        g_d = sum_v f(b with b_d = v) dp(b_d = v|theta)/dtheta_d

    Unbiased; for a single coordinate it is the exact gradient. One evaluation of f at b and one for
    every other value of every coordinate: D + 1 for D bits. An f that samples later layers must do
    so again, from the same noise, for every value.

    Args:
        f: b [(K,) *batch, *event] -> [(K,) *batch], any Python. It may offer `f.flips(b)`: its
            values with each bit flipped in turn, like b, where that costs less than D evaluations
            (a linear first layer moves by one row of weights).
        dist: a distribution with `alternatives` and `mean`, or a Draw.
        samples: K. generator: of the samples.

    Source: Titsias and Lazaro-Gredilla (2015).
    """
    f_b, b = f(draw.b), draw.b
    flips = f.flips()
    grad = torch.zeros_like(b)
    for other, direction in draw.dist.alternatives(b):
        f_other = f.coordinatewise(other) if flips is None else flips
        change = f_other - weigh(f_b, torch.ones_like(b))
        # [f(b_d = v) - f(b)] dp(b_d = v|theta)/dtheta
        grad = grad + draw.dist.vjp_mean(change * direction)
    return grad.detach()

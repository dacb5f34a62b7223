"""DisARM, or U2G: ARM averaged over everything but the antithetic pair (b, b') itself.

    g = 1/2 [f(b) - f(b')] (-1)^b' [b != b'] sigmoid(|theta|)  =  E[ARM | b, b']

Unbiased, and never noisier than ARM. Two evaluations of f per pair; the mean over pairs is taken.
Source: Dong, Mnih and Tucker, "DisARM" (2020); Yin et al. (2020) call it U2G.
"""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions import Bernoulli, Noise, RandomSource
from relax.estimators.arm import antithetic
from relax.estimators.estimate import (
    Estimate,
    Function,
    bernoulli,
    evaluate,
    make_estimate,
    weigh,
)


def disarm(
    f: Function,
    dist: Bernoulli,
    *,
    samples: int = 2,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """DisARM; f: b [K, *batch, *event] -> [K, *batch], any Python. samples: K = 2 per pair.

    noise: u [(pairs,) *shape of b]; b holds the pairs' first members, then their second.
    """
    dist = bernoulli("disarm", dist)
    draw = antithetic("disarm", dist, samples, noise, generator, b)
    f_b = evaluate("disarm", f, draw.b, draw)
    f_1, f_2 = f_b.detach().chunk(2)
    b_1, b_2 = draw.b.chunk(2)
    # (-1)^b' [b != b'] is b - b'
    grad = weigh((f_1 - f_2) / 2, (b_1 - b_2) * torch.sigmoid(dist.theta.detach().abs()))
    return make_estimate(dist, draw, grad, f_b)

"""Double control variates: leave-one-out of f plus its linearisation at the other samples.

    g = mean_k [f_k + C_k - mean_{j != k} (f_j + C_j)] d/dtheta log p(b_k|theta)
        - alpha mean_k(G_k) dE[b]/dtheta

    C_k = alpha Gbar_k (b_k - E[b]),  Gbar_k = mean_{j != k} G_j,  G_j = df/db at b_j

Unbiased for every alpha: C_k's own gradient is known and subtracted, and C_j has mean zero given
the other samples. K evaluations of f and of its derivative. alpha = phi.
Source: Titsias and Shi, "Double control variates for gradient estimation" (2022).
"""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Discrete, Noise, RandomSource
from relax.estimators.estimate import (
    Estimate,
    Function,
    discrete,
    make_draw,
    make_estimate,
    several,
    weigh,
)
from relax.estimators.rloo import leave_one_out
from relax.estimators.slope import slope
from relax.surrogates import lift


def double_cv(
    f: Function,
    dist: Discrete,
    *,
    alpha: Tensor | float = -0.5,
    samples: int = 2,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """Double control variates; f: b [K, *batch, *event] -> [K, *batch], differentiable at b.

    alpha: a number or a tensor [*replicas], learned through `relax.backward(est, phi=[alpha])`;
        0 is leave-one-out REINFORCE, -1 takes all of the linear part of f away.
    """
    dist = discrete("double_cv", dist)
    draw = make_draw("double_cv", dist, samples, noise, generator, b, coupled=True)
    f_b, df = slope("double_cv", f, draw.b, draw)
    k = several("double_cv", draw)
    centred = draw.b - dist.mean().detach()
    linear = (leave_one_out(df, k) * centred).flatten(f_b.ndim).sum(-1)  # Gbar_k (b_k - E[b])
    signal = f_b.detach() + lift(alpha, linear, 1) * linear  # f_k + C_k
    grad = (
        weigh(signal - leave_one_out(signal, k), dist.score(draw.b))
        - dist.pull_mean(df) * lift(alpha, df, 1)  # - alpha mean_k(G_k) dE[b]/dtheta
    )
    return make_estimate(dist, draw, grad, f_b)

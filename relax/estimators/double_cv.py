"""Double control variates: leave-one-out of f plus its linearisation at the other samples."""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Draw
from relax.estimate import estimator, weigh
from relax.estimators.rloo import leave_one_out
from relax.function import Function
from relax.surrogates import lift


@estimator(
    unbiased=True,
    evaluations=2,
    differentiable=True,
    needs=("mean",),
    samples=2,
    draws="several independent",
)
def double_cv(f: Function, draw: Draw, *, alpha: Tensor | float = -0.5) -> Tensor:
    """Double control variates.

        g = mean_k [f_k + C_k - mean_{j != k} (f_j + C_j)] d/dtheta log p(b_k|theta)
            - alpha mean_k(G_k) dE[b]/dtheta

        C_k = alpha Gbar_k (b_k - E[b]),  Gbar_k = mean_{j != k} G_j,  G_j = df/db at b_j

    Unbiased for every alpha: C_k's own gradient is known and subtracted, and C_j has mean zero
    given the other samples. K evaluations of f and of its derivative.

    Args:
        f: b [K, *batch, *event] -> [K, *batch], differentiable at b.
        dist: a distribution with `mean`, or a Draw of several independent samples.
        alpha: phi, a number or a tensor [*replicas], learned through
            `rx.backward(est, phi=alpha)`; 0 is leave-one-out REINFORCE, -1 takes all of the linear
            part of f away.
        samples: K, at least 2. generator: of the samples.

    Source: Titsias and Shi, "Double control variates for gradient estimation" (2022).
    """
    (f_b, df), dist = f.value_and_grad(draw.b), draw.dist
    centred = draw.b - dist.mean().detach()
    linear = (leave_one_out(df) * centred).flatten(f_b.ndim).sum(-1)  # Gbar_k (b_k - E[b])
    signal = f_b + lift(alpha, linear, 1) * linear  # f_k + C_k
    return (
        weigh(signal - leave_one_out(signal), draw.score)
        - dist.vjp_mean(df) * lift(alpha, df, 1)  # - alpha mean_k(G_k) dE[b]/dtheta
    )

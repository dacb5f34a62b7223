"""ARMS: K mutually antithetic samples from a Dirichlet copula, with leave-one-out among them."""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions import Draw
from relax.estimate import estimator, weigh
from relax.estimators.rloo import leave_one_out
from relax.function import Function


@estimator(
    unbiased=True, evaluations=3, differentiable=False, needs=("bits",), samples=3, draws="copula"
)
def arms(f: Function, draw: Draw) -> Tensor:
    """ARMS.

        g = K/(K-1) mean_k [f(b_k) - mean f] (b_k - p) * p (1 - p) / (p - P(b_j = b_k = 1))

    Unbiased: the last factor undoes what the correlation of the samples does to leave-one-out.
    K = 2 is DisARM. K evaluations of f.

    Args:
        f: b [K, *batch, *event] -> [K, *batch], any Python; or the value f(b).
        dist: a Bernoulli, or a Draw by `rx.arms.draw` (`relax.sampling.dirichlet_copula`).
        samples: K, at least 2. generator: of the samples.

    Source: Dimitriev and Zhou, "ARMS" (2021).
    """
    f_b = f(draw.b)
    return (
        weigh(f_b - leave_one_out(f_b), draw.score)  # K/(K-1) [f(b_k) - mean f] (b_k - p)
        * debias(draw.dist.theta.detach(), draw.samples)  # p (1 - p) / (p - P(b_j = b_k = 1))
    )


def debias(theta: Tensor, samples: int) -> Tensor:
    """p (1 - p) / (p - joint), the same for p and 1 - p, so written for the rarer outcome r."""
    r, n = torch.sigmoid(-theta.abs()), samples - 1
    joint_over_r = (2 - r ** (-1 / n)).clamp(min=0) ** n
    return (1 - r) / (1 - joint_over_r)

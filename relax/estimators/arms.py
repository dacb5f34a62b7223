"""ARMS: K mutually antithetic samples from a Dirichlet copula, with leave-one-out among them.

    g = K/(K-1) mean_k [f(b_k) - mean f] (b_k - p) * p (1 - p) / (p - P(b_j = b_k = 1))

    e_k = -log u_k,  c_k = (1 - e_k / sum e)^(K-1),  b_k = [c_k < p], or [1 - c_k < p] for p > 1/2

Unbiased: the last factor undoes what the correlation of the samples does to leave-one-out. K = 2 is
DisARM. K evaluations of f. Source: Dimitriev and Zhou, "ARMS" (2021).
"""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions import Bernoulli, Noise, RandomSource
from relax.estimators.estimate import (
    Estimate,
    Function,
    bernoulli,
    evaluate,
    make_draw,
    make_estimate,
    several,
    weigh,
)
from relax.estimators.rloo import leave_one_out


def arms(
    f: Function,
    dist: Bernoulli,
    *,
    samples: int = 3,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """ARMS; f: b [K, *batch, *event] -> [K, *batch], any Python. samples: K, at least 2."""
    dist = bernoulli("arms", dist)
    u = (dist.noise(samples, generator, coupled=True) if noise is None else noise).u
    draw = make_draw("arms", dist, samples, Noise(copula(u, dist.theta.detach())), None, b, True)
    f_b = evaluate("arms", f, draw.b, draw)
    k = several("arms", draw)
    others = leave_one_out(f_b.detach(), k)
    grad = (
        weigh(f_b.detach() - others, dist.score(draw.b))  # K/(K-1) [f(b_k) - mean f] (b_k - p)
        * debias(dist.theta.detach(), k)  # p (1 - p) / (p - P(b_j = b_k = 1))
    )
    return make_estimate(dist, draw, grad, f_b)


def copula(u: Tensor, theta: Tensor) -> Tensor:
    """Negatively dependent uniforms, [K, *shape], from independent ones."""
    e, eps = -torch.log(u), torch.finfo(u.dtype).eps
    apart = 1 - torch.eye(len(e), dtype=e.dtype, device=e.device)
    others = torch.tensordot(apart, e, dims=1)  # the sum less e_k would cancel
    c = (others / e.sum(0)) ** (len(e) - 1)
    return torch.where(theta < 0, 1 - c, c).clamp(eps / 4, 1 - eps / 2)  # b = [u > 1 - p]


def debias(theta: Tensor, samples: int) -> Tensor:
    """p (1 - p) / (p - joint), the same for p and 1 - p, so written for the rarer outcome r."""
    r, n = torch.sigmoid(-theta.abs()), samples - 1
    joint_over_r = (2 - r ** (-1 / n)).clamp(min=0) ** n
    return (1 - r) / (1 - joint_over_r)

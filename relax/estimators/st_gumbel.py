"""Straight-through Gumbel-softmax: f's derivative at the hard b, passed on through the relaxed one.

    g = df/db dsigma_lambda(z)/dtheta,  b = H(z)

Biased. One evaluation of f, differentiable at b.
Source: Jang, Gu and Poole, "Categorical reparameterization with Gumbel-softmax" (2017).
"""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions import Discrete, Noise, RandomSource
from relax.estimators.estimate import Estimate, Function, discrete, make_draw, make_estimate
from relax.estimators.slope import slope
from relax.surrogates import lift


def st_gumbel(
    f: Function,
    dist: Discrete,
    *,
    lambda_: Tensor | float = 0.5,
    samples: int = 1,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """The straight-through Gumbel-softmax gradient at temperature lambda, a number or [*replicas].

    f: b [(K,) *batch, *event] -> [(K,) *batch].
    """
    dist = discrete("st_gumbel", dist)
    draw = make_draw("st_gumbel", dist, samples, noise, generator, b, coupled=True)
    f_b, df = slope("st_gumbel", f, draw.b, draw)
    z = draw.z.detach()
    through = pull_relaxed(dist, df, z, lift(lambda_, z, draw.sampled))
    grad = dist.pull_z(through, z)  # df/db dsigma_lambda(z)/dtheta
    return make_estimate(dist, draw, grad, f_b)


def pull_relaxed(dist: Discrete, df: Tensor, z: Tensor, lambda_: Tensor | float) -> Tensor:
    """df dsigma_lambda(z)/dz, a constant."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        return torch.autograd.grad(dist.relaxed(z, lambda_), z, df)[0]

"""Straight-through Gumbel-softmax: f's derivative at b, carried through the relaxed b."""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions import Distribution, Draw
from relax.estimate import estimator
from relax.function import Function
from relax.surrogates import lift, positive


@estimator(unbiased=False, evaluations=1, differentiable=True, needs=("relaxed",))
def st_gumbel(f: Function, draw: Draw, *, lambda_: Tensor | float = 0.5) -> Tensor:
    """The straight-through Gumbel-softmax gradient.

        g = df/db dsigma_lambda(z)/dtheta,  b = H(z)

    Biased. One evaluation of f, differentiable at b.

    Args:
        f: b [(K,) *batch, *event] -> [(K,) *batch], differentiable.
        dist: a distribution with `relaxed`, or a Draw.
        lambda_: the temperature, a number or a tensor [*replicas].
        samples: K. generator: of the samples.

    Source: Jang, Gu and Poole, "Categorical reparameterization with Gumbel-softmax" (2017).
    """
    z = draw.z.detach()
    _, df = f.value_and_grad(draw.b)
    lambda_ = lift(positive(lambda_, draw.dist), z, draw.sampled)
    return draw.vjp_z(vjp_relaxed(draw.dist, df, z, lambda_))  # df/db dsigma_lambda(z)/dtheta


def vjp_relaxed(dist: Distribution, df: Tensor, z: Tensor, lambda_: Tensor | float) -> Tensor:
    """df dsigma_lambda(z)/dz, a constant."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        return torch.autograd.grad(dist.relaxed(z, lambda_), z, df)[0]

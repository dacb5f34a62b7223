"""ReinMax: straight-through made exact to second order by Heun's method."""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Draw
from relax.estimate import estimator
from relax.function import Function


@estimator(unbiased=False, evaluations=1, differentiable=True, needs=("mean", "vjp_mean"))
def reinmax(f: Function, draw: Draw) -> Tensor:
    """ReinMax.

        g = df/db [2 J((p + b) / 2) - 1/2 J(p)],  p = E[b],  J(p) = dE[b]/dtheta where the mean is p

    Biased, except for an f that is at most quadratic in every coordinate. One evaluation of f,
    differentiable at b.

    Args:
        f: b [(K,) *batch, *event] -> [(K,) *batch], differentiable.
        dist: a distribution with `mean` and a closed-form `vjp_mean`, or a Draw.
        samples: K. generator: of the samples.

    Source: Liu et al., "Bridging discrete and backpropagation" (2023).
    """
    return from_derivative(f.value_and_grad(draw.b)[1], draw)


def from_derivative(df: Tensor, draw: Draw) -> Tensor:
    """ReinMax from df/db, [(K,) *shape of theta]."""
    halfway = (draw.dist.mean().detach() + draw.b) / 2
    return (
        2 * draw.dist.vjp_mean(df, halfway)  # 2 df/db J((p + b) / 2)
        - draw.dist.vjp_mean(df) / 2  # - 1/2 df/db J(p)
    )

"""Straight-through: the derivative of f at the hard b, used as if b were its mean."""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Draw
from relax.estimate import estimator
from relax.function import Function


@estimator(unbiased=False, evaluations=1, differentiable=True, needs=("mean",))
def straight_through(f: Function, draw: Draw) -> Tensor:
    """The straight-through gradient.

        g = df/db dE[b]/dtheta

    Biased unless f is linear in every coordinate. One evaluation of f, differentiable at b.

    Args:
        f: b [(K,) *batch, *event] -> [(K,) *batch], differentiable.
        dist: a distribution with `mean`, or a Draw.
        samples: K. generator: of the samples.

    Source: Bengio, Leonard and Courville (2013).
    """
    _, df = f.value_and_grad(draw.b)
    return draw.dist.vjp_mean(df)  # df/db dE[b]/dtheta

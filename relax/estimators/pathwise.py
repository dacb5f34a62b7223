"""The pathwise derivative, or reparameterization trick: LAX with c = f."""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Draw
from relax.estimate import estimator
from relax.function import Function


@estimator(unbiased=True, evaluations=1, differentiable=True, needs=("continuous",))
def pathwise(f: Function, draw: Draw) -> Tensor:
    """The pathwise, or reparameterized, gradient.

        g = d/dtheta f(b),  b = T(theta, u)

    Unbiased where f is continuous and differentiable almost everywhere. One evaluation of f.

    Args:
        f: b [(K,) *batch, *event] -> [(K,) *batch], differentiable.
        dist: a continuous distribution, or a Draw.
        samples: K. generator: of the samples.

    Source: Kingma and Welling (2014); Grathwohl et al. (2018), equation 3.
    """
    _, df = f.value_and_grad(draw.b)
    return draw.vjp_z(df)  # d/dtheta f(b)

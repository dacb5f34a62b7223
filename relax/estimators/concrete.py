"""Concrete, or Gumbel-softmax: the pathwise derivative of f at the relaxed sample."""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Draw
from relax.estimate import estimator
from relax.function import Function
from relax.surrogates import lift, positive


@estimator(unbiased=False, evaluations=1, differentiable=True, needs=("relaxed",))
def concrete(f: Function, draw: Draw, *, lambda_: Tensor | float = 0.5) -> Tensor:
    """The Concrete, or Gumbel-softmax, gradient.

        g = d/dtheta f(sigma_lambda(z))

    Biased for the discrete objective at every lambda > 0: it is exact for the relaxed one. One
    evaluation of f, at sigma_lambda(z), where it must be differentiable; the estimate's `value` is
    f there, the objective that f's own weights are trained on.

    Args:
        f: relaxed b [(K,) *batch, *event] -> [(K,) *batch], differentiable.
        dist: a distribution with `relaxed`, or a Draw.
        lambda_: the temperature, a number or a tensor [*replicas].
        samples: K. generator: of the samples.

    Source: Maddison et al. (2017); Jang et al. (2017).
    """
    z, dist = draw.z.detach(), draw.dist
    lambda_ = lift(positive(lambda_, dist), z, draw.sampled)
    _, df = f.value_and_grad(z, through=lambda z: dist.relaxed(z, lambda_))
    return draw.vjp_z(df)  # d/dtheta f(sigma_lambda(z))

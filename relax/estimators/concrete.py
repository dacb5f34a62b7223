"""Concrete, or Gumbel-softmax: the pathwise derivative of f at the relaxed sample.

    g = d/dtheta f(sigma_lambda(z))

Biased for the discrete objective at every lambda > 0: it is exact for the relaxed one. One
evaluation of f, at sigma_lambda(z), where it must be differentiable.
Source: Maddison et al. (2017); Jang et al. (2017).
"""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Discrete, Noise, RandomSource
from relax.estimators.estimate import Estimate, Function, discrete, make_draw, make_estimate
from relax.estimators.slope import slope
from relax.surrogates import lift


def concrete(
    f: Function,
    dist: Discrete,
    *,
    lambda_: Tensor | float = 0.5,
    samples: int = 1,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """The Concrete gradient at temperature lambda, a number or a tensor [*replicas].

    f: relaxed b [(K,) *batch, *event] -> [(K,) *batch]; `value` is f at the relaxed sample, the
        objective that f's own weights are trained on.
    """
    dist = discrete("concrete", dist)
    draw = make_draw("concrete", dist, samples, noise, generator, b, coupled=True)
    z = draw.z.detach()
    lambda_ = lift(lambda_, z, draw.sampled)
    f_z, df = slope("concrete", lambda z: f(dist.relaxed(z, lambda_)), z, draw)
    grad = dist.pull_z(df, z)  # d/dtheta f(sigma_lambda(z))
    return make_estimate(dist, draw, grad, f_z)

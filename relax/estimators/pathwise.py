"""The pathwise derivative, or reparameterization trick: LAX with c = f.

    g = d/dtheta f(z),  z = T(theta, u) ~ p(z|theta)

Unbiased where f is differentiable. One evaluation of f.
Source: Kingma and Welling (2014); Grathwohl et al. (2018), equation 3.
"""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Noise, Normal, RandomSource
from relax.estimators.estimate import Estimate, Function, make_draw, make_estimate, normal
from relax.estimators.slope import slope


def pathwise(
    f: Function,
    dist: Normal,
    *,
    samples: int = 1,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """The reparameterized gradient of f: b [(K,) *batch, *event] -> [(K,) *batch]."""
    dist = normal("pathwise", dist)
    draw = make_draw("pathwise", dist, samples, noise, generator, b)
    f_z, df = slope("pathwise", f, draw.b, draw)
    grad = dist.pull_z(df, draw.b)  # d/dtheta f(z)
    return make_estimate(dist, draw, grad, f_z)

"""ReinMax: straight-through made exact to second order by Heun's method.

    g = df/db [2 J((p + b) / 2) - 1/2 J(p)],   p = E[b],  J(p) = dE[b]/dtheta where the mean is p

Biased, except for an f that is at most quadratic in every coordinate. One evaluation of f,
differentiable at b. Source: Liu et al., "Bridging discrete and backpropagation" (2023).
"""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Bernoulli, Discrete, Noise, RandomSource
from relax.estimators.estimate import Estimate, Function, discrete, make_draw, make_estimate
from relax.estimators.slope import slope


def reinmax(
    f: Function,
    dist: Discrete,
    *,
    samples: int = 1,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """The ReinMax gradient of f: b [(K,) *batch, *event] -> [(K,) *batch]."""
    dist = discrete("reinmax", dist)
    draw = make_draw("reinmax", dist, samples, noise, generator, b, coupled=True)
    f_b, df = slope("reinmax", f, draw.b, draw)
    halfway = (dist.mean().detach() + draw.b) / 2
    grad = (
        2 * jacobian(dist, halfway, df)  # 2 df/db J((p + b) / 2)
        - dist.pull_mean(df) / 2  # - 1/2 df/db J(p)
    )
    return make_estimate(dist, draw, grad, f_b)


def jacobian(dist: Discrete, p: Tensor, df: Tensor) -> Tensor:
    """df dE[b]/dtheta where the mean is p."""
    if isinstance(dist, Bernoulli):
        return df * p * (1 - p)
    return p * (df - (p * df).sum(-1, keepdim=True))

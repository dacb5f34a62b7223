"""Straight-through: the derivative of f at the hard b, passed on as if b were its own mean.

    g = df/db dE[b]/dtheta

Biased unless f is linear. One evaluation of f, differentiable at b.
Source: Bengio, Leonard and Courville (2013).
"""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Discrete, Noise, RandomSource
from relax.estimators.estimate import Estimate, Function, discrete, make_draw, make_estimate
from relax.estimators.slope import slope


def straight_through(
    f: Function,
    dist: Discrete,
    *,
    samples: int = 1,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """The straight-through gradient of f: b [(K,) *batch, *event] -> [(K,) *batch]."""
    dist = discrete("straight_through", dist)
    draw = make_draw("straight_through", dist, samples, noise, generator, b, coupled=True)
    f_b, df = slope("straight_through", f, draw.b, draw)
    grad = dist.pull_mean(df)  # df/db dE[b]/dtheta
    return make_estimate(dist, draw, grad, f_b)

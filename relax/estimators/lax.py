"""LAX: the score function of a continuous b, with a free-form surrogate as control variate.

    g = [f(b) - c(b)] d/dtheta log p(b|theta) + d/dtheta c(b),  b = T(theta, u)

The same b stands in all three places. Unbiased for every c; c = f gives the pathwise derivative.
One evaluation of f. Source: Grathwohl et al. (2018), equation 6 and algorithm 1.
"""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Noise, Normal, RandomSource
from relax.estimators.control_variate import Surrogate, value_and_grad
from relax.estimators.estimate import (
    Estimate,
    Function,
    evaluate,
    make_draw,
    make_estimate,
    normal,
    weigh,
)


def lax(
    f: Function,
    dist: Normal,
    *,
    c: Surrogate,
    samples: int = 1,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """LAX with surrogate c: b [(K,) *batch, *event] -> [(K,) *batch]; f any Python of that form.

    A given b (a replayed action) must be the one that `noise` makes.
    """
    dist = normal("lax", dist)
    draw = make_draw("lax", dist, samples, noise, generator, b)
    f_b = evaluate("lax", f, draw.b, draw)
    c_b, dc = value_and_grad("lax", c, draw.b, f_b.shape)
    grad = (
        weigh(f_b.detach() - c_b, dist.score(draw.b))  # [f(b) - c(b)] d/dtheta log p(b|theta)
        + dist.pull_z(dc, draw.b)  # + d/dtheta c(b)
    )
    return make_estimate(dist, draw, grad, f_b)

"""Discrete LAX: LAX's control variate through the relaxed z, without conditioning on b.

    g = f(b) d/dtheta log p(b|theta) - c(z) d/dtheta log p(z|theta) + d/dtheta c(z),  b = H(z)

Unbiased for every c, but f(b) and c(z) meet different scores, so they cancel less than in RELAX.
One evaluation of f. Source: Grathwohl et al. (2018), section 3.2, the equation before RELAX.
"""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Discrete, Noise, RandomSource
from relax.estimators.control_variate import Surrogate, value_and_grad
from relax.estimators.estimate import (
    Estimate,
    Function,
    discrete,
    evaluate,
    make_draw,
    make_estimate,
    weigh,
)


def dlax(
    f: Function,
    dist: Discrete,
    *,
    c: Surrogate,
    samples: int = 1,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """Discrete LAX with surrogate c: z [(K,) *batch, *event] -> [(K,) *batch]; f any Python."""
    dist = discrete("dlax", dist)
    draw = make_draw("dlax", dist, samples, noise, generator, b, coupled=True)
    f_b = evaluate("dlax", f, draw.b, draw)
    z = draw.z.detach()
    c_z, dc = value_and_grad("dlax", c, z, f_b.shape)
    grad = (
        weigh(f_b.detach(), dist.score(draw.b))  # f(b) d/dtheta log p(b|theta)
        - weigh(c_z, dist.score_z(z))  # - c(z) d/dtheta log p(z|theta)
        + dist.pull_z(dc, z)  # + d/dtheta c(z)
    )
    return make_estimate(dist, draw, grad, f_b)

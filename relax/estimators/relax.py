"""RELAX: the score function of b, with a free-form surrogate of the relaxed z as control variate.

    g = [f(b) - c(z~)] d/dtheta log p(b|theta) + d/dtheta c(z) - d/dtheta c(z~)

    b = H(z),  z ~ p(z|theta),  z~ ~ p(z|b, theta)

Unbiased for every c. One evaluation of f at b; c is evaluated at z and z~.
Source: Grathwohl et al. (2018), equation 8 and algorithm 2.
"""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Discrete, Noise, RandomSource
from relax.estimators.control_variate import Surrogate, control_variate
from relax.estimators.estimate import (
    Estimate,
    Function,
    discrete,
    evaluate,
    make_draw,
    make_estimate,
    weigh,
)


def relax(
    f: Function,
    dist: Discrete,
    *,
    c: Surrogate,
    samples: int = 1,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
    coupled: bool = False,
) -> Estimate:
    """RELAX with surrogate c.

    f: b [(K,) *batch, *event] -> [(K,) *batch], any Python.
    c: z, like b with one more first axis for z and z~, -> [2, (K,) *batch]; with `coupled` noise
        one evaluation serves both and that axis is absent. So c must accept leading axes.
    coupled: recover v from u, so that z~ = z in value (the authors' choice), instead of drawing it.

    Raises TypeError for a continuous distribution, ValueError for shapes that do not match.
    """
    dist = discrete("relax", dist)
    draw = make_draw("relax", dist, samples, noise, generator, b, coupled)
    f_b = evaluate("relax", f, draw.b, draw)
    c_zt, dc_z, dc_zt = control_variate("relax", c, draw, f_b.shape)
    grad = (
        weigh(f_b.detach() - c_zt, dist.score(draw.b))  # [f(b) - c(z~)] d/dtheta log p(b|theta)
        + dc_z  # + d/dtheta c(z)
        - dc_zt  # - d/dtheta c(z~)
    )
    return make_estimate(dist, draw, grad, f_b)

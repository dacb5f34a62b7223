"""MuProp: the first-order Taylor expansion of f around the mean field as control variate.

    g = [f(b) - f(m) - f'(m) (b - m) - B(x)] d/dtheta log p(b|theta) + f'(m) dm/dtheta,  m = E[b]

Unbiased: the expansion's own gradient is known and added back. One evaluation of f at b, one
differentiable evaluation at m. Source: Gu et al. (2016), equation 8.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from relax.distributions import Discrete, Noise, RandomSource
from relax.estimators.estimate import (
    Estimate,
    Function,
    average,
    discrete,
    evaluate,
    make_draw,
    make_estimate,
    same_shape,
    weigh,
)
from relax.estimators.slope import slope


def muprop(
    f: Function,
    dist: Discrete,
    *,
    mean_field: Function | None = None,
    baseline: Tensor | float = 0.0,
    samples: int = 1,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """MuProp.

    f: b [(K,) *batch, *event] -> [(K,) *batch]; differentiable unless `mean_field` is given.
    mean_field: what is expanded around m, f itself by default; with several layers the function
        that passes means on to the later ones.
    baseline: B(x), a number or [(K,) *batch] attached to phi, fitted by squared error to the
        signal that the expansion leaves.
    """
    dist = discrete("muprop", dist)
    draw = make_draw("muprop", dist, samples, noise, generator, b, coupled=True)
    f_b = evaluate("muprop", f, draw.b, draw)
    if isinstance(baseline, Tensor) and baseline.ndim:
        same_shape("muprop", "the baseline", baseline, f_b.shape)
    m = dist.mean().detach().expand_as(draw.b)
    f_m, df = slope("muprop", mean_field or f, m, draw)
    linear = (df * (draw.b - m)).flatten(f_b.ndim).sum(-1)
    left = f_b.detach() - f_m.detach() - linear
    signal = left - torch.as_tensor(baseline).detach()
    grad = (
        weigh(signal, dist.score(draw.b))  # [f(b) - f(m) - f'(m)(b - m) - B] d/dtheta log p(b)
        + dist.pull_mean(df)  # + f'(m) dm/dtheta
    )
    est = make_estimate(dist, draw, grad, f_b)
    error = left - baseline
    return replace(est, objective=average(error * error, draw))

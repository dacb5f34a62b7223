"""REINFORCE: the score function with a baseline, the estimator that needs nothing of f.

    g = [f(b) - baseline] d/dtheta log p(b|theta)

Unbiased for any baseline that does not look at b. One evaluation of f.
Source: Williams (1992); Grathwohl et al. (2018), equation 2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions import Distribution, Noise, RandomSource
from relax.estimators.estimate import (
    Estimate,
    Function,
    evaluate,
    make_draw,
    make_estimate,
    same_shape,
    weigh,
)


def reinforce(
    f: Function,
    dist: Distribution,
    *,
    baseline: Tensor | float = 0.0,
    samples: int = 1,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """The score-function estimator.

    f: b [(K,) *batch, *event] -> [(K,) *batch], any Python.
    baseline: a number, or a tensor of f(b)'s shape.
    """
    noise = dist.noise(samples, generator, coupled=True) if noise is None else noise
    draw = make_draw("reinforce", dist, samples, noise, generator, b)
    f_b = evaluate("reinforce", f, draw.b, draw)
    if isinstance(baseline, Tensor) and baseline.ndim:
        same_shape("reinforce", "the baseline", baseline, f_b.shape)
    signal = f_b.detach() - torch.as_tensor(baseline).detach()
    grad = weigh(signal, dist.score(draw.b))  # [f(b) - baseline] d/dtheta log p(b|theta)
    return make_estimate(dist, draw, grad, f_b)

"""Leave-one-out REINFORCE: the other samples' mean as every sample's baseline.

    g = mean_k [f(b_k) - mean_{j != k} f(b_j)] d/dtheta log p(b_k|theta)

Unbiased, because the baseline of b_k is independent of b_k. K evaluations of f. It is VarGrad too:
the gradient of half the sample variance of log q - log p, less f's direct term.
Source: Kool, van Hoof and Welling (2019); Richter et al. (2020).
"""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Distribution, Noise, RandomSource
from relax.estimators.estimate import (
    Estimate,
    Function,
    evaluate,
    make_draw,
    make_estimate,
    several,
    weigh,
)


def rloo(
    f: Function,
    dist: Distribution,
    *,
    samples: int = 2,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """REINFORCE with the leave-one-out baseline.

    f: b [K, *batch, *event] -> [K, *batch], any Python. samples: K, at least 2.
    """
    draw = make_draw("rloo", dist, samples, noise, generator, b, coupled=True)
    f_b = evaluate("rloo", f, draw.b, draw)
    others = leave_one_out(f_b.detach(), several("rloo", draw))
    grad = weigh(f_b.detach() - others, dist.score(draw.b))  # [f(b_k) - mean of others] score
    return make_estimate(dist, draw, grad, f_b)


def leave_one_out(x: Tensor, samples: int) -> Tensor:
    """The mean of the other samples, for every one of the K on the first axis."""
    return (x.sum(0) - x) / (samples - 1)

"""ARM: the same uniform noise used twice, as u and as 1 - u.

    g = [f(b) - f(b')] (u - 1/2),   b = [u > 1 - p],  b' = [u < p],  p = sigmoid(theta)

Unbiased. Two evaluations of f per pair; the mean over pairs is taken.
Source: Yin and Zhou, "ARM: Augment-REINFORCE-merge gradient" (2019).
"""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions import Bernoulli, Distribution, Draw, Noise, RandomSource
from relax.estimators.estimate import (
    Estimate,
    Function,
    bernoulli,
    evaluate,
    make_draw,
    make_estimate,
    weigh,
)


def arm(
    f: Function,
    dist: Bernoulli,
    *,
    samples: int = 2,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """ARM; f: b [K, *batch, *event] -> [K, *batch], any Python. samples: K = 2 per pair.

    noise: u [(pairs,) *shape of b]; b holds the pairs' first members, then their second.
    """
    dist = bernoulli("arm", dist)
    draw = antithetic("arm", dist, samples, noise, generator, b)
    f_b = evaluate("arm", f, draw.b, draw)
    f_1, f_2 = f_b.detach().chunk(2)
    u, _ = draw.noise.u.chunk(2)
    grad = weigh(f_1 - f_2, u - 0.5)  # [f(b) - f(b')] (u - 1/2)
    return make_estimate(dist, draw, grad, f_b)


def pair_noise(dist: Distribution, samples: int, generator: RandomSource, coupled: bool) -> Noise:
    """One u per pair."""
    if samples < 2 or samples % 2:
        raise ValueError(f"antithetic pairs need an even number of samples, got {samples}")
    return dist.noise(samples // 2, generator, coupled=True)


def antithetic(
    name: str,
    dist: Bernoulli,
    samples: int,
    noise: Noise | None,
    generator: RandomSource,
    b: Tensor | None = None,
) -> Draw:
    """A draw from [u, 1 - u]: the pairs' first members on the first axis, then their second."""
    u = (pair_noise(dist, samples, generator, True) if noise is None else noise).u
    u = u if u.ndim > len(dist.sample_shape) else u.unsqueeze(0)
    eps = torch.finfo(u.dtype).eps
    mirrored = (1 - u).clamp(eps / 4, 1 - eps / 2)  # 1 - u rounds to 1, whose logit is infinite
    return make_draw(name, dist, samples, Noise(torch.cat([u, mirrored])), None, b, coupled=True)

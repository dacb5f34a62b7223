"""Rao-Blackwellised straight-through Gumbel-softmax: its mean over the noise that made this b.

    g = df/db mean_m dsigma_lambda(z_m)/dtheta,   z_m ~ p(z|b, theta)

The bias of straight-through Gumbel-softmax with less variance. One evaluation of f, differentiable
at b. Source: Paulus, Maddison and Krause (2021).
"""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Discrete, Distribution, Noise, RandomSource
from relax.estimators.estimate import Estimate, Function, discrete, make_draw, make_estimate
from relax.estimators.slope import slope
from relax.estimators.st_gumbel import pull_relaxed
from relax.surrogates import lift

DRAWS = 10


def rao_gumbel(
    f: Function,
    dist: Discrete,
    *,
    lambda_: Tensor | float = 0.5,
    samples: int = 1,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """Rao-Blackwellised straight-through Gumbel-softmax at temperature lambda.

    f: b [(K,) *batch, *event] -> [(K,) *batch]. noise: u makes b; v [draws, (K,) *shape of b] makes
    the z of given b, ten by default.
    """
    dist = discrete("rao_gumbel", dist)
    noise = conditional_noise(dist, samples, generator, False) if noise is None else noise
    draw = make_draw("rao_gumbel", dist, samples, noise, None, b)
    f_b, df = slope("rao_gumbel", f, draw.b, draw)
    z = draw.z_tilde.detach()
    through = pull_relaxed(dist, df.expand_as(z), z, lift(lambda_, z, 1 + draw.sampled))
    grad = dist.pull_z(through, z).mean(0)  # df/db mean_m dsigma_lambda(z_m)/dtheta
    return make_estimate(dist, draw, grad, f_b)


def conditional_noise(
    dist: Distribution, samples: int, generator: RandomSource, coupled: bool
) -> Noise:
    """u once and v ten times for every b."""
    u = dist.noise(samples, generator, coupled=True).u
    v = dist.noise(DRAWS * samples, generator, coupled=True).u
    return Noise(u, v.reshape(DRAWS, *u.shape))

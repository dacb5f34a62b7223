"""DisARM, or U2G: ARM averaged over everything but the antithetic pair (b, b') itself."""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions import Draw
from relax.estimate import estimator, weigh
from relax.function import Function


@estimator(
    unbiased=True,
    evaluations=2,
    differentiable=False,
    needs=("bits",),
    samples=2,
    draws="antithetic",
)
def disarm(f: Function, draw: Draw) -> Tensor:
    """DisARM.

        g = 1/2 [f(b) - f(b')] (-1)^b' [b != b'] sigmoid(|theta|)  =  E[ARM | b, b']

    Unbiased, and never noisier than ARM. Two evaluations of f per pair; the mean over pairs is
    taken.

    Args:
        f: b [K, *batch, *event] -> [K, *batch], any Python; or the value f(b). b holds the pairs'
            first members, then their second.
        dist: a Bernoulli, or a Draw by `rx.disarm.draw`.
        samples: K = 2 per pair. generator: of the samples.

    Source: Dong, Mnih and Tucker, "DisARM" (2020); Yin et al. (2020) call it U2G.
    """
    f_1, f_2 = f(draw.b).chunk(2)
    b_1, b_2 = draw.b.chunk(2)
    # (-1)^b' [b != b'] is b - b'
    return weigh((f_1 - f_2) / 2, (b_1 - b_2) * torch.sigmoid(draw.dist.theta.detach().abs()))

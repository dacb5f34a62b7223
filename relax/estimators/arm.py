"""ARM: the same uniform noise used twice, as u and as 1 - u."""

from __future__ import annotations

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
def arm(f: Function, draw: Draw) -> Tensor:
    """ARM.

        g = [f(b) - f(b')] (u - 1/2),   b = [u > 1 - p],  b' = [u < p],  p = sigmoid(theta)

    Unbiased. Two evaluations of f per pair; the mean over pairs is taken.

    Args:
        f: b [K, *batch, *event] -> [K, *batch], any Python; or the value f(b). b holds the pairs'
            first members, then their second.
        dist: a Bernoulli, or a Draw by `rx.arm.draw`.
        samples: K = 2 per pair. generator: of the samples.

    Source: Yin and Zhou, "ARM: Augment-REINFORCE-merge gradient" (2019).
    """
    f_1, f_2 = f(draw.b).chunk(2)
    u, _ = draw.noise.u.chunk(2)
    return weigh(f_1 - f_2, u - 0.5)  # [f(b) - f(b')] (u - 1/2)

"""Leave-one-out REINFORCE: the other samples' mean as every sample's baseline."""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Draw
from relax.estimate import estimator, weigh
from relax.function import Function


@estimator(
    unbiased=True, evaluations=2, differentiable=False, samples=2, draws="several independent"
)
def rloo(f: Function, draw: Draw) -> Tensor:
    """REINFORCE with the leave-one-out baseline.

        g = mean_k [f(b_k) - mean_{j != k} f(b_j)] d/dtheta log p(b_k|theta)

    Unbiased, because the baseline of b_k is independent of b_k. K evaluations of f. It is VarGrad
    too: the gradient of half the sample variance of log q - log p, less f's direct term.

    Args:
        f: b [K, *batch, *event] -> [K, *batch], any Python; or the value f(b).
        dist: a distribution, or a Draw of several independent samples.
        samples: K, at least 2. generator: of the samples.

    Source: Kool, van Hoof and Welling (2019); Richter et al. (2020).
    """
    f_b = f(draw.b)
    return weigh(f_b - leave_one_out(f_b), draw.score)  # [f(b_k) - mean of others] score


def leave_one_out(x: Tensor) -> Tensor:
    """The mean of the other samples, for every one of the K on the first axis."""
    return (x.sum(0) - x) / (len(x) - 1)

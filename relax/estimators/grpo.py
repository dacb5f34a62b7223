"""GRPO's baseline: rewards of a group normalised by their mean and standard deviation."""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions import Draw
from relax.estimate import estimator, weigh
from relax.function import Function


@estimator(
    unbiased=False,
    evaluations=4,
    differentiable=False,
    samples=4,
    draws="several independent",
)
def grpo(f: Function, draw: Draw) -> Tensor:
    """Leave-one-out REINFORCE over the samples' standard deviation, up to a factor.

        g = mean_k (f(b_k) - mean f) / (std f + 1e-8) d/dtheta log p(b_k|theta)

    Biased: the division gives it other units than those of f, and the standard deviation depends on
    the same samples, so that its mean has another direction as well where rows of different
    difficulty are averaged. K evaluations of f. `rx.rloo` is the unbiased form.

    Args:
        f: b [K, *batch, *event] -> [K, *batch], any Python; or the value f(b).
        dist: a distribution, or a Draw of several independent samples.
        samples: K, at least 2. generator: of the samples.

    Source: Shao et al., "DeepSeekMath" (2024), without the clipped ratio and the KL term.
    """
    f_b = f(draw.b)
    centred = f_b - f_b.mean(0)
    spread = torch.sqrt(centred.square().sum(0) / (len(f_b) - 1))
    return weigh(centred / (spread + 1e-8), draw.score)

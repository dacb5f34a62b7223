"""REINFORCE: the score function with a baseline, the estimator that needs nothing of f."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from relax.control_variate import check_rows
from relax.distributions import Draw
from relax.estimate import estimator, weigh
from relax.function import Function


@estimator(unbiased=True, evaluations=1, differentiable=False)
def reinforce(f: Function, draw: Draw, *, baseline: Tensor | float = 0.0) -> Tensor:
    """REINFORCE, the score-function estimator.

        g = [f(b) - baseline] d/dtheta log p(b|theta)

    Unbiased for any baseline that does not look at b. One evaluation of f.

    Args:
        f: b [(K,) *batch, *event] -> [(K,) *batch], any Python; or the value f(b).
        dist: a distribution, or a Draw.
        baseline: a number, or a tensor of f(b)'s shape.
        samples: K. generator: of the samples.

    Source: Williams (1992); Grathwohl et al. (2018), equation 2.
    """
    signal = f(draw.b) - constant(baseline, draw)
    return weigh(signal, draw.score)  # [f(b) - baseline] d/dtheta log p(b|theta)


def constant(baseline: Any, draw: Draw) -> Tensor | float:
    """The baseline without its graph; a tensor or array must have one number, or one per row."""
    if isinstance(baseline, float | int):
        return baseline
    theta = draw.dist.theta
    baseline = torch.as_tensor(baseline, device=theta.device)
    if baseline.ndim:
        check_rows(baseline, draw.value_shape, "the baseline")
    return baseline.detach()

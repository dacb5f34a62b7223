"""MuProp: the first-order Taylor expansion of f around the mean field as control variate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from relax.distributions import Draw
from relax.estimate import Result, estimator, weigh
from relax.estimators.reinforce import constant
from relax.function import Function


@estimator(unbiased=True, evaluations=2, differentiable=True, needs=("mean",))
def muprop(
    f: Function,
    draw: Draw,
    *,
    mean_field: Callable[[Tensor], Any] | None = None,
    baseline: Tensor | float = 0.0,
) -> Result:
    """MuProp.

        g = [f(b) - f(m) - f'(m) (b - m) - B(x)] d/dtheta log p(b|theta) + f'(m) dm/dtheta

    with m = E[b]. Unbiased: the expansion's own gradient is known and added back. One evaluation of
    f at b, one differentiable evaluation at m.

    Args:
        f: b [(K,) *batch, *event] -> [(K,) *batch], differentiable; with `mean_field` any Python,
            or the value f(b).
        dist: a distribution, or a Draw.
        mean_field: what is expanded around m, f itself by default; with several layers the function
            that passes means on to the later ones.
        baseline: B(x), a number or [(K,) *batch] attached to phi, fitted by squared error to the
            signal that the expansion leaves.
        samples: K. generator: of the samples.

    Source: Gu et al. (2016), equation 8.
    """
    f_b, b, dist = f(draw.b), draw.b, draw.dist
    m = dist.mean().detach().expand_as(b)
    f_m, df = f.value_and_grad(m, mean_field)
    linear = (df * (b - m)).flatten(f_b.ndim).sum(-1)
    left = f_b - f_m - linear
    grad = (
        # [f(b) - f(m) - f'(m) (b - m) - B] d/dtheta log p(b|theta)
        weigh(left - constant(baseline, draw), draw.score) + dist.vjp_mean(df)  # + f'(m) dm/dtheta
    )
    error = left - baseline
    return Result(grad, objective=error * error)

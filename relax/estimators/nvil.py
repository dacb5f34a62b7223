"""NVIL: REINFORCE with a learned, input-dependent baseline fitted by squared error."""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Draw
from relax.estimate import Result, estimator, weigh
from relax.estimators.reinforce import constant
from relax.function import Function


@estimator(unbiased=True, evaluations=1, differentiable=False)
def nvil(f: Function, draw: Draw, *, baseline: Tensor) -> Result:
    """NVIL.

        g = [f(b) - B(x)] d/dtheta log p(b|theta),   B minimises (f(b) - B(x))^2

    Unbiased, because B sees x and never b. One evaluation of f. The division by a running standard
    deviation in the original rescales the gradient and is left to the optimiser.

    Args:
        f: b [(K,) *batch, *event] -> [(K,) *batch], any Python; or the value f(b).
        dist: a distribution, or a Draw.
        baseline: B(x), one number or [(K,) *batch], attached to phi.
        samples: K. generator: of the samples.

    Source: Mnih and Gregor (2014), sections 2.3.1 and 2.3.2.
    """
    f_b = f(draw.b)
    grad = weigh(f_b - constant(baseline, draw), draw.score)  # [f(b) - B] d/dtheta log p(b|theta)
    error = f_b - baseline
    return Result(grad, objective=error * error)

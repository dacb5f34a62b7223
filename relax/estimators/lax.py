"""LAX: the score function of a continuous b, with a free-form surrogate as control variate."""

from __future__ import annotations

from relax.control_variate import ControlVariate, Surrogate, value_and_grad
from relax.distributions import Draw
from relax.estimate import Result, estimator, weigh
from relax.function import Function


@estimator(unbiased=True, evaluations=1, differentiable=False, needs=("continuous",))
def lax(f: Function, draw: Draw, *, c: Surrogate) -> Result:
    """LAX.

        g = [f(b) - c(b)] d/dtheta log p(b|theta) + d/dtheta c(b),  b = T(theta, u)

    The same b is used in all three places. Unbiased for every c that is continuous; c = f gives the
    pathwise derivative. One evaluation of f. What c may look at is as in `rx.relax`: this row's b,
    inputs, and what was sampled before; not later steps, layers above, or other rows.

    Args:
        f: b [(K,) *batch, *event] -> [(K,) *batch], any Python; or the value f(b).
        dist: a continuous distribution, or a Draw.
        c: b [(K,) *batch, *event] -> [(K,) *batch], attached to phi.
        samples: K. generator: of the samples.

    Source: Grathwohl et al. (2018), equation 6 and algorithm 1.
    """
    c_b, dc = value_and_grad(c, draw.b, draw.value_shape)
    dc_b = draw.vjp_z(dc)
    grad = (
        weigh(f(draw.b) - c_b, draw.score)  # [f(b) - c(b)] d/dtheta log p(b|theta)
        + dc_b  # + d/dtheta c(b)
    )
    return Result(grad, control=ControlVariate(c_b, dc_b))

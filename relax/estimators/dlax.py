"""Discrete LAX: LAX's control variate through the relaxed z, without conditioning on b."""

from __future__ import annotations

from relax.control_variate import ControlVariate, Surrogate, value_and_grad
from relax.distributions import Draw
from relax.estimate import Result, estimator, weigh
from relax.function import Function


@estimator(unbiased=True, evaluations=1, differentiable=False, needs=("log_prob_z",))
def dlax(f: Function, draw: Draw, *, c: Surrogate) -> Result:
    """Discrete LAX.

        g = f(b) d/dtheta log p(b|theta) - c(z) d/dtheta log p(z|theta) + d/dtheta c(z),  b = H(z)

    Unbiased for every c that is continuous, but f(b) and c(z) are multiplied by different scores,
    so that they cancel less than in RELAX. One evaluation of f.

    Args:
        f: b [(K,) *batch, *event] -> [(K,) *batch], any Python; or the value f(b).
        dist: a distribution with `log_prob_z`, or a Draw.
        c: z [(K,) *batch, *event] -> [(K,) *batch], attached to phi; see `rx.relax`.
        samples: K. generator: of the samples.

    Source: Grathwohl et al. (2018), section 3.2, the equation before RELAX.
    """
    f_b, z = f(draw.b), draw.z.detach()
    c_z, dc = value_and_grad(c, z, draw.value_shape)
    dc_z = draw.vjp_z(dc)
    grad = (
        weigh(f_b, draw.score)  # f(b) d/dtheta log p(b|theta)
        - weigh(c_z, draw.dist.score_z(z))  # - c(z) d/dtheta log p(z|theta)
        + dc_z  # + d/dtheta c(z)
    )
    return Result(grad, control=ControlVariate(c_z, dc_z))

"""RELAX: the score function of b, with a free-form surrogate of z as control variate."""

from __future__ import annotations

from relax.control_variate import ControlVariate, Surrogate, control_variate
from relax.distributions import Draw
from relax.estimate import Result, estimator, weigh
from relax.function import Function


@estimator(
    unbiased=True,
    evaluations=1,
    differentiable=False,
    needs=("condition",),
    draws="independent with v",
)
def relax(f: Function, draw: Draw, *, c: Surrogate) -> Result:
    """RELAX.

        g = [f(b) - c(z~)] d/dtheta log p(b|theta) + d/dtheta c(z) - d/dtheta c(z~)

        b = H(z),  z ~ p(z|theta),  z~ ~ p(z|b, theta)

    Unbiased for every c that is continuous in z. One evaluation of f at b; c is evaluated at z and
    z~. For one row, c may look at that row's z, at inputs, and at what was sampled before it: not
    at later steps, at layers above, or at other rows (batch normalisation). Such a c is not
    detected, and neither is a c of which a part is detached from z; `rx.bias_test` finds both.

    Args:
        f: b [(K,) *batch, *event] -> [(K,) *batch], any Python; or the value f(b).
        dist: a distribution with `condition`, or a Draw.
        c: z, like b with one more first axis for z and z~, -> [2, (K,) *batch]; with coupled noise
            one evaluation serves both and that axis is absent. So c must accept leading axes.
        samples: K. generator: of the samples.
        coupled: recover v from u, so that z~ = z in value (the authors' choice), instead of drawing
            it. A Draw without v is coupled.

    Raises:
        TypeError: the distribution has no `condition`.
        ValueError: shapes do not match, or c(z) is not connected to z.

    Source: Grathwohl et al. (2018), equation 8 and algorithm 2.
    """
    f_b, (c_zt, dc_z, dc_zt) = f(draw.b), control_variate(c, draw)
    grad = (
        weigh(f_b - c_zt, draw.score)  # [f(b) - c(z~)] d/dtheta log p(b|theta)
        + dc_z  # + d/dtheta c(z)
        - dc_zt  # - d/dtheta c(z~)
    )
    return Result(grad, control=ControlVariate(c_zt, dc_z, dc_zt))

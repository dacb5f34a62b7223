"""Rao-Blackwellised straight-through Gumbel-softmax: its mean over the noise that made this b."""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Draw
from relax.estimate import estimator
from relax.estimators.st_gumbel import vjp_relaxed
from relax.function import Function
from relax.surrogates import lift, positive


@estimator(
    unbiased=False,
    evaluations=1,
    differentiable=True,
    needs=("relaxed", "condition", "vjp_z"),
    draws="several z",
)
def rao_gumbel(f: Function, draw: Draw, *, lambda_: Tensor | float = 0.5) -> Tensor:
    """Rao-Blackwellised straight-through Gumbel-softmax.

        g = df/db mean_m dsigma_lambda(z_m)/dtheta,   z_m ~ p(z|b, theta)

    The bias of straight-through Gumbel-softmax with less variance. One evaluation of f,
    differentiable at b; ten z for every b.

    Args:
        f: b [(K,) *batch, *event] -> [(K,) *batch], differentiable.
        dist: a distribution with `relaxed`, `condition` and a closed-form `vjp_z`, or a Draw by
            `rx.rao_gumbel.draw`.
        lambda_: the temperature, a number or a tensor [*replicas].
        samples: K. generator: of the samples.

    Source: Paulus, Maddison and Krause (2021).
    """
    _, df = f.value_and_grad(draw.b)
    z, dist = draw.z_tilde.detach(), draw.dist
    lambda_ = lift(positive(lambda_, dist), z, 1 + draw.sampled)
    through = vjp_relaxed(dist, df.expand(len(z), *df.shape), z, lambda_)
    return dist.vjp_z(through, z, draw.noise.u).mean(0)  # df/db mean_m dsigma_lambda(z_m)/dtheta

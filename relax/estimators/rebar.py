"""REBAR: RELAX with the relaxed objective itself as surrogate."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from relax.distributions import Draw
from relax.estimate import Result, estimator
from relax.estimators.relax import relax
from relax.function import Function
from relax.surrogates import relaxed


@estimator(
    unbiased=True,
    evaluations=3,
    differentiable=True,
    needs=("condition", "relaxed"),
    draws="independent with v",
)
def rebar(
    f: Function,
    draw: Draw,
    *,
    eta: Tensor | float = 1.0,
    lambda_: Tensor | float = 0.5,
    relaxation: str = "sigmoid",
) -> Result:
    """REBAR: RELAX with c(z) = eta f(sigma_lambda(z)).

    Unbiased for every eta and lambda, which are phi. f is evaluated at b and, where it must be
    differentiable, at sigma_lambda(z) and sigma_lambda(z~).

    Args:
        f: [..., *batch, *event] -> [..., *batch], at b and at relaxed values; differentiable.
        dist: a distribution with `condition` and `relaxed`, or a Draw.
        eta, lambda_: scale and temperature, numbers or tensors [*replicas]; phi where they
            require a gradient.
        relaxation: "sigmoid" is sigma(z / lambda) (softmax for a Categorical), as in Grathwohl et
            al.; "tucker" is sigma(z / lambda + theta lambda / (lambda + 1)) for a Bernoulli, as in
            Tucker et al., which approaches MuProp at high temperature.
        samples, coupled, generator: as in `rx.relax`.

    Raises:
        TypeError: f refuses relaxed inputs or has no gradient there.

    Source: Tucker et al., "REBAR" (NeurIPS 2017); in this form Grathwohl et al. (2018), section
    3.3.
    """
    c = relaxed(f.function, draw.dist, eta, lambda_, relaxation, name="rebar")
    result = cast(Result, relax.equation(f, draw, c=c))
    if any(isinstance(x, Tensor) and x.requires_grad for x in (eta, lambda_)):
        return result
    control = result.control and result.control._replace(learnable=False)
    return Result(result.grad.detach(), control=control)

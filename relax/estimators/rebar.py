"""REBAR: RELAX with the relaxed objective itself as surrogate, c(z) = eta f(sigma_lambda(z)).

Unbiased for every eta and lambda. f is evaluated at b and, where it must be differentiable, at
sigma_lambda(z) and sigma_lambda(z~). phi = (eta, lambda).
Source: Tucker et al., "REBAR" (NeurIPS 2017); in this form Grathwohl et al. (2018), section 3.3.
"""

from __future__ import annotations

from torch import Tensor

from relax.distributions import Discrete, Noise, RandomSource
from relax.estimators.estimate import Estimate, Function, discrete
from relax.estimators.relax import relax
from relax.surrogates import relaxed


def rebar(
    f: Function,
    dist: Discrete,
    *,
    eta: Tensor | float = 1.0,
    lambda_: Tensor | float = 0.5,
    relaxation: str = "sigmoid",
    samples: int = 1,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
    coupled: bool = False,
) -> Estimate:
    """REBAR with scale eta and temperature lambda, numbers or tensors [*replicas].

    f: [..., *batch, *event] -> [..., *batch], at b and at relaxed values; differentiable.
    relaxation: "sigmoid" is sigma(z / lambda) (softmax for a Categorical), as in Grathwohl et al.;
        "tucker" is sigma(z / lambda + theta lambda / (lambda + 1)) for a Bernoulli, as in Tucker
        et al., which approaches MuProp at high temperature.

    Raises TypeError where f refuses relaxed inputs or has no gradient there.
    """
    dist = discrete("rebar", dist)
    c = relaxed(f, dist, eta, lambda_, relaxation, name="rebar")
    return relax(
        f, dist, c=c, samples=samples, noise=noise, generator=generator, b=b, coupled=coupled
    )

"""NVIL: REINFORCE with a learned, input-dependent baseline fitted by squared error.

    g = [f(b) - B(x)] d/dtheta log p(b|theta),   B minimises (f(b) - B(x))^2

Unbiased, because B sees x and never b. One evaluation of f. The division by a running standard
deviation in the original rescales the gradient and is left to the optimiser.
Source: Mnih and Gregor (2014), sections 2.3.1 and 2.3.2.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from relax.distributions import Distribution, Noise, RandomSource
from relax.estimators.estimate import Estimate, Function, average
from relax.estimators.reinforce import reinforce


def nvil(
    f: Function,
    dist: Distribution,
    *,
    baseline: Tensor,
    samples: int = 1,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """NVIL with `baseline` B(x) [(K,) *batch], attached to phi; f any Python."""
    est = reinforce(
        f, dist, baseline=baseline, samples=samples, noise=noise, generator=generator, b=b
    )
    error = est.value.detach() - baseline
    return replace(est, objective=average(error * error, est.draw))

"""Gradients of expectations, E[f(b)] for b ~ p(b|theta): RELAX, LAX and their kin.

A distribution turns its parameter theta and explicit noise into a coupled draw; an estimator turns
the draw and f into a gradient; `backward` gives theta, f's weights and the surrogate's phi each
their own. Taught as `import relax as rx`.
"""

from relax import replicas, surrogates
from relax.diagnostics import (
    BiasTest,
    bias_test,
    exact_gradient,
    gradient_variance,
    signal_to_noise,
)
from relax.distributions import Bernoulli, Categorical, Distribution, Draw, Noise, Normal
from relax.estimators import (
    ESTIMATORS,
    concrete,
    dlax,
    lax,
    muprop,
    noise,
    nvil,
    pathwise,
    rebar,
    reinforce,
    relax,
    straight_through,
)
from relax.estimators.estimate import Estimate
from relax.objectives import backward, variance_objective

__version__ = "0.1.0"

__all__ = [
    "ESTIMATORS",
    "Bernoulli",
    "BiasTest",
    "Categorical",
    "Distribution",
    "Draw",
    "Estimate",
    "Noise",
    "Normal",
    "backward",
    "bias_test",
    "concrete",
    "dlax",
    "exact_gradient",
    "gradient_variance",
    "lax",
    "muprop",
    "noise",
    "nvil",
    "pathwise",
    "rebar",
    "reinforce",
    "relax",
    "replicas",
    "signal_to_noise",
    "straight_through",
    "surrogates",
    "variance_objective",
]

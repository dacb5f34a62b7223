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
    arm,
    arms,
    concrete,
    disarm,
    dlax,
    double_cv,
    lax,
    local_expectation,
    measure_valued,
    muprop,
    noise,
    nvil,
    pathwise,
    rao_gumbel,
    rao_relax,
    rebar,
    reinforce,
    reinmax,
    relax,
    rloo,
    rodeo,
    st_gumbel,
    straight_through,
    unordered_set,
)
from relax.estimators.estimate import Estimate
from relax.estimators.rodeo import Stein
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
    "Stein",
    "arm",
    "arms",
    "backward",
    "bias_test",
    "concrete",
    "disarm",
    "dlax",
    "double_cv",
    "exact_gradient",
    "gradient_variance",
    "lax",
    "local_expectation",
    "measure_valued",
    "muprop",
    "noise",
    "nvil",
    "pathwise",
    "rao_gumbel",
    "rao_relax",
    "rebar",
    "reinforce",
    "reinmax",
    "relax",
    "replicas",
    "rloo",
    "rodeo",
    "signal_to_noise",
    "st_gumbel",
    "straight_through",
    "surrogates",
    "unordered_set",
    "variance_objective",
]

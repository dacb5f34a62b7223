"""Gradients of expectations, E[f(b)] for b ~ p(b|theta): RELAX, LAX and related estimators.

A distribution maps its parameter theta and explicit noise to a coupled draw; an estimator maps a
draw and f to a gradient; `backward` gives theta, f's weights and the surrogate's phi their own
gradients. Conventionally imported as `import relax as rx`.
"""

from relax import replicas, surrogates
from relax.diagnostics import (
    BiasTest,
    bias_test,
    exact_gradient,
    gradient_variance,
    signal_to_noise,
)
from relax.distributions import (
    Bernoulli,
    Categorical,
    Discrete,
    Distribution,
    Draw,
    Noise,
    Normal,
    PlackettLuce,
)
from relax.estimate import ESTIMATORS, Entry, Estimate, Result, estimator, weigh
from relax.estimators.arm import arm
from relax.estimators.arms import arms
from relax.estimators.carms import carms
from relax.estimators.concrete import concrete
from relax.estimators.debiased_reinmax import debiased_reinmax
from relax.estimators.disarm import disarm
from relax.estimators.dlax import dlax
from relax.estimators.double_cv import double_cv
from relax.estimators.grpo import grpo
from relax.estimators.lax import lax
from relax.estimators.local_expectation import local_expectation
from relax.estimators.measure_valued import measure_valued
from relax.estimators.muprop import muprop
from relax.estimators.nvil import nvil
from relax.estimators.pathwise import pathwise
from relax.estimators.rao_gumbel import rao_gumbel
from relax.estimators.rebar import rebar
from relax.estimators.reinforce import reinforce
from relax.estimators.reinmax import reinmax
from relax.estimators.relax import relax
from relax.estimators.rloo import rloo
from relax.estimators.rodeo import Stein, rodeo
from relax.estimators.st_gumbel import st_gumbel
from relax.estimators.straight_through import straight_through
from relax.estimators.unbiased_reinmax import unbiased_reinmax
from relax.estimators.unordered_set import unordered_set
from relax.objectives import backward, gradients, variance_objective

__version__ = "0.2.0"

__all__ = [
    "ESTIMATORS",
    "Bernoulli",
    "BiasTest",
    "Categorical",
    "Discrete",
    "Distribution",
    "Draw",
    "Entry",
    "Estimate",
    "Noise",
    "Normal",
    "PlackettLuce",
    "Result",
    "Stein",
    "arm",
    "arms",
    "backward",
    "bias_test",
    "carms",
    "concrete",
    "debiased_reinmax",
    "disarm",
    "dlax",
    "double_cv",
    "estimator",
    "exact_gradient",
    "gradient_variance",
    "gradients",
    "grpo",
    "lax",
    "local_expectation",
    "measure_valued",
    "muprop",
    "nvil",
    "pathwise",
    "rao_gumbel",
    "unbiased_reinmax",
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
    "weigh",
]

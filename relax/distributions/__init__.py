"""Distributions as maps from explicit noise to coupled draws."""

from relax.distributions.base import Distribution
from relax.distributions.bernoulli import Bernoulli
from relax.distributions.capabilities import CAPABILITIES
from relax.distributions.categorical import Categorical
from relax.distributions.discrete import Discrete
from relax.distributions.draw import Draw, Noise
from relax.distributions.interop import as_distribution
from relax.distributions.normal import Normal
from relax.distributions.numerics import RandomSource, open_interval, sigmoid, softplus
from relax.distributions.plackett_luce import PlackettLuce

__all__ = [
    "CAPABILITIES",
    "Bernoulli",
    "Categorical",
    "Discrete",
    "Distribution",
    "Draw",
    "Noise",
    "Normal",
    "PlackettLuce",
    "RandomSource",
    "as_distribution",
    "open_interval",
    "sigmoid",
    "softplus",
]

"""Every estimator by name, with what is claimed of it.

An estimator is `name(f, dist, *, samples, noise, generator, b, ...) -> Estimate`. With `noise` it
is a pure function. Adding one: a file here and a row in ESTIMATORS; the tests run over the rows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from relax.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Noise,
    Normal,
    RandomSource,
)
from relax.estimators.arm import arm, pair_noise
from relax.estimators.arms import arms
from relax.estimators.concrete import concrete
from relax.estimators.disarm import disarm
from relax.estimators.dlax import dlax
from relax.estimators.double_cv import double_cv
from relax.estimators.estimate import Estimate
from relax.estimators.lax import lax
from relax.estimators.local_expectation import local_expectation
from relax.estimators.measure_valued import measure_valued, three_normals
from relax.estimators.muprop import muprop
from relax.estimators.nvil import nvil
from relax.estimators.pathwise import pathwise
from relax.estimators.rao_gumbel import conditional_noise, rao_gumbel
from relax.estimators.rao_relax import rao_relax
from relax.estimators.rebar import rebar
from relax.estimators.reinforce import reinforce
from relax.estimators.reinmax import reinmax
from relax.estimators.relax import relax
from relax.estimators.rloo import rloo
from relax.estimators.rodeo import rodeo
from relax.estimators.st_gumbel import st_gumbel
from relax.estimators.straight_through import straight_through
from relax.estimators.unordered_set import one_noise, unordered_set

__all__ = [
    "ESTIMATORS",
    "Entry",
    "arm",
    "arms",
    "concrete",
    "disarm",
    "dlax",
    "double_cv",
    "get",
    "lax",
    "local_expectation",
    "measure_valued",
    "muprop",
    "noise",
    "noise_maker",
    "nvil",
    "pathwise",
    "rao_gumbel",
    "rao_relax",
    "rebar",
    "reinforce",
    "reinmax",
    "relax",
    "rloo",
    "rodeo",
    "st_gumbel",
    "straight_through",
    "unordered_set",
]

DISCRETE = (Bernoulli, Categorical)
EVERY = (Bernoulli, Categorical, Normal)


def uniform_noise(
    dist: Distribution, samples: int, generator: RandomSource, coupled: bool
) -> Noise:
    """(u, v), what most estimators need."""
    return dist.noise(samples, generator, coupled)


@dataclass(frozen=True)
class Entry:
    """What is claimed of an estimator.

    unbiased: for every f that it accepts, whatever its own parameters.
    evaluations: of f per estimate, at its default number of samples; 0 where the event's size
        decides, as its file says.
    differentiable: whether f must be.
    distributions: where it has a meaning.
    noise: makes the noise it is a pure function of.
    """

    function: Callable[..., Estimate]
    unbiased: bool
    evaluations: int
    differentiable: bool
    distributions: tuple[type[Distribution], ...]
    noise: Callable[[Distribution, int, RandomSource, bool], Noise] = uniform_noise


ESTIMATORS: dict[str, Entry] = {
    "reinforce": Entry(reinforce, True, 1, False, EVERY),
    "nvil": Entry(nvil, True, 1, False, EVERY),
    "muprop": Entry(muprop, True, 2, True, DISCRETE),
    "rebar": Entry(rebar, True, 3, True, DISCRETE),
    "relax": Entry(relax, True, 1, False, DISCRETE),
    "dlax": Entry(dlax, True, 1, False, DISCRETE),
    "lax": Entry(lax, True, 1, False, (Normal,)),
    "pathwise": Entry(pathwise, True, 1, True, (Normal,)),
    "concrete": Entry(concrete, False, 1, True, DISCRETE),
    "straight_through": Entry(straight_through, False, 1, True, DISCRETE),
    "st_gumbel": Entry(st_gumbel, False, 1, True, DISCRETE),
    "rao_gumbel": Entry(rao_gumbel, False, 1, True, DISCRETE, conditional_noise),
    "reinmax": Entry(reinmax, False, 1, True, DISCRETE),
    "rloo": Entry(rloo, True, 2, False, EVERY),
    "arm": Entry(arm, True, 2, False, (Bernoulli,), pair_noise),
    "disarm": Entry(disarm, True, 2, False, (Bernoulli,), pair_noise),
    "arms": Entry(arms, True, 3, False, (Bernoulli,)),
    "double_cv": Entry(double_cv, True, 2, True, DISCRETE),
    "rodeo": Entry(rodeo, True, 2, True, (Bernoulli,)),
    "rao_relax": Entry(rao_relax, True, 2, True, (Bernoulli,)),
    "unordered_set": Entry(unordered_set, True, 2, False, (Categorical,), one_noise),
    "local_expectation": Entry(local_expectation, True, 0, False, DISCRETE),
    "measure_valued": Entry(measure_valued, True, 0, False, (Normal,), three_normals),
}


def noise(
    estimator: str | Callable[..., Estimate],
    dist: Distribution,
    samples: int | None = None,
    generator: RandomSource = None,
    coupled: bool = False,
) -> Any:
    """The noise that makes `estimator` a pure function: a NamedTuple of tensors, mostly (u, v).

    estimator: a name, or the function, possibly with arguments bound by functools.partial.
    samples: K, by default the estimator's own. coupled: leave v out, so that z~ = z in value.
    """
    if isinstance(estimator, str):
        estimator = get(estimator).function
    function, bound = _unwrap(estimator)
    if samples is None:
        samples = bound.get("samples", _default_samples(function))
    return noise_maker(function)(dist, samples, generator, coupled)


@lru_cache
def _default_samples(function: Callable[..., Estimate]) -> int:
    parameter = inspect.signature(function).parameters.get("samples")
    return parameter.default if parameter else 1


def noise_maker(estimator: Callable[..., Estimate]) -> Callable[..., Any]:
    """The maker in ESTIMATORS; the common one for a function that is not listed."""
    function, _ = _unwrap(estimator)
    makers = (entry.noise for entry in ESTIMATORS.values() if entry.function is function)
    return next(makers, uniform_noise)


def get(name: str) -> Entry:
    """The entry of an estimator; a ValueError that lists the known ones otherwise."""
    if name not in ESTIMATORS:
        raise ValueError(f"unknown estimator {name!r}; known: {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name]


def _unwrap(estimator: Callable[..., Estimate]) -> tuple[Callable[..., Estimate], dict]:
    bound: dict = {}
    while isinstance(estimator, partial):
        bound = {**estimator.keywords, **bound}
        estimator = estimator.func
    return estimator, bound

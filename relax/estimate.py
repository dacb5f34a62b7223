"""What every estimator shares: sampling, replay, checks and registration around its equation.

An estimator's file needs `estimator`, `Result` and `weigh` from here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Protocol

from torch import Tensor

from relax.control_variate import check_axes
from relax.distributions import Distribution, Draw, Noise, RandomSource, as_distribution
from relax.function import Function
from relax.result import Estimate, Result, average, weigh
from relax.sampling import SCHEMES, Scheme

__all__ = ["ESTIMATORS", "Entry", "Estimate", "Estimator", "Result", "estimator", "weigh"]


class Estimator(Protocol):
    """What `@estimator` turns an equation into."""

    equation: Callable[..., Tensor | Result]
    draw: Callable[..., Draw]  # (dist, *, samples, generator, coupled, noise)
    noise: Callable[..., Noise]  # (dist, *, samples, generator, coupled)

    def __call__(self, f: Any, dist: Any, **settings: Any) -> Estimate: ...


@dataclass(eq=False)
class Entry:
    """An estimator: its equation, what is claimed of it, and how it samples.

    unbiased: for every f that it accepts, whatever its settings.
    evaluations: of f per estimate, at its default number of samples; 0 where the event's size
        decides, as its file says.
    differentiable: whether f must be.
    needs: the capabilities of the distribution that it asks for.
    samples: K by default.
    scheme: how the samples are drawn.
    function: the estimator as it is called, `rx.NAME`.
    """

    name: str
    equation: Callable[..., Tensor | Result]
    unbiased: bool
    evaluations: int
    differentiable: bool
    needs: tuple[str, ...]
    samples: int
    scheme: Scheme
    function: Estimator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        @wraps(self.equation)
        def function(f: Any, dist: Any, **settings: Any) -> Estimate:
            return self.estimate(f, dist, settings)

        function.__signature__ = self._signature()  # type: ignore[attr-defined]
        function.draw, function.noise = self.draw, self.noise  # type: ignore[attr-defined]
        function.equation = self.equation  # type: ignore[attr-defined]
        self.function = function  # type: ignore[assignment]
        self._prepared: set[type] = set()  # classes of distributions, each checked once

    def accepts(self, dist: Any) -> bool:
        """Whether the distribution has every capability that the estimator needs."""
        dist = as_distribution(dist)
        return all(dist.supports(need) for need in self.needs)

    def noise(
        self,
        dist: Any,
        *,
        samples: int | None = None,
        generator: RandomSource = None,
        coupled: bool = False,
    ) -> Noise:
        """The random numbers of `draw`, for a caller that draws them in advance."""
        dist, samples = self.prepared(dist), self.samples if samples is None else samples
        if not coupled:
            return self.scheme.noise(dist, samples, generator)
        if not self.scheme.may_couple:
            raise TypeError(f"{self.name} has no coupled noise")
        return dist.noise(samples, generator, coupled=True)

    def draw(
        self,
        dist: Any,
        *,
        samples: int | None = None,
        generator: RandomSource = None,
        coupled: bool = False,
        noise: Noise | None = None,
    ) -> Draw:
        """Sample for this estimator now, and estimate later. samples=None is its default."""
        dist, samples = self.prepared(dist), self.samples if samples is None else samples
        if noise is None:
            noise = self.noise(dist, samples=samples, generator=generator, coupled=coupled)
        return self.scheme.make(dist, noise, samples)

    def estimate(self, f: Any, dist: Any, settings: dict[str, Any]) -> Estimate:
        """Sample or replay, check, evaluate the equation, and take the mean over samples."""
        sampling = {key: settings.pop(key) for key in self.scheme.options if key in settings}
        if isinstance(dist, Draw):
            draw = self._replayed(dist, sampling)
        elif callable(f):
            draw = self.draw(dist, **sampling)
        else:
            raise TypeError(
                f"{self.name} got the value f(b) with a distribution; pass the Draw that produced "
                f"b, rx.{self.name}.draw(dist)"
            )
        draw.dist.check_unchanged()
        check_axes(settings.get("c"), draw.dist)
        self.scheme.check(self.name, draw)
        if draw.coupled and self.scheme.may_couple:
            draw.dist.require(self.name, "recover", "draw with coupled=False")
        function = Function(self.name, f, draw)
        result = self.equation(function, draw, **settings)
        if isinstance(result, Tensor):
            result = Result(result)
        grad, mask = average(result.grad, draw), draw.dist.mask
        if mask is not None:
            grad = grad.masked_fill(mask, 0.0)
        assert function.value is not None
        objective = None if result.objective is None else average(result.objective, draw)
        return Estimate(draw.dist.theta, grad, function.value, draw, objective, result.control)

    def prepared(self, dist: Any) -> Distribution:
        """The distribution, which must have the capabilities that the equation needs."""
        dist = as_distribution(dist)
        if type(dist) not in self._prepared:
            for need in self.needs:
                if not dist.supports(need):
                    dist.require(self.name, need, f"use {accepting(dist)}")
            self._prepared.add(type(dist))
        return dist

    def _replayed(self, draw: Draw, sampling: dict[str, Any]) -> Draw:
        """The draw that was given, checked."""
        if sampling:
            raise TypeError(
                f"{', '.join(sampling)}: belongs to sampling, and the Draw is given already"
            )
        self.prepared(draw.dist)
        if draw.dist.validate:
            draw.check()
        return draw

    def _signature(self) -> inspect.Signature:
        """The signature that help() shows: f, dist, the equation's settings, how to sample."""
        kind, first = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
        equation = inspect.signature(self.equation).parameters.values()
        of_sampling = {
            "samples": inspect.Parameter("samples", kind, default=self.samples, annotation="int"),
            "coupled": inspect.Parameter("coupled", kind, default=False, annotation="bool"),
            "generator": inspect.Parameter(
                "generator", kind, default=None, annotation="RandomSource"
            ),
        }
        parameters = [
            inspect.Parameter("f", first, annotation="Callable[[Tensor], Any] | Tensor"),
            inspect.Parameter("dist", first, annotation="Distribution | Draw"),
            *(p for p in equation if p.kind is kind),
            *(of_sampling[name] for name in self.scheme.options),
        ]
        return inspect.Signature(parameters, return_annotation="Estimate")


ESTIMATORS: dict[str, Entry] = {}


def estimator(
    *,
    unbiased: bool,
    evaluations: int,
    differentiable: bool,
    needs: tuple[str, ...] = (),
    samples: int = 1,
    draws: str = "independent",
) -> Callable[[Callable[..., Tensor | Result]], Estimator]:
    """Make an estimator of an equation `name(f, draw, *, settings) -> grad`, and register it.

    The equation gets f as a `Function` (f(b) is a constant) and the draw, and returns the gradient
    of every sample, [(K,) *shape of theta], or a `Result`. The estimator takes a function or a
    value, and a distribution or a Draw; it samples, checks, and averages over samples.

    Args:
        unbiased, evaluations, differentiable, needs, samples: see `Entry`.
        draws: how samples are drawn, a name in `relax.sampling.SCHEMES`.
    """

    def register(equation: Callable[..., Tensor | Result]) -> Estimator:
        name = equation.__name__
        claims = (unbiased, evaluations, differentiable, needs, samples)
        ESTIMATORS[name] = Entry(name, equation, *claims, SCHEMES[draws])
        return ESTIMATORS[name].function

    return register


def accepting(dist: Distribution) -> str:
    """The names of the estimators that accept this distribution, for a message."""
    *names, last = sorted(name for name, entry in ESTIMATORS.items() if entry.accepts(dist))
    return f"{', '.join(names)} or {last}"

"""What every estimator shares: sampling, replay, checks and registration around its equation."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from relax.control_variate import ControlVariate
from relax.distributions import Distribution, Draw, Noise, RandomSource, as_distribution
from relax.function import Function
from relax.sampling import SCHEMES, Scheme


@dataclass(frozen=True)
class Estimate:
    """A gradient estimate and what is needed to train with it.

    Attributes:
        theta: the distribution's parameter, [*batch, *event].
        grad: the estimate of d/dtheta E[f(b)] of every row, shape of theta, attached to phi. A
            direct dependence of f on theta is not in it: it comes through `value`.
        value: f(b) as f returned it, [(K,) *batch], attached to f's own weights.
        draw: the draw that it was made from.
        objective: what phi minimises, [*batch], where the method has an objective of its own (NVIL,
            MuProp); None means the variance of grad.
        control: c(z~) and its derivatives, where there is a surrogate.
    """

    theta: Tensor
    grad: Tensor
    value: Tensor
    draw: Draw = field(repr=False)
    objective: Tensor | None = field(default=None, repr=False)
    control: ControlVariate | None = field(default=None, repr=False)

    @property
    def replicas(self) -> int:
        """How many leading batch axes are replicas."""
        return self.draw.dist.replicas

    @property
    def batch_shape(self) -> torch.Size:
        """Shape of f(b) without samples: replica axes first, then the rows that are averaged."""
        return self.draw.dist.batch_shape

    @property
    def rows(self) -> int:
        """How many rows are averaged, the same in every replica."""
        return self.batch_shape[self.replicas :].numel()

    @property
    def c(self) -> Tensor:
        """c(z~) of every row as a constant (c(z) where the method has no z~), [(K,) *batch]."""
        return self._control.c_zt.detach()

    @property
    def correlation(self) -> Tensor:
        """The correlation of f(b) and c(z~) over rows and samples; nan while either is constant."""
        both = torch.stack([self.value.detach().to(self.c.dtype).flatten(), self.c.flatten()])
        return torch.corrcoef(both)[0, 1]

    @property
    def terms(self) -> dict[str, Tensor]:
        """The estimate's three terms as constants like theta; they add up to grad.

        f_score: f(b) d/dtheta log p(b|theta). c_score: the score term of c, which is subtracted.
        c_path: d/dtheta c(z) - d/dtheta c(z~).
        """
        control, draw = self._control, self.draw
        path = control.dc_z if control.dc_zt is None else control.dc_z - control.dc_zt
        score = draw.score
        f_score = weigh(self.value.detach().to(score.dtype), score)
        f_score, path = (average(x.detach(), draw) for x in (f_score, path))
        return {
            "f_score": f_score,
            "c_score": self.grad.detach() - f_score - path,
            "c_path": path,
        }

    @property
    def _control(self) -> ControlVariate:
        if self.control is None:
            raise AttributeError("this estimator has no surrogate c")
        return self.control


class Result(NamedTuple):
    """What an equation returns if it returns more than the gradient, [(K,) *shape of theta]."""

    grad: Tensor
    objective: Tensor | None = None
    control: ControlVariate | None = None


class Estimator(Protocol):
    """What `@estimator` turns an equation into."""

    equation: Callable[..., Tensor | Result]

    def __call__(self, f: Any, dist: Any, **settings: Any) -> Estimate: ...

    def draw(
        self,
        dist: Any,
        *,
        samples: int = 1,
        generator: RandomSource = None,
        noise: Noise | None = None,
        **coupled: bool,
    ) -> Draw: ...

    def noise(
        self, dist: Any, *, samples: int = 1, generator: RandomSource = None, **coupled: bool
    ) -> Noise: ...


@dataclass(frozen=True)
class Entry:
    """What is claimed of an estimator.

    unbiased: for every f that it accepts, whatever its settings.
    evaluations: of f per estimate, at its default number of samples; 0 where the event's size
        decides, as its file says.
    differentiable: whether f must be.
    needs: the capabilities of the distribution that it asks for.
    samples: K by default.
    scheme: how the samples are drawn.
    """

    name: str
    function: Estimator
    unbiased: bool
    evaluations: int
    differentiable: bool
    needs: tuple[str, ...]
    samples: int
    scheme: Scheme

    def accepts(self, dist: Any) -> bool:
        """Whether the distribution has every capability that the estimator needs."""
        dist = as_distribution(dist)
        return all(dist.supports(need) for need in self.needs)


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
    scheme = SCHEMES[draws]

    def register(equation: Callable[..., Tensor | Result]) -> Estimator:
        frame = _Frame(equation, needs, samples, scheme)

        @wraps(equation)
        def function(f: Any, dist: Any, **settings: Any) -> Estimate:
            return frame.estimate(f, dist, settings)

        function.__signature__ = _signature(equation, samples, scheme)  # type: ignore[attr-defined]
        function.draw, function.noise, function.equation = frame.draw, frame.noise, equation  # type: ignore
        made: Estimator = function  # type: ignore[assignment]
        ESTIMATORS[frame.name] = Entry(
            frame.name, made, unbiased, evaluations, differentiable, needs, samples, scheme
        )
        return made

    return register


class _Frame:
    """What surrounds one equation: sampling, replay, checks, and the mean over samples."""

    def __init__(
        self,
        equation: Callable[..., Tensor | Result],
        needs: tuple[str, ...],
        samples: int,
        scheme: Scheme,
    ) -> None:
        self.name, self.equation = equation.__name__, equation
        self.needs, self.samples, self.scheme = needs, samples, scheme
        self.options = ("samples", "generator", *(("coupled",) if scheme.may_couple else ()))
        self.accepted: set[type] = set()  # classes of distributions, each checked once

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
        sampling = {key: settings.pop(key) for key in self.options if key in settings}
        if isinstance(dist, Draw):
            draw = self.replayed(dist, sampling)
        else:
            draw = self.sampled(f, dist, sampling)
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

    def sampled(self, f: Any, dist: Any, sampling: dict[str, Any]) -> Draw:
        """A new draw, for a function f."""
        if not callable(f):
            raise TypeError(
                f"{self.name} got a value f(b) and a distribution: a value goes with the Draw "
                f"that b came from, rx.{self.name}.draw(dist)"
            )
        return self.draw(dist, **sampling)

    def replayed(self, draw: Draw, sampling: dict[str, Any]) -> Draw:
        """The draw that was given, checked."""
        if sampling:
            raise TypeError(
                f"{', '.join(sampling)}: belongs to sampling, and the Draw is given already"
            )
        self.prepared(draw.dist)
        if draw.dist.validate:
            draw.check()
        return draw

    def prepared(self, dist: Any) -> Distribution:
        """The distribution, which must have the capabilities that the equation needs."""
        dist = as_distribution(dist)
        if type(dist) not in self.accepted:
            for need in self.needs:
                if not dist.supports(need):
                    dist.require(self.name, need, f"use {accepting(dist)}")
            self.accepted.add(type(dist))
        return dist


def _signature(equation: Callable[..., Any], samples: int, scheme: Scheme) -> inspect.Signature:
    """The signature that help() shows: f, dist, the equation's settings, how to sample."""
    kind = inspect.Parameter.KEYWORD_ONLY
    first = inspect.Parameter.POSITIONAL_OR_KEYWORD
    settings = [p for p in inspect.signature(equation).parameters.values() if p.kind is kind]
    sampling = [inspect.Parameter("samples", kind, default=samples, annotation="int")]
    if scheme.may_couple:
        sampling.append(inspect.Parameter("coupled", kind, default=False, annotation="bool"))
    sampling.append(inspect.Parameter("generator", kind, default=None, annotation="RandomSource"))
    given = [
        inspect.Parameter("f", first, annotation="Callable[[Tensor], Any] | Tensor"),
        inspect.Parameter("dist", first, annotation="Distribution | Draw"),
    ]
    return inspect.Signature([*given, *settings, *sampling], return_annotation="Estimate")


def accepting(dist: Distribution) -> str:
    """The names of the estimators that accept this distribution, for a message."""
    *names, last = sorted(name for name, entry in ESTIMATORS.items() if entry.accepts(dist))
    return f"{', '.join(names)} or {last}"


def average(x: Tensor, draw: Draw) -> Tensor:
    """The mean over samples, where there is a sample axis."""
    return x.mean(0) if draw.sampled else x


def weigh(weight: Tensor, score: Tensor) -> Tensor:
    """weight [(K,) *batch] times score [(K,) *batch, *event]: one weight for the joint event."""
    return weight.reshape(weight.shape + (1,) * (score.ndim - weight.ndim)) * score


def get(name: str) -> Entry:
    """The entry of an estimator; a ValueError that lists the known ones otherwise."""
    if name not in ESTIMATORS:
        raise ValueError(f"unknown estimator {name!r}; known: {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name]

"""Is it unbiased, and how noisy is it: exact gradients, bias tests, variances.

All of them draw in chunks and keep only sums, in float64. Every variance is of one estimate, per
coordinate, over fresh draws at fixed parameters: of one row's gradient in theta, or with
`of=parameters` of the batch's gradient in parameters behind theta and f, as `rx.backward` gives it.
Every estimator starts from the same state of the generator, so that its numbers do not depend on
what is measured beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from relax.distributions import Distribution, Draw, Noise, RandomSource, as_distribution
from relax.estimate import Estimate
from relax.function import Function
from relax.objectives import gradients
from relax.replicas import Streams

Estimator = Callable[..., Estimate]
CHUNK = 2**20  # numbers of theta drawn at once
SAMPLES, SAMPLES_OF = 300_000, 3_000  # of a bias test; with `of` each takes a backward pass


def exact_gradient(
    f: Callable[[Tensor], Any], dist: Any, *, of: Iterable[Tensor] | None = None
) -> Tensor:
    """d/dtheta E[f(b)] of every row by enumeration of all outcomes.

    Args:
        f: b [S, *batch, *event] -> [S, *batch]; a dependence on theta itself is included.
        dist: a distribution with `support`.
        of: parameters behind theta and f; then the gradient of the mean over the batch in these.

    Returns:
        The shape of theta; with `of` one vector, the parameters' entries in order.

    Raises:
        TypeError: the distribution has no `support`.
        ValueError: more than 2^20 outcomes.
    """
    return _exact(f, as_distribution(dist), of, direct=True)


def _exact(f: Callable, dist: Distribution, of: Iterable[Tensor] | None, direct: bool) -> Tensor:
    """direct: whether f's own dependence on theta counts."""
    dist.require("exact_gradient", "support")
    with torch.enable_grad():
        if not dist.theta.requires_grad:
            dist = dist.with_theta(dist.theta.detach().requires_grad_())
        b = dist.support()
        outcomes = Function("exact_gradient", f, Draw(dist, Noise(b), b))
        f_b, p = outcomes(b), dist.joint_log_prob(b).exp()
        if direct and outcomes.value is not None:
            f_b = outcomes.value.to(p.dtype)
        expectation = torch.where(p > 0, p * f_b, 0.0).sum()  # f may be infinite where p = 0
        if of is None:
            return torch.autograd.grad(expectation, dist.theta)[0]
        rows = dist.batch_shape[dist.replicas :].numel()
        grads = torch.autograd.grad(
            expectation / rows, list(of), retain_graph=True, materialize_grads=True
        )
        return _vector(grads)


@dataclass(frozen=True)
class BiasTest:
    """The mean of an estimator against the exact gradient; all tensors have its shape.

    rounding: the relative error of theta's floating-point type, below which no bias can be seen.
    """

    exact: Tensor
    mean: Tensor
    standard_error: Tensor
    samples: int
    rounding: float

    @property
    def z(self) -> Tensor:
        """The difference in standard errors, per coordinate; rounding counts as error too."""
        size = torch.maximum(self.exact.abs(), self.mean.abs())
        return (self.mean - self.exact) / (self.standard_error + self.rounding * (1 + size))

    @property
    def max_z(self) -> float:
        """The largest |z| over coordinates."""
        return float(self.z.abs().max())


def bias_test(
    estimator: Estimator,
    f: Callable[[Tensor], Any],
    dist: Any,
    *,
    samples: int | None = None,
    generator: RandomSource = None,
    exact: Tensor | None = None,
    of: Iterable[Tensor] | None = None,
    **own: Any,
) -> BiasTest:
    """Compare an estimator's mean with the exact gradient.

    What f depends on theta directly is the same in both and left out, unless `of` is given: there
    both contain it.

    Args:
        estimator: its own arguments, such as c, are given by keyword; its number of samples, K,
            by functools.partial(estimator, samples=K).
        f: as the estimator takes it; f and c must accept leading axes.
        dist: the distribution; with `of` attached to the parameters.
        samples: how many estimates are averaged, by default 300 000, with `of` 3 000.
        exact: the true gradient where it cannot be enumerated, such as for a Normal.
        of: parameters behind theta and f: their gradient is tested.
    """
    dist, of = as_distribution(dist), None if of is None else list(of)
    if exact is None:
        exact = _exact(f, dist, of, direct=of is not None)
    samples = samples or (SAMPLES if of is None else SAMPLES_OF)
    moments = _moments(partial(estimator, **own), f, dist, samples, generator, of)
    rounding = 8 * torch.finfo(dist.theta.dtype).eps
    return BiasTest(exact.double(), moments.mean, moments.standard_error, samples, rounding)


def gradient_variance(
    estimators: Mapping[str, Estimator],
    f: Callable[[Tensor], Any],
    dist: Any,
    *,
    samples: int = 1000,
    generator: RandomSource = None,
    of: Iterable[Tensor] | None = None,
) -> dict[str, Tensor]:
    """The variance of every estimator's gradient, per coordinate.

    Args:
        estimators: by name; bind their own arguments with functools.partial.
        f: as the estimators take it; f and c must accept leading axes.
        dist: the distribution; with `of` attached to the parameters.
        samples: how many estimates of each.
        of: parameters behind theta and f: the variance of the batch's gradient in these.

    Returns:
        name -> the shape of theta; with `of` one vector, the parameters' entries in order.
    """
    found = _all_moments(estimators, f, dist, samples, generator, of)
    return {name: moments.variance for name, moments in found.items()}


def signal_to_noise(
    estimators: Mapping[str, Estimator],
    f: Callable[[Tensor], Any],
    dist: Any,
    *,
    samples: int = 1000,
    generator: RandomSource = None,
    of: Iterable[Tensor] | None = None,
) -> dict[str, Tensor]:
    """|mean| over standard deviation of one estimate, per coordinate; as `gradient_variance`."""
    found = _all_moments(estimators, f, dist, samples, generator, of)
    return {name: m.mean.abs() / m.variance.sqrt() for name, m in found.items()}


class _Moments:
    """Mean and variance of rows that come in chunks (Chan, Golub and LeVeque, 1983)."""

    count = 0
    mean: Tensor
    squares: Tensor

    def add(self, rows: Tensor) -> None:
        """rows [n, ...]."""
        rows = rows.double()
        n, mean = len(rows), rows.mean(0)
        squares = (rows - mean).square().sum(0)
        if not self.count:
            self.count, self.mean, self.squares = n, mean, squares
            return
        delta, total = mean - self.mean, self.count + n
        self.squares = self.squares + squares + delta.square() * (self.count * n / total)
        self.mean = self.mean + delta * (n / total)
        self.count = total

    @property
    def variance(self) -> Tensor:
        return self.squares / (self.count - 1)

    @property
    def standard_error(self) -> Tensor:
        return (self.variance / self.count).sqrt()


def _all_moments(
    estimators: Mapping[str, Estimator],
    f: Callable,
    dist: Any,
    samples: int,
    generator: RandomSource,
    of: Iterable[Tensor] | None,
) -> dict[str, _Moments]:
    dist, of = as_distribution(dist), None if of is None else list(of)
    again = _restart(generator, dist.theta.device)
    return {
        name: _moments(estimator, f, dist, samples, again(), of)
        for name, estimator in estimators.items()
    }


def _moments(
    estimator: Estimator,
    f: Callable,
    dist: Distribution,
    samples: int,
    generator: RandomSource,
    of: list[Tensor] | None,
) -> _Moments:
    if samples < 2:
        raise ValueError(f"a variance needs at least 2 samples, got {samples}")
    moments = _Moments()
    many = _in_theta if of is None else partial(_in_parameters, of=of)
    for rows in many(estimator, f, dist, samples, generator):
        moments.add(rows)
    return moments


def _in_theta(
    estimator: Estimator, f: Callable, dist: Distribution, samples: int, generator: RandomSource
) -> Iterator[Tensor]:
    """Gradients in theta, [n, *shape of theta] at a time."""
    fixed = dist.with_theta(dist.theta.detach())
    chunk = max(1, CHUNK // dist.theta.numel())
    for start in range(0, samples, chunk):
        many = fixed.expand(min(chunk, samples - start))
        with torch.no_grad():
            yield estimator(f, many, generator=generator).grad


def _in_parameters(
    estimator: Estimator,
    f: Callable,
    dist: Distribution,
    samples: int,
    generator: RandomSource,
    of: list[Tensor],
) -> Iterator[Tensor]:
    """Gradients in the parameters, [1, P] at a time, each of one estimate for the batch."""
    for _ in range(samples):
        est = estimator(f, dist, generator=generator)
        yield _vector(gradients(est, of)).unsqueeze(0)


def _vector(grads: Iterable[Tensor]) -> Tensor:
    return torch.cat([grad.detach().flatten() for grad in grads])


def _restart(generator: RandomSource, device: torch.device) -> Callable[[], RandomSource]:
    """A function that returns the generator in the state that it has now."""
    if generator is None:
        seed = int(torch.randint(2**60, ()))
        return lambda: torch.Generator(device).manual_seed(seed)
    if isinstance(generator, Streams):
        restore: Callable[[], Any] = partial(generator.load_state_dict, generator.state_dict())
    else:
        restore = partial(generator.set_state, generator.get_state())

    def again() -> RandomSource:
        restore()
        return generator

    return again

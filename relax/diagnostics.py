"""Is it unbiased, and how noisy is it: exact gradients, bias tests, variances.

All of them draw in chunks and keep only sums, in float64. Every variance is of one estimate of one
row's gradient in theta, per coordinate, over fresh draws at fixed parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from relax.distributions import Discrete, Distribution, Noise, RandomSource
from relax.estimators import noise as make_noise
from relax.estimators import noise_maker
from relax.estimators.estimate import Estimate, Function, discrete, evaluate

Estimator = Callable[..., Estimate]
CHUNK = 2**20  # numbers of theta drawn at once


def exact_gradient(f: Function, dist: Distribution) -> Tensor:
    """d/dtheta E[f(b)] of every row by enumeration, shape of theta.

    f: b [S, *batch, *event] -> [S, *batch]; a dependence on theta itself is included.
    Raises TypeError for a continuous distribution, ValueError for more than 2^20 outcomes.
    """
    dist = discrete("exact_gradient", dist)
    theta = dist.theta
    with torch.enable_grad():
        if not theta.requires_grad:
            dist = dist.with_theta(theta.detach().requires_grad_())
            assert isinstance(dist, Discrete)
            theta = dist.theta
        b = dist.support(_batch_ndim(f, dist))
        f_b = f(b)
        f_b = f_b if isinstance(f_b, Tensor) else torch.as_tensor(f_b, dtype=b.dtype)
        p = dist.log_prob(b).reshape(*f_b.shape, -1).sum(-1).exp()
        return torch.autograd.grad((p * f_b).sum(), theta)[0]


@dataclass(frozen=True)
class BiasTest:
    """The mean of an estimator against the exact gradient; every tensor has the shape of theta.

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
    f: Function,
    dist: Distribution,
    *,
    samples: int = 300_000,
    generator: RandomSource = None,
    exact: Tensor | None = None,
    **own: Any,
) -> BiasTest:
    """Compare an estimator's mean over `samples` estimates with the exact gradient.

    own: the estimator's own arguments, such as c. exact: for a Normal, or where it is known.
    f and c must accept leading axes.
    """
    if exact is None:
        exact = exact_gradient(f, dist)
    moments = _Moments()
    for _, grad in _draws({"": partial(estimator, **own)}, f, dist, samples, generator):
        moments.add(grad)
    rounding = 8 * torch.finfo(dist.theta.dtype).eps
    return BiasTest(exact.double(), moments.mean, moments.standard_error, samples, rounding)


def gradient_variance(
    estimators: Mapping[str, Estimator],
    f: Function,
    dist: Distribution,
    *,
    samples: int = 1000,
    generator: RandomSource = None,
) -> dict[str, Tensor]:
    """The variance of every estimator's gradient per coordinate, name -> shape of theta.

    Estimators with the same noise maker see the same draws. Bind their own arguments with
    functools.partial. f and c must accept leading axes.
    """
    moments = {name: _Moments() for name in estimators}
    for name, grad in _draws(estimators, f, dist, samples, generator):
        moments[name].add(grad)
    return {name: m.variance for name, m in moments.items()}


def signal_to_noise(
    estimators: Mapping[str, Estimator],
    f: Function,
    dist: Distribution,
    *,
    samples: int = 1000,
    generator: RandomSource = None,
) -> dict[str, Tensor]:
    """|mean| over standard deviation of one estimate, per coordinate, name -> shape of theta."""
    moments = {name: _Moments() for name in estimators}
    for name, grad in _draws(estimators, f, dist, samples, generator):
        moments[name].add(grad)
    return {name: m.mean.abs() / m.variance.sqrt() for name, m in moments.items()}


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


def _draws(
    estimators: Mapping[str, Estimator],
    f: Function,
    dist: Distribution,
    samples: int,
    generator: RandomSource,
) -> Iterator[tuple[str, Tensor]]:
    """(name, gradients [n, *shape of theta]) chunk by chunk, noise shared where the maker is."""
    if samples < 2:
        raise ValueError(f"a variance needs at least 2 samples, got {samples}")
    fixed = dist.with_theta(dist.theta.detach())
    chunk = max(1, CHUNK // dist.theta.numel())
    for start in range(0, samples, chunk):
        many = fixed.expand(min(chunk, samples - start))
        drawn: dict[Any, Noise] = {}
        for name, estimator in estimators.items():
            maker = noise_maker(estimator)
            if maker not in drawn:
                drawn[maker] = make_noise(estimator, many, generator=generator)
            with torch.no_grad():
                yield name, estimator(f, many, noise=drawn[maker]).grad


def _batch_ndim(f: Function, dist: Distribution) -> int:
    """How many axes of theta f counts as batch, from one evaluation."""
    draw = dist.draw(dist.noise(generator=torch.Generator(dist.theta.device).manual_seed(0)))
    return evaluate("exact_gradient", f, draw.b, draw).ndim

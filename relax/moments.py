"""The mean and the variance of an estimator, from samples drawn in chunks.

Only sums are kept, in float64. Every estimator starts from the same state of the generator, so that
its numbers do not depend on what else is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from relax.distributions import Distribution, RandomSource
from relax.objectives import gradients
from relax.replicas import Streams
from relax.result import Estimate

Estimator = Callable[..., Estimate]
CHUNK = 2**20  # numbers of theta drawn at once


class Moments:
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


def moments_of_each(
    estimators: Mapping[str, Estimator],
    f: Callable,
    dist: Distribution,
    samples: int,
    generator: RandomSource,
    of: list[Tensor] | None,
) -> dict[str, Moments]:
    """The moments of every estimator, by name. TypeError: `estimators` is not a dictionary."""
    if not isinstance(estimators, Mapping):
        raise TypeError(
            f"estimators must be a dictionary, such as {{'rloo': rx.rloo}}, not "
            f"{type(estimators).__name__}"
        )
    restarted = restart(generator, dist.theta.device)
    return {
        name: moments(estimator, f, dist, samples, restarted(), of)
        for name, estimator in estimators.items()
    }


def moments(
    estimator: Estimator,
    f: Callable,
    dist: Distribution,
    samples: int,
    generator: RandomSource,
    of: list[Tensor] | None,
) -> Moments:
    """The moments of one row's gradient in theta; with `of` of the batch's gradient in these."""
    if samples < 2:
        raise ValueError(f"a variance needs at least 2 samples, got {samples}")
    found = Moments()
    if of is None:
        for rows in _in_theta(estimator, f, dist, samples, generator):
            found.add(rows)
        return found
    for _ in range(samples):
        est = estimator(f, dist, generator=generator)
        found.add(as_vector(gradients(est, of)).unsqueeze(0))
    return found


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


def as_vector(grads: Iterable[Tensor]) -> Tensor:
    """All entries in order."""
    return torch.cat([grad.detach().flatten() for grad in grads])


def restart(generator: RandomSource, device: torch.device) -> Callable[[], RandomSource]:
    """A function that returns the generator, reset to its present state."""
    if generator is None:
        seed = int(torch.randint(2**60, ()))
        return lambda: torch.Generator(device).manual_seed(seed)
    if isinstance(generator, Streams):
        restore: Callable[[], Any] = partial(generator.load_state_dict, generator.state_dict())
    else:
        restore = partial(generator.set_state, generator.get_state())

    def restarted() -> RandomSource:
        restore()
        return generator

    return restarted

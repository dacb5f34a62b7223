"""Whether an estimator is unbiased, and how noisy it is: exact gradients, bias tests, variances.

Samples are drawn in chunks, and only sums are kept, in float64. A variance is that of one estimate,
per coordinate, over fresh draws at fixed parameters: of one row's gradient in theta, or, with
`of=parameters`, of the batch's gradient in parameters behind theta and f, as `rx.backward` computes
it. Every estimator starts from the same state of the generator, so that its numbers do not depend
on what else is measured.
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
from relax.objectives import Parameters, gradients, grads_of, parameters_of
from relax.replicas import Streams

Estimator = Callable[..., Estimate]
CHUNK = 2**20  # numbers of theta drawn at once
SAMPLES, SAMPLES_OF = 300_000, 3_000  # of a bias test; with `of` each takes a backward pass


def exact_gradient(
    f: Callable[[Tensor], Any], dist: Any, *, of: Parameters | None = None
) -> Tensor:
    """d/dtheta E[f(b)] of every row by enumeration of all outcomes.

    Args:
        f: b [S, *batch, *event] -> [S, *batch]; a dependence on theta itself is included.
        dist: a distribution with `support`.
        of: parameters behind theta and f, or a module that holds them; then the gradient of the
            mean over the batch in these.

    Returns:
        The shape of theta; with `of` one vector, the parameters' entries in order.

    Raises:
        TypeError: the distribution has no `support`.
        ValueError: more than 2^20 outcomes, or neither theta nor f depends on `of`.
    """
    return _exact(f, as_distribution(dist), _parameters(of), direct=True)


def _parameters(of: Parameters | None) -> list[Tensor] | None:
    return None if of is None else [p for p in parameters_of(of, "of") if p.requires_grad]


def _exact(f: Callable, dist: Distribution, of: list[Tensor] | None, direct: bool) -> Tensor:
    """direct: whether f's direct dependence on theta is included."""
    dist.require("exact_gradient", "support", "give bias_test the exact gradient, exact=...")
    with torch.enable_grad():
        if not dist.theta.requires_grad:
            dist = dist.with_theta(dist.theta.detach().requires_grad_())
        b = dist.support()
        noise = Noise(b.new_zeros(len(b), *dist.sample_shape))  # there is none
        outcomes = Function("exact_gradient", f, Draw(dist, noise, b))
        f_b, p = outcomes(b), dist.joint_log_prob(b).exp()
        if direct and outcomes.value is not None:
            f_b = outcomes.value.to(p.dtype)
        expectation = torch.where(p > 0, p * f_b, 0.0).sum()  # f may be infinite where p = 0
        if of is None:
            return torch.autograd.grad(expectation, dist.theta)[0]
        rows = dist.batch_shape[dist.replicas :].numel()
        return _vector(grads_of([expectation / rows], of))


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
    of: Parameters | None = None,
    **settings: Any,
) -> BiasTest:
    """Compare an estimator's mean with the exact gradient.

    f's direct dependence on theta is the same in both and left out, unless `of` is given: then
    both contain it. Thousands of estimates are made in one call, on copies of the batch along a new
    first axis. One of them is made again on the batch alone, as in training: a row that sees other
    rows through a positive dim, such as c = lambda z: net(z.softmax(1)), is found by comparing the
    two.

    Args:
        estimator: its settings, such as c, are given by keyword; its number of samples, K, by
            functools.partial(estimator, samples=K).
        f: as the estimator takes it; f and c must accept leading axes.
        dist: the distribution; with `of` attached to the parameters.
        samples: how many estimates are averaged, by default 300 000, with `of` 3 000.
        exact: the true gradient where it cannot be enumerated, such as for a Normal.
        of: parameters behind theta and f, or a module that holds them: their gradient is tested.
        settings: of the estimator.

    Raises:
        ValueError: f or c gives other numbers with leading axes, or nothing depends on `of`.
    """
    dist, params = as_distribution(dist), _parameters(of)
    if exact is None:
        exact = _exact(f, dist, params, direct=params is not None)
    if params is None:
        _check_layout(partial(estimator, **settings), f, dist)
    samples = samples or (SAMPLES if params is None else SAMPLES_OF)
    moments = _moments(partial(estimator, **settings), f, dist, samples, generator, params)
    rounding = 8 * torch.finfo(dist.theta.dtype).eps
    return BiasTest(exact.double(), moments.mean, moments.standard_error, samples, rounding)


def gradient_variance(
    estimators: Mapping[str, Estimator],
    f: Callable[[Tensor], Any],
    dist: Any,
    *,
    samples: int = 1000,
    generator: RandomSource = None,
    of: Parameters | None = None,
) -> dict[str, Tensor]:
    """The variance of every estimator's gradient, per coordinate.

    Args:
        estimators: a dictionary by name; bind their settings with functools.partial.
        f: as the estimators take it; f and c must accept leading axes.
        dist: the distribution; with `of` attached to the parameters.
        samples: how many estimates of each.
        of: parameters behind theta and f, or a module that holds them: the variance of the batch's
            gradient in these.

    Returns:
        name -> the shape of theta; with `of` one vector, the parameters' entries in order.
    """
    moments = _all_moments(estimators, f, dist, samples, generator, of)
    return {name: m.variance for name, m in moments.items()}


def signal_to_noise(
    estimators: Mapping[str, Estimator],
    f: Callable[[Tensor], Any],
    dist: Any,
    *,
    samples: int = 1000,
    generator: RandomSource = None,
    of: Parameters | None = None,
) -> dict[str, Tensor]:
    """|mean| over standard deviation of one estimate, per coordinate; as `gradient_variance`."""
    moments = _all_moments(estimators, f, dist, samples, generator, of)
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


def _all_moments(
    estimators: Mapping[str, Estimator],
    f: Callable,
    dist: Any,
    samples: int,
    generator: RandomSource,
    of: Parameters | None,
) -> dict[str, _Moments]:
    if not isinstance(estimators, Mapping):
        raise TypeError(
            f"estimators must be a dictionary, such as {{'rloo': rx.rloo}}, not "
            f"{type(estimators).__name__}"
        )
    dist, params = as_distribution(dist), _parameters(of)
    restarted = _restart(generator, dist.theta.device)
    return {
        name: _moments(estimator, f, dist, samples, restarted(), params)
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


def _check_layout(estimator: Estimator, f: Callable, dist: Distribution) -> None:
    """Compare an estimate on copies of the batch with the same estimate on the batch alone.

    An estimate that differs from itself, because f draws random numbers, is not judged, and neither
    is a wrapper of an estimator that does not accept a Draw.
    """
    function, settings = estimator, dict[str, Any]()
    while isinstance(function, partial):
        settings = function.keywords | settings
        function = function.func
    settings = {k: x for k, x in settings.items() if k not in ("samples", "coupled", "generator")}
    fixed = dist.with_theta(dist.theta.detach())
    generator = torch.Generator(fixed.theta.device).manual_seed(0)
    with torch.no_grad():
        several = estimator(f, fixed.expand(2), generator=generator)
        try:
            first, again = (
                function(f, _first_copy(several.draw, fixed), **settings).grad for _ in range(2)
            )
        except TypeError:
            return
    if torch.equal(first, again) and not _close(first, several.grad[0]):
        raise ValueError(
            f"the same draw gives one estimate for the batch {list(dist.batch_shape)} alone and "
            f"another one beside copies of the batch on a leading axis: f and c must treat every "
            f"row alone and address axes by negative dims, such as z.softmax(-1)"
        )


def _first_copy(draw: Draw, dist: Distribution) -> Draw:
    """The draw of the first of the copies that `expand` made."""
    sites = len(draw.dist.sample_shape)  # starts with the axis of copies

    def select(x: Tensor) -> Tensor:
        return x.select(x.ndim - sites, 0)

    u, v = draw.noise
    noise = Noise(select(u), None if v is None else select(v))
    return Draw(dist, noise, select(draw.b), draw.kind)


def _close(x: Tensor, y: Tensor) -> bool:
    tolerance = 1e-3 if x.dtype == torch.float32 else 1e-7
    return bool((x - y).abs().max() <= tolerance * (1 + x.abs().max()))


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

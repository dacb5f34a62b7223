"""Whether an estimator is unbiased, and how noisy it is: exact gradients, bias tests, variances.

A variance is that of one estimate, per coordinate, over fresh draws at fixed parameters: of one
row's gradient in theta, or, with `of=parameters`, of the batch's gradient in parameters behind
theta and f, as `rx.backward` computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from relax.distributions import Distribution, Draw, Noise, RandomSource, as_distribution
from relax.function import Function
from relax.moments import Estimator, as_vector, moments, moments_of_each
from relax.objectives import Parameters, grads_of, parameters_of

NOT_NORMALISED = 1e-2  # far above rounding errors: float32 has 1e-4 over a million outcomes
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
        ValueError: more than 2^20 outcomes, probabilities that do not add up to 1, or neither theta
            nor f depends on `of`.
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
        _check_normalised(dist, p.sum(0))
        if direct and outcomes.value is not None:
            f_b = outcomes.value.to(p.dtype)
        # f may be infinite where p = 0; `where` alone would give 0 times infinity backwards.
        expectation = (p * torch.where(p > 0, f_b, 0.0)).sum()
        if of is None:
            return torch.autograd.grad(expectation, dist.theta)[0]
        rows = dist.batch_shape[dist.replicas :].numel()
        return as_vector(grads_of([expectation / rows], of))


def _check_normalised(dist: Distribution, total: Tensor) -> None:
    """Probabilities must add up to 1 at theta and at its neighbours, or every gradient is wrong."""
    (derivative,) = torch.autograd.grad(total.sum(), dist.theta, retain_graph=True)
    total, change = total.detach(), float(derivative.abs().max())
    if not max(float((total - 1).abs().max()), change) < NOT_NORMALISED:
        raise ValueError(
            f"{type(dist).__name__}: the probabilities of support() add up to "
            f"{float(total.flatten()[0]):.4g} in the first row, with a derivative in theta of up "
            f"to {change:.2g}. They must add up to 1 at every theta: normalise log_prob, and "
            f"compute it from self.theta in the method, not in __init__"
        )


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
    found = moments(partial(estimator, **settings), f, dist, samples, generator, params)
    rounding = 8 * torch.finfo(dist.theta.dtype).eps
    return BiasTest(exact.double(), found.mean, found.standard_error, samples, rounding)


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
    found = moments_of_each(
        estimators, f, as_distribution(dist), samples, generator, _parameters(of)
    )
    return {name: m.variance for name, m in found.items()}


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
    found = moments_of_each(
        estimators, f, as_distribution(dist), samples, generator, _parameters(of)
    )
    return {name: m.mean.abs() / m.variance.sqrt() for name, m in found.items()}


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

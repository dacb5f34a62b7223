"""The lists that the batteries run over: estimators, distributions and functions to estimate.

A new estimator gets its tests by a row in `relax.ESTIMATORS`; where it takes arguments of its own,
they are listed here.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

import relax as rx
from relax.distributions import Distribution

Function = Callable[[Tensor], Tensor]
ROOT = Path(__file__).parents[1]


@cache
def committed() -> Path | None:
    """A folder with README.md and results/ as git holds them; None where there is no repository.

    Whoever runs an experiment writes into results/, so what lies there says nothing about the pages
    that are committed.
    """
    place = Path(_PLACE.name)
    return place if export_index(ROOT, place) else None


def export_index(root: Path, place: Path) -> bool:
    """Copy README.md and results/ from git's index: what is committed, or will be after git add."""
    listing = ["git", "ls-files", "-z", "README.md", "results"]
    listed = subprocess.run(listing, cwd=root, capture_output=True)
    if listed.returncode or not listed.stdout:
        return False
    command = ["git", "checkout-index", "-z", "--stdin", f"--prefix={place}/"]
    subprocess.run(command, cwd=root, input=listed.stdout, check=True)
    return True


_PLACE = TemporaryDirectory(prefix="committed-")


def smooth_surrogate(dist: Distribution) -> Function:
    """A bounded, smooth c with fixed weights, a tanh net on sigmoid(z / lambda) of the event."""
    event = dist.sample_shape
    weight = torch.linspace(-1.0, 1.3, 3 * event.numel()).reshape(event.numel(), 3)

    def c(z: Tensor) -> Tensor:
        x = torch.sigmoid(z / 0.7).flatten(z.ndim - len(event))
        return torch.tanh(x @ weight + 0.2) @ torch.tensor([0.8, -1.1, 0.6])

    return c


def smooth_stein(linear: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """A fixed phi of rodeo: alpha h and beta h'."""
    return torch.tanh(0.9 * linear - mean), 0.6 * torch.sin(linear + 0.5 * mean)


def own_arguments(name: str, dist: Distribution) -> list[dict]:
    """The settings at which an estimator is tested; eta and lambda away from 1."""
    surrogate = {"c": smooth_surrogate(dist)}
    own: dict[str, list[dict]] = {
        "reinforce": [{}, {"baseline": 0.4}],
        "nvil": [{"baseline": torch.tensor(0.4)}],
        "muprop": [{}, {"baseline": torch.tensor(0.4)}],
        "relax": [surrogate | {"coupled": coupled} for coupled in (False, True)],
        "rebar": [
            {"eta": 0.7, "lambda_": 0.3, "coupled": False},
            {"eta": 1.6, "lambda_": 1.4, "coupled": True},
        ],
        "dlax": [surrogate],
        "lax": [surrogate],
        "concrete": [{"lambda_": 0.5}],
        "rloo": [{}, {"samples": 4}],
        "disarm": [{}, {"samples": 4}],
        "arms": [{"samples": 2}, {"samples": 4}],
        "double_cv": [{"alpha": -0.8, "samples": 3}],
        "rodeo": [{"stein": smooth_stein, "samples": 3}],
        "unbiased_reinmax": [
            {"eta": 0.7, "lambda_": 0.3, "gamma": 0.6},
            {"c": smooth_surrogate(dist), "lambda_": 0.2},
            {"eta": 1.3, "lambda_": 0.4, "samples": 2},
            {"samples": 3},
        ],
        "debiased_reinmax": [{}, {"gamma": 0.6}],
        "carms": [{"samples": 2}, {}],
        "unordered_set": [{}, {"samples": 3}] if dist.event_ndim == 1 else [],
    }
    settings = own.get(name, [{}])
    if name == "rebar" and isinstance(dist, rx.Bernoulli):
        settings = [*settings, {"eta": 0.7, "lambda_": 0.6, "relaxation": "tucker"}]
    return settings


@dataclass(frozen=True)
class Case:
    """An estimator with its own arguments on a distribution."""

    name: str
    dist: str
    index: int
    marks: tuple = field(default=(), compare=False)

    @property
    def id(self) -> str:
        return f"{self.name}-{self.dist}-{self.index}"

    @property
    def unbiased(self) -> bool:
        return rx.ESTIMATORS[self.name].unbiased

    def bind(self, dist: Distribution) -> Callable[..., rx.Estimate]:
        """The estimator with everything but f and the distribution bound."""
        own = own_arguments(self.name, dist)[self.index]
        return partial(rx.ESTIMATORS[self.name].function, **own)


def estimate(case: Case, f: Callable, dist: Distribution) -> rx.Estimate:
    """The case's estimate, always from the same noise."""
    return case.bind(distribution(case.dist))(f, dist, generator=generator())


def rows(case: Case, n: int = 7) -> Distribution:
    return distribution(case.dist).expand(n)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(a: Tensor, b: Tensor, tolerance: float = 1e-12) -> bool:
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance)


def cases(*dists: str, unbiased: bool | None = None) -> list[Case]:
    """Every estimator that accepts these distributions, at each of its settings."""
    found = []
    for dist_name in dists:
        dist = distribution(dist_name)
        for name, entry in rx.ESTIMATORS.items():
            if entry.accepts(dist) and unbiased in (None, entry.unbiased):
                count = len(own_arguments(name, dist))
                found += [Case(name, dist_name, index) for index in range(count)]
    return found


def distribution(name: str) -> Distribution:
    """Distributions with parameters away from symmetry."""
    logits = torch.tensor([[0.9, -1.7, 0.3], [-0.6, 2.1, 1.2]])
    if name == "bernoulli":
        return rx.Bernoulli(torch.tensor([1.3, -0.8, 0.4]))
    if name == "categorical":
        return rx.Categorical(logits[0])
    if name == "categoricals":
        return rx.Categorical(logits, event_ndim=2)
    if name == "plackett_luce":
        return rx.PlackettLuce(torch.tensor([0.9, -0.7, 0.3]))
    return rx.Normal(torch.tensor([0.5, -1.1]), torch.tensor([-0.4, 0.3]))


def unwrap(estimator: Callable) -> tuple[rx.estimate.Estimator, dict]:
    """The estimator behind functools.partial, and the arguments that are bound."""
    if isinstance(estimator, partial):
        return estimator.func, dict(estimator.keywords)
    return estimator, {}


def draw_of(
    estimator: Callable,
    dist: Distribution,
    noise: rx.Noise | None = None,
    generator: torch.Generator | None = None,
) -> rx.Draw:
    """A draw of the estimator's kind, with the number of samples that is bound."""
    function, own = unwrap(estimator)
    sampling = {key: own[key] for key in ("samples", "coupled") if key in own}
    if noise is not None and sampling.pop("coupled", False):
        noise = rx.Noise(noise.u)
    return function.draw(dist, noise=noise, generator=generator, **sampling)


def on(estimator: Callable, f: Callable, draw: rx.Draw) -> rx.Estimate:
    """The estimate from a draw: the bound arguments that belong to sampling are left out."""
    function, own = unwrap(estimator)
    own = {key: value for key, value in own.items() if key not in ("samples", "coupled")}
    return function(f, draw, **own)


def replay(
    estimator: Callable, f: Callable, dist: Distribution, noise: rx.Noise, b: Tensor | None = None
) -> rx.Estimate:
    """The estimate from given noise; a given b takes the place of H(z)."""
    draw = draw_of(estimator, dist, noise)
    return on(estimator, f, draw if b is None else rx.Draw(dist, draw.noise, b, draw.kind))


def without_checks(dist: Distribution) -> Distribution:
    """The distribution with validate=False, for draws whose b is not H(z) on purpose."""
    dist.validate = False
    return dist


def linear(b: Tensor) -> Tensor:
    """Linear in every coordinate: straight-through is exact here."""
    return (b * _ramp(b)).sum(-1)


def quadratic(b: Tensor) -> Tensor:
    """The toy's loss, summed, with an interaction: ReinMax is exact here."""
    x = b * _ramp(b)
    return (x - 0.45).square().sum(-1) + 0.5 * x.sum(-1).square()


def wavy(b: Tensor) -> Tensor:
    """Not quadratic in any coordinate, and not a sum over coordinates."""
    x = b * _ramp(b)
    return torch.sin(3 * x.sum(-1)) + (x**3).sum(-1) + torch.exp(-x.prod(-1))


FUNCTIONS: dict[str, Function] = {"linear": linear, "quadratic": quadratic, "wavy": wavy}


def over_event(f: Function, dist: Distribution) -> Function:
    """f on an event of several axes, flattened to the one axis that f takes."""
    axes = dist.event_ndim
    return (lambda b: f(b.flatten(-axes))) if axes > 1 else f


def _ramp(b: Tensor) -> Tensor:
    return torch.linspace(0.4, 1.1, b.shape[-1], dtype=b.dtype)

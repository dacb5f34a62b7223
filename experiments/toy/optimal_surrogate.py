"""python -m experiments.toy.optimal_surrogate: a learned surrogate beside the best one.

For x ~ N(theta, 1) and one parameter theta, a surrogate without any variance exists. LAX's estimate
is constant, (f - c) s + c' = g with the score s = x - theta and the gradient g = d/dtheta E[f(x)],
if and only if (c p)' = (g - f s) p, so that

    c*(x) = [g F(x) - integral_{-inf}^x f(t) (t - theta) p(t) dt] / p(x)

with the density p and its distribution function F. It is not f: for a quadratic f it is f + 2. With
bits the best that a baseline per coordinate can do is local expectation, which sums every
coordinate out; RELAX's distance from it is measured on eight bits.

Writes results/toy/optimal/: surrogates.csv (f, c* and the learned c), variance.csv (against steps).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

import relax as rx
from relax.replicas import Adam, Streams

THETA = 0.3
SEEDS = 10
BATCH = 64
STEPS = 4000
MEASURED = (0, 10, 30, 100, 300, 1000, 2000, 4000)
GRID = 4000  # points of the quadrature over u
POINTS = 200  # of a drawn curve
WINDOW = 2.5  # standard deviations around theta that are drawn
BITS = 8

COLUMNS = ("f", "estimator", "step", "seed", "variance")
DRAWS = 2000  # gradients behind one variance on bits

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "quadratic": lambda x: x.square(),
    "sine": lambda x: torch.sin(3 * x),
    "step": lambda x: (x > 0.5).to(x.dtype),
}
BIT_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean of bits, squared": lambda b: (b.mean(-1) - 0.45).square(),
    "parity": lambda b: torch.cos(math.pi * b.sum(-1)),
}


class Location(rx.Distribution):
    """x ~ N(theta, 1) with one parameter per coordinate."""

    continuous = True

    def reparameterize(self, u: Tensor) -> Tensor:
        return self.theta + math.sqrt(2) * torch.erfinv(2 * u - 1)

    def hard(self, z: Tensor) -> Tensor:
        return z

    def log_prob(self, b: Tensor) -> Tensor:
        return -0.5 * (b - self.theta).square() - 0.5 * math.log(2 * math.pi)


def quadrature() -> Tensor:
    """Points x that are equally likely under N(THETA, 1), in rising order, [GRID]."""
    u = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
    return THETA + math.sqrt(2) * torch.erfinv(2 * u - 1)


def optimal(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """c* at the points of `quadrature`."""
    density = torch.exp(-0.5 * (x - THETA).square()) / math.sqrt(2 * math.pi)
    products = f(x) * (x - THETA)
    gradient = products.mean()
    below = (torch.cumsum(gradient - products, 0) - 0.5 * (gradient - products)) / GRID
    return below / density


def variance(f: Callable[[Tensor], Tensor], c: Tensor, dc: Tensor, x: Tensor) -> Tensor:
    """The variance of LAX's estimate with values c and derivatives dc [R, GRID], [R]."""
    return ((f(x) - c) * (x - THETA) + dc).var(-1, unbiased=False)


def with_derivative(c: rx.surrogates.MLPSurrogate, z: Tensor) -> tuple[Tensor, Tensor]:
    """c and dc/dz at z [R, N, 1], in double precision, [R, N] each."""
    value, derivative = c.value_and_grad(z)
    return value.detach().double(), derivative.detach().double().squeeze(-1)


def train_continuous(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit c to one f with SEEDS seeds: the surrogates at the end, the variances on the way."""
    f, x = FUNCTIONS[name], quadrature()
    c, noise, optimizer = prepared(1)
    theta = torch.full((SEEDS, BATCH, 1), THETA)
    points = x.float().expand(SEEDS, -1)[..., None]
    nothing = torch.zeros_like(x)
    rows = [(name, "reinforce", 0, 0, float(variance(f, nothing, nothing, x)))]
    for step in range(STEPS + 1):
        if step in MEASURED:
            value, derivative = with_derivative(c, points)
            found = variance(f, value, derivative, x).tolist()
            rows += [(name, "lax", step, seed, one) for seed, one in enumerate(found)]
        dist = Location(theta, replicas=1)
        est = rx.lax(lambda b: f(b).squeeze(-1), dist, c=c, generator=noise)
        improve(c, est, optimizer)
    shown = (x - THETA).abs() < WINDOW
    table = {"f": name, "x": x, "value": f(x), "optimal": optimal(f, x)}
    for label, level in (("q10", 0.1), ("median", 0.5), ("q90", 0.9)):
        table[label] = value.quantile(level, dim=0)
    curves = pd.DataFrame(table)[shown.numpy()].iloc[:: GRID // POINTS]
    return curves, pd.DataFrame(rows, columns=COLUMNS)


def train_bits(name: str) -> pd.DataFrame:
    """Fit RELAX's c to one f of BITS bits, beside REINFORCE and local expectation."""
    f = BIT_FUNCTIONS[name]
    c, noise, optimizer = prepared(BITS)
    logits = torch.linspace(-1, 1, BITS).expand(SEEDS, BATCH, BITS)
    relax = partial(rx.relax, c=c, coupled=True)
    rows = []

    def measure(label: str, estimator: Callable[..., rx.Estimate], step: int) -> None:
        dist = rx.Bernoulli(logits[:, :1].expand(-1, DRAWS, -1), replicas=1)
        grad = estimator(f, dist, generator=noise).grad.detach().double()
        found = grad.var(1).sum(-1).tolist()
        rows.extend((name, label, step, seed, one) for seed, one in enumerate(found))

    measure("reinforce", rx.reinforce, 0)
    measure("local_expectation", rx.local_expectation, 0)
    for step in range(STEPS + 1):
        if step in MEASURED:
            measure("relax", relax, step)
        improve(c, relax(f, rx.Bernoulli(logits, replicas=1), generator=noise), optimizer)
    return pd.DataFrame(rows, columns=COLUMNS)


def prepared(features: int) -> tuple[rx.surrogates.MLPSurrogate, Streams, Adam]:
    """The surrogate of every seed, its noise, and its optimiser."""
    weights = [torch.Generator().manual_seed(2 * seed + 1) for seed in range(SEEDS)]
    c = rx.surrogates.mlp(features, hidden=64, layers=2, replicas=SEEDS, generator=weights)
    return c, Streams([2 * seed for seed in range(SEEDS)]), Adam(c.parameters(), 0.003)


def improve(c: rx.surrogates.MLPSurrogate, est: rx.Estimate, optimizer: Adam) -> None:
    """One step of phi on the variance of the estimate; theta stays where it is."""
    parameters = list(c.parameters())
    grads = torch.autograd.grad(rx.variance_objective(est), parameters)
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = grad
    optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    folder = parser.parse_args().results / "toy" / "optimal"
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    curves, variances = zip(*map(train_continuous, FUNCTIONS), strict=True)
    tables = {
        "surrogates": pd.concat(curves),
        "variance": pd.concat([*variances, *map(train_bits, BIT_FUNCTIONS)]),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    print(f"surrogates.csv and variance.csv: {folder}")


if __name__ == "__main__":
    main()

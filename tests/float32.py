"""The bias of an estimator in float32, by quadrature over the numbers that the noise can take.

`torch.rand` returns one of the 2^24 multiples of 2^-24 in [0, 1). Near the jump of H and near both
ends every one of them is summed; in between, where an estimate is smooth in the noise, panels of
doubling width are summed by Gauss-Legendre. Everything is evaluated in float32, the sum taken in
float64, and compared with the exact gradient in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

import relax as rx
from relax.distributions import open_interval
from relax.distributions.draw import INDEPENDENT
from relax.sampling import ANTITHETIC, COPULA
from tests.helpers import FUNCTIONS, Case, distribution, draw_of, on

CELLS = 2**24
WHOLE, ORDER = 512, 8  # panels of which every number is summed; nodes in the others
COARSE = 48, 4  # the same where the noise has two or three axes
CHUNK = 2**20


def largest_relative_bias(case: Case, logit: float, axes: int = 2) -> float | None:
    """Over the functions, at +logit and -logit; None where the noise has more axes than that."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        return max(
            abs(mean / exact(name, sign * logit) - 1)
            for sign in (-1, 1)
            for name, mean in means(case, sign * logit, axes)
        )
    except NotImplementedError:
        return None
    finally:
        torch.set_default_dtype(before)


def exact(name: str, logit: float) -> float:
    dist = rx.Bernoulli(torch.tensor([logit], dtype=torch.float64))
    return float(rx.exact_gradient(FUNCTIONS[name], dist))


def means(case: Case, logit: float, axes: int) -> Iterator[tuple[str, float]]:
    """E[grad] for every function."""
    estimator = case.bind(rx.Bernoulli(torch.tensor([logit])))
    draw = draw_of(estimator, distribution("bernoulli"))
    if draw.kind == INDEPENDENT and draw.samples > 1 and draw.coupled:
        grids = [outcomes(logit)] * draw.samples
    elif draw.samples > 2 or draw.kind not in (INDEPENDENT, ANTITHETIC, COPULA):
        raise NotImplementedError
    else:
        several = not draw.coupled
        if several and draw.samples >= axes:
            raise NotImplementedError
        grids = [first(logit, several)] + [second(draw.samples)] * (several * draw.samples)
    for name, f in FUNCTIONS.items():
        total = 0.0
        for noise, weight in chunks(grids):
            made = make(draw, noise, logit)
            grad = on(estimator, f, made).grad.detach()[:, 0]
            total += float((weight * grad.double()).sum())
        yield name, total


def make(draw: rx.Draw, noise: list[Tensor], logit: float) -> rx.Draw:
    """A draw of the same kind, one row per combination of the noise."""
    dist = rx.Bernoulli(torch.full((len(noise[0]), 1), logit), validate=False)
    if draw.samples == 1:
        v = None if draw.coupled else noise[1][:, None]
        return rx.Draw(dist, rx.Noise(noise[0][:, None], v))
    if draw.kind == INDEPENDENT:
        return rx.Draw(dist, rx.Noise(torch.stack(noise)[..., None]))
    # a pair, u and 1 - u: what the copula of two comes to as well
    u = torch.stack([noise[0], open_interval(1 - noise[0])])[..., None]
    v = None if draw.coupled else torch.stack(noise[1:])[..., None]
    return rx.Draw(dist, rx.Noise(u, v), kind=draw.kind)


def chunks(grids: list[tuple[Tensor, Tensor]]) -> Iterator[tuple[list[Tensor], Tensor]]:
    """The product of the grids, in pieces of the first one."""
    rest = [len(u) for u, _ in grids[1:]]
    inner = int(np.prod(rest)) if rest else 1
    u, w = grids[0]
    step = max(1, CHUNK // inner)
    for a, b in zip(u.split(step), w.split(step), strict=True):
        index = torch.cartesian_prod(torch.arange(len(a)), *(torch.arange(n) for n in rest))
        index = index.reshape(-1, len(grids)).T
        parts = [(a, b), *grids[1:]]
        noise = [x[i] for (x, _), i in zip(parts, index, strict=True)]
        weight = torch.ones(index.shape[1], dtype=torch.float64)
        for (_, y), i in zip(parts, index, strict=True):
            weight = weight * y[i]
        yield noise, weight


def outcomes(logit: float) -> tuple[Tensor, Tensor]:
    """One u for b = 0 and one for b = 1, with their probabilities: enough for f(b) alone."""
    jump = boundary(logit)
    u = torch.tensor([jump - 1, jump], dtype=torch.float64) / CELLS
    weight = torch.tensor([jump, CELLS - jump], dtype=torch.float64) / CELLS
    return open_interval(u.float()), weight


@lru_cache
def first(logit: float, coarse: bool) -> tuple[Tensor, Tensor]:
    """u on both sides of the jumps of H, at u and at 1 - u."""
    jump = boundary(logit)
    breaks = sorted({0, jump, CELLS - jump, CELLS - jump + 1, CELLS})
    return grid(breaks, *(COARSE if coarse else ()))


@lru_cache
def second(samples: int) -> tuple[Tensor, Tensor]:
    """v on the whole interval; still coarser where there are two."""
    return grid([0, CELLS], *(COARSE if samples == 1 else (4, 3)))


@lru_cache
def boundary(logit: float) -> int:
    """The smallest k at which u = k / 2^24 makes b = 1 in float32."""
    dist, low, high = rx.Bernoulli(torch.tensor([logit])), 0, CELLS
    while low < high:
        middle = (low + high) // 2
        u = open_interval(torch.tensor([middle / CELLS], dtype=torch.float64).float())
        low, high = (
            (low, middle) if bool(dist.hard(dist.reparameterize(u)) > 0) else (middle + 1, high)
        )
    return low


def grid(breaks: list[int], whole: int = WHOLE, order: int = ORDER) -> tuple[Tensor, Tensor]:
    """Numbers of the noise and the share that each stands for."""
    nodes, weights = [], []
    x, w = np.polynomial.legendre.leggauss(order)
    for a, b in panels(breaks, whole):
        if b - a <= whole:
            nodes.append(np.arange(a, b))
            weights.append(np.ones(b - a))
        else:  # cells are centred on their number
            nodes.append((b - a) / 2 * x + (a + b) / 2 - 0.5)
            weights.append((b - a) / 2 * w)
    u = torch.as_tensor(np.concatenate(nodes) / CELLS).float()
    return open_interval(u), torch.as_tensor(np.concatenate(weights) / CELLS)


def panels(breaks: list[int], whole: int) -> Iterator[tuple[int, int]]:
    """From every break outwards, in steps that double."""
    for a, b in zip(breaks[:-1], breaks[1:], strict=True):
        middle, size, low, high = (a + b) // 2, whole, a, b
        while low < middle:
            yield low, min(low + size, middle)
            low, size = min(low + size, middle), 2 * size
        size = whole
        while high > middle:
            yield max(high - size, middle), high
            high, size = max(high - size, middle), 2 * size

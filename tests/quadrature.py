"""The expectation of an estimator over its noise, by quadrature: no randomness, no tolerance."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from torch import Tensor

import relax as rx
from relax import Noise
from tests.helpers import replay, without_checks

NODES = 64


def bernoulli_mean(
    estimator: Callable[..., rx.Estimate], f: Callable, logit: float, kind: type = rx.Bernoulli
) -> Tensor:
    """E[grad] of one Bernoulli over (u, v) in the unit square, Gauss-Legendre.

    The nodes stand on each side of the jump of H, at u = sigmoid(-logit), and of its mirror image,
    where antithetic estimators jump.
    """
    p = float(torch.sigmoid(torch.tensor(logit)))
    u, wu = gauss_legendre(sorted({0.0, p, 1 - p, 1.0}))
    v, wv = gauss_legendre([0.0, 1.0])
    weights = (wu[:, None] * wv).flatten()
    noise = Noise(u.repeat_interleave(NODES)[:, None], v.repeat(len(u))[:, None])
    dist = kind(torch.tensor([logit]).expand(len(weights), 1))
    grad = replay(estimator, f, dist, noise).grad.detach()
    return (weights[:, None] * grad).sum(0)


def normal_mean(
    estimator: Callable[..., rx.Estimate], f: Callable, mean: float, log_std: float
) -> Tensor:
    """E[grad] of one Normal over its standard normal noise, Gauss-Hermite."""
    u, w = (torch.as_tensor(x) for x in np.polynomial.hermite_e.hermegauss(2 * NODES))
    rows = torch.full((len(u), 1), mean), torch.full((len(u), 1), log_std)
    grad = replay(estimator, f, rx.Normal(*rows), Noise(u[:, None])).grad.detach()
    return (w[:, None, None] * grad).sum(0) / w.sum()


def normal_gradient(f: Callable, dist: rx.Normal) -> Tensor:
    """d/dtheta E[f(b)] of two Normals by a Gauss-Hermite grid; f must be smooth."""
    theta = dist.theta.detach().requires_grad_()
    u, w = (torch.as_tensor(x) for x in np.polynomial.hermite_e.hermegauss(2 * NODES))
    grid = torch.stack(torch.meshgrid(u, u, indexing="ij"), dim=-1)
    b = theta[:, 0] + theta[:, 1].exp() * grid
    mean = (w[:, None] * w * f(b)).sum() / w.sum() ** 2
    return torch.autograd.grad(mean, theta)[0]


def mean_over_tuples(
    estimator: Callable[..., rx.Estimate], f: Callable, dist: rx.Discrete, samples: int
) -> Tensor:
    """E[grad] over `samples` independent draws, by enumeration of all K-tuples of outcomes."""
    single = dist.support()
    index = torch.tensor(list(product(range(len(single)), repeat=samples))).T
    b = single[index]  # [K, tuples, *event]
    many = without_checks(dist.expand(b.shape[1]))
    grad = replay(estimator, f, many, many.noise(samples), b).grad.detach()
    p = dist.log_prob(b).reshape(*b.shape[:2], -1).sum((0, 2)).exp()
    return (p.reshape(-1, *(1,) * (grad.ndim - 1)) * grad).sum(0)


def gauss_legendre(breaks: list[float]) -> tuple[Tensor, Tensor]:
    """Nodes and weights on the panels between the breaks."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    nodes, weights = [], []
    for a, b in zip(breaks[:-1], breaks[1:], strict=True):
        nodes.append(torch.as_tensor((b - a) / 2 * x + (a + b) / 2))
        weights.append(torch.as_tensor((b - a) / 2 * w))
    return torch.cat(nodes), torch.cat(weights)

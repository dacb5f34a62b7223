"""The expectation of an estimator over its noise, by quadrature: no randomness, no tolerance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

import relax as rx
from relax.distributions import Noise

NODES = 64


def bernoulli_mean(estimator: Callable[..., rx.Estimate], f: Callable, logit: float) -> Tensor:
    """E[grad] of one Bernoulli over (u, v) in the unit square, Gauss-Legendre.

    The nodes stand on each side of the jump of H, at u = sigmoid(-logit), and of its mirror image,
    where antithetic estimators jump.
    """
    p = float(torch.sigmoid(torch.tensor(logit)))
    u, wu = gauss_legendre(sorted({0.0, p, 1 - p, 1.0}))
    v, wv = gauss_legendre([0.0, 1.0])
    weights = (wu[:, None] * wv).flatten()
    noise = Noise(u.repeat_interleave(NODES)[:, None], v.repeat(len(u))[:, None])
    dist = rx.Bernoulli(torch.tensor([logit]).expand(len(weights), 1))
    grad = estimator(f, dist, noise=noise).grad.detach()
    return (weights[:, None] * grad).sum(0)


def normal_mean(
    estimator: Callable[..., rx.Estimate], f: Callable, mean: float, log_std: float
) -> Tensor:
    """E[grad] of one Normal over its standard normal noise, Gauss-Hermite."""
    u, w = (torch.as_tensor(x) for x in np.polynomial.hermite_e.hermegauss(2 * NODES))
    rows = torch.full((len(u), 1), mean), torch.full((len(u), 1), log_std)
    grad = estimator(f, rx.Normal(*rows), noise=Noise(u[:, None])).grad.detach()
    return (w[:, None, None] * grad).sum(0) / w.sum()


def gauss_legendre(breaks: list[float]) -> tuple[Tensor, Tensor]:
    """Nodes and weights on the panels between the breaks."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    nodes, weights = [], []
    for a, b in zip(breaks[:-1], breaks[1:], strict=True):
        nodes.append(torch.as_tensor((b - a) / 2 * x + (a + b) / 2))
        weights.append(torch.as_tensor((b - a) / 2 * w))
    return torch.cat(nodes), torch.cat(weights)

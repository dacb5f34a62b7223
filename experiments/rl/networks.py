"""The networks of all replicas: policies, state values V(s), surrogates c(z, s) and c(a, s).

Every parameter has a replica axis R first; states are [..., R, N, in].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from relax.replicas import MLP


class GaussianPolicy(nn.Module):
    """The mean and the log standard deviation of the actions, [R, N, D] each.

    The log standard deviation is a parameter of its own, the same in every state.
    """

    def __init__(self, net: MLP, dimension: int) -> None:
        super().__init__()
        self.net = net
        self.log_std = nn.Parameter(torch.zeros(len(net.layers[0].weight), 1, dimension))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.net(x)
        return mean, self.log_std.expand_as(mean)

    def distribution(self, x: Tensor) -> Normal:
        mean, log_std = self(x)
        return Normal(mean, log_std.exp(), validate_args=False)


class DiscreteSurrogate(nn.Module):
    """c(z, s) = scale * net([s, softmax(z / lambda)]), with scale and lambda learned from 1."""

    def __init__(self, net: MLP) -> None:
        super().__init__()
        self.net = net
        replicas = len(net.layers[0].weight)
        self.log_lambda = nn.Parameter(torch.zeros(replicas, 1, 1))
        self.scale = nn.Parameter(torch.ones(replicas, 1, 1))

    def forward(self, state: Tensor, z: Tensor) -> Tensor:
        """c [..., R, N] at states [R, N, O] and z [..., R, N, C]."""
        soft = torch.softmax(z / self.log_lambda.exp(), -1)
        x = torch.cat([state.expand(*z.shape[:-1], -1), soft], -1)
        return (self.scale * self.net(x)).squeeze(-1)


class ContinuousSurrogate(nn.Module):
    """c(a, s) = net([s, a])."""

    def __init__(self, net: MLP) -> None:
        super().__init__()
        self.net = net

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        """c [R, N] at states [R, N, O] and actions [R, N, D]."""
        return self.net(torch.cat([state, action], -1)).squeeze(-1)


# ---- initial weights of one replica's layer, [in, out] ----


def orthogonal(
    rows: int, columns: int, generator: torch.Generator | None, gain: float = 1.0
) -> Tensor:
    """Orthogonal rows or columns, whichever are fewer, of norm `gain`."""
    normal = torch.randn(max(rows, columns), min(rows, columns), generator=generator)
    q, r = torch.linalg.qr(normal)
    q = q * r.diagonal().sign()
    return gain * (q if rows >= columns else q.T)


def normed_columns(
    rows: int, columns: int, generator: torch.Generator | None, norm: float = 1.0
) -> Tensor:
    """Normal weights, scaled so that every column has this norm."""
    normal = torch.randn(rows, columns, generator=generator)
    return norm * normal / normal.norm(dim=0)

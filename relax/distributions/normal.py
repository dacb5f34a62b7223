"""Independent Gaussians."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from relax.distributions.base import Distribution
from relax.distributions.draw import Noise
from relax.distributions.numerics import RandomSource, random


class Normal(Distribution):
    """Independent Gaussians, b = z = mean + std u, with u standard normal.

    Args:
        mean, log_std: [*batch, *event], broadcast against each other, one of them may be a number;
            theta stacks the two on a new last axis.
        event_ndim, replicas, validate: as in `rx.Distribution`.
    """

    continuous = True

    def __init__(
        self,
        mean: Tensor | float,
        log_std: Tensor | float,
        *,
        event_ndim: int = 1,
        replicas: int = 0,
        validate: bool = True,
    ) -> None:
        like = mean if isinstance(mean, Tensor) else log_std
        if not isinstance(like, Tensor):
            raise TypeError("Normal: the mean or log_std must be a tensor")
        both = [
            x if isinstance(x, Tensor) else torch.full_like(like, x, requires_grad=False)
            for x in (mean, log_std)
        ]
        theta = torch.stack(torch.broadcast_tensors(*both), dim=-1)
        super().__init__(theta, event_ndim=event_ndim, replicas=replicas, validate=validate)
        self.made_from(mean, log_std)

    @property
    def sample_shape(self) -> torch.Size:
        return self.theta.shape[:-1]

    def noise(
        self, samples: int = 1, generator: RandomSource = None, coupled: bool = False
    ) -> Noise:
        return Noise(random("randn", self.sample_shape, samples, self.theta, generator))

    def reparameterize(self, u: Tensor) -> Tensor:
        mean, log_std = self.theta.unbind(-1)
        return mean + log_std.exp() * u

    def hard(self, z: Tensor) -> Tensor:
        return z

    def log_prob(self, b: Tensor) -> Tensor:
        mean, log_std = self.theta.unbind(-1)
        u = (b - mean) * torch.exp(-log_std)
        return -0.5 * u * u - log_std - 0.5 * math.log(2 * math.pi)

    def score(self, b: Tensor) -> Tensor:
        mean, log_std = self.theta.detach().unbind(-1)
        u = (b - mean) * torch.exp(-log_std)
        return torch.stack([u * torch.exp(-log_std), u * u - 1], dim=-1)

    def vjp_z(self, grad: Tensor, z: Tensor, u: Tensor | None = None) -> Tensor:
        mean = self.theta.detach()[..., 0]
        return torch.stack([grad, grad * (z - mean)], dim=-1)

    def mean_and_std(self) -> tuple[Tensor, Tensor]:
        mean, log_std = self.theta.unbind(-1)
        return mean, log_std.exp()

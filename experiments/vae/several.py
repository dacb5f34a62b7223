"""The core's estimators of several samples on a VAE of one stochastic layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

import relax as rx
from experiments.run.errors import check
from experiments.vae.method import Method, Noises
from experiments.vae.models import VAE
from experiments.vae.settings import DoubleCv, Several


class SeveralSamples(Method):
    """Leave-one-out, DisARM, ARMS and Double CV: K samples of b for every image, drawn together.

    f leaves out the direct derivative of log q(b|theta) in theta, which has mean 0 at hard bits.
    """

    def __init__(self, vae: VAE, settings: Several, generators: Sequence[torch.Generator]):
        super().__init__(vae, settings, generators)
        name = settings.core
        check(vae.depth == 1, f"{name} draws its samples for one layer: the model has {vae.depth}")
        self.estimator = rx.ESTIMATORS[name].function
        self.alpha = None
        if isinstance(settings, DoubleCv):
            self.alpha = nn.Parameter(torch.full((len(generators),), settings.alpha))

    def noise(self, batch: int, generator) -> Noises:
        like = self.vae.prior.detach().expand(-1, batch, -1)
        dist = rx.Bernoulli(like, replicas=1, validate=False)
        return [self.estimator.noise(dist, samples=self.settings.samples, generator=generator)]

    def estimates(self, x: Tensor, noise: Noises) -> list[rx.Estimate]:
        dist = rx.Bernoulli(self.vae.encode(0, x), replicas=1, validate=False)
        draw = self.estimator.draw(dist, noise=noise[0], samples=self.settings.samples)
        own = {} if self.alpha is None else {"alpha": self.alpha}
        return [self.estimator(partial(self.f, x, dist.theta.detach()), draw, **own)]

    def f(self, x: Tensor, logits: Tensor, b: Tensor) -> Tensor:
        """The negative ELBO [K, R, B] at b [K, R, B, D]."""
        images = x.expand(*b.shape[:-1], -1)
        return self.vae.score(images, [b], [logits.expand_as(b)]).f

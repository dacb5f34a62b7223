"""The core's estimators that evaluate f at several outcomes, on a VAE of one stochastic layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

import relax as rx
from experiments.run.errors import check
from experiments.vae.method import Method, Noises, f_of_one_layer
from experiments.vae.models import VAE
from experiments.vae.settings import Several


class SeveralSamples(Method):
    """Leave-one-out, ARMS, Double CV and others: samples of b for every image, drawn together."""

    def __init__(self, vae: VAE, settings: Several, generators: Sequence[torch.Generator]):
        super().__init__(vae, settings, generators)
        name = settings.core
        check(vae.depth == 1, f"{name} draws its samples for one layer: the model has {vae.depth}")
        self.accept(name)
        self.estimator = rx.ESTIMATORS[name].function
        starts = {key: getattr(settings, key) for key in settings.learned}
        self.learned = nn.ParameterDict(
            {key: torch.full((len(generators),), start) for key, start in starts.items()}
        )

    def noise(self, batch: int, generator) -> Noises:
        dist, samples = self.vae.prior_of(batch), self.settings.samples
        return [self.estimator.noise(dist, samples=samples, generator=generator)]

    def estimates(self, x: Tensor, noise: Noises) -> list[rx.Estimate]:
        dist = self.vae.distribution(self.vae.encode(0, x))
        draw = self.estimator.draw(dist, noise=noise[0], samples=self.settings.samples)
        # Not **self.learned, which the compiler of torch 2.12 cannot unpack.
        learned = {key: self.learned[key] for key in self.settings.learned}
        return [self.estimator(f_of_one_layer(self.vae, x, dist.theta), draw, **learned)]

"""What every estimator on the VAE has in common, and the pass that samples all layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import relax as rx
from experiments.run.errors import check
from experiments.vae.models import VAE, Sample

Noises = list[rx.Noise]


class Method(nn.Module):
    """An estimator on the VAE: its phi, its noise and its estimates.

    coupled: v is recovered from u (or not needed at all).
    """

    coupled = True

    def __init__(self, vae: VAE, settings: Any, generators: Sequence[torch.Generator]):
        super().__init__()
        self._vae = (vae,)  # in a tuple: its parameters are not phi
        self.settings = settings

    @property
    def vae(self) -> VAE:
        return self._vae[0]

    def accept(self, name: str) -> None:
        """Raise a UserError where an estimator of relax/ is not for this model's latents."""
        latents = self.vae.prior_of(1)
        accepts = rx.ESTIMATORS[name].accepts(latents)
        check(accepts, f"{name} does not accept this model's latents, {type(latents).__name__}")

    def estimates(self, x: Tensor, noise: Noises) -> list[rx.Estimate]:
        """Estimates of the layers' logit gradients; a pure function of x, noise and weights."""
        raise NotImplementedError

    def noise(self, batch: int, generator) -> Noises:
        """Noise [R, B, *event] of every layer."""
        dist = self.vae.prior_of(batch)
        return [dist.noise(1, generator, self.coupled) for _ in range(self.vae.depth)]

    def per_row(self, grad: Tensor, rows: int) -> Tensor:
        """The mean estimate per image [R, B, *event], where the batch has several samples of it."""
        return grad.unflatten(1, (-1, rows)).mean(1)

    def phi(self) -> list[nn.Parameter]:
        """The parameters that the variance objective (or the baseline's error) trains."""
        return [p for p in self.parameters() if p.requires_grad]

    def add_weight_decay(self, batch: int) -> None:
        """Add the gradient of an L2 term to phi's gradients."""


def f_of_one_layer(vae: VAE, x: Tensor, logits: Tensor) -> Callable[[Tensor], Tensor]:
    """The negative ELBO [(K,) R, B] as a function of the latents b [(K,) R, B, *event]."""
    logits = vae.own_logits(logits)

    def f(b: Tensor) -> Tensor:
        images = x.expand(*b.shape[: b.ndim - logits.ndim], *x.shape)
        return vae.score(images, [b], [logits.expand_as(b)]).f

    return f


def hard_pass(vae: VAE, x: Tensor, noise: Noises) -> tuple[list[rx.Draw], Sample]:
    """Draws of b_1 .. b_L by ancestral sampling, and the ELBO's terms there."""
    draws, below = [], x
    for layer in range(vae.depth):
        dist = vae.distribution(vae.encode(layer, below))
        draws.append(rx.Draw(dist, noise[layer]))
        below = draws[layer].b
    logits = [vae.own_logits(draw.dist.theta) for draw in draws]
    return draws, vae.score(x, [draw.b for draw in draws], logits)

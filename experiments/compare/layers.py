"""Layers of trained VAEs on which estimators are compared.

A problem has `dist` (rows of logits), `f(b)`, `relaxed(h, lambda_)` (a smooth relaxation of f; f
itself where `smooth`), `redraw()` (new noise inside f, where f has noise) and `context` (what a
surrogate may see in addition to z, or None).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

import relax as rx
from experiments.vae.data import Images
from experiments.vae.models import VAE

FIT_ROWS = 24  # images in a batch that phi is fitted on
CHUNK = 2**18  # numbers that fit a cache, where flips go through the decoder


class Layer:
    """One layer of a VAE with one replica on images x, with everything else fixed.

        f(b_l) = -ELBO with b_1 .. b_{l-1} fixed and b_{l+1} .. b_L drawn from fixed noise

    So the gradient of E[f] in the layer's logits can be estimated by every estimator of relax/,
    also by those that no training step uses, such as local expectations.

    Args:
        layer: l, counted from 0. x: [B, pixels]. generator: of all noise.
        attached: leave the layer's logits attached to the encoder. f still leaves out the direct
            derivative of log q(b|logits), which has mean 0 at hard bits and only adds noise.

    Attributes:
        dist: of the layer, logits [B, *event]. Latents are [..., B, *event] and f is [..., B].
        context: x and the bits below [B, C], what a surrogate may see in addition to z.
    """

    def __init__(
        self,
        vae: VAE,
        layer: int,
        x: Tensor,
        generator: torch.Generator,
        attached: bool = False,
    ) -> None:
        self.vae, self.layer, self.x, self.generator = vae, layer, x[None], generator
        self.smooth = layer == vae.depth - 1  # f may be relaxed: no bits above that jump
        self.cheap_flips = vae.depth == 1 and len(vae.decoder[0].layers) == 1
        self.latents: list[Tensor] = []
        self.redraw()
        with torch.set_grad_enabled(attached):
            self.logits = [vae.encode(0, self.x)]
            for k in range(layer):
                self.latents.append(self._draw(k, self.logits[k]).b)
                self.logits.append(vae.encode(k + 1, self.latents[k]))
        self.context = torch.cat([2 * b[0] - 1 for b in (self.x, *self.latents)], -1)
        own = vae.distribution(self.logits[-1])
        self.dist = type(own)(own.theta[0], event_ndim=own.event_ndim)

    def redraw(self) -> None:
        """Draw new noise for the bits above."""
        dist = self.vae.prior_of(self.x.shape[1])
        self.noise = [dist.noise(1, self.generator, coupled=True) for _ in range(self.vae.depth)]

    def f(self, b: Tensor) -> Tensor:
        """-ELBO at these latents; its derivative takes the bits above for their means."""

        def hard(k: int, a: Tensor) -> Tensor:
            mean = self.vae.squash(a)
            return self._draw(k, a).b + mean - mean.detach()

        return self._negative_elbo(b, hard)

    def relaxed(self, h: Tensor, lambda_: Tensor | float = 0.1) -> Tensor:
        """-ELBO at relaxed latents h, those above relaxed as well: a smooth function of h."""
        return self._negative_elbo(h, lambda k, a: self.vae.squash(self._draw(k, a).z / lambda_))

    def flips(self, b: Tensor) -> Tensor:
        """f with each bit flipped in turn, like b, where a linear decoder makes it cheap."""
        decoder, prior = self.vae.decoder[0].layers[0], self.vae.prior[0]
        weight = decoder.weight[0]
        step = 1 - 2 * b  # what a flip adds to the bit
        logits = self.vae.decode(0, b.unsqueeze(-3)).squeeze(-3)
        log_q_prior = step * (self.dist.theta - prior)
        pixels_on = 2 * step * (self.x[0] @ weight.T)
        off = -logits
        change = log_q_prior - pixels_on + logsigmoid(off).sum(-1, keepdim=True)
        rows = max(1, CHUNK // logits.numel())
        for some in torch.arange(b.shape[-1]).split(rows):
            moved = torch.addcmul(off.unsqueeze(-2), -2 * step[..., some, None], weight[some])
            change[..., some] -= logsigmoid(moved).sum(-1)  # log p(pixel off)
        return self.f(b).unsqueeze(-1) + change

    def _draw(self, layer: int, logits: Tensor) -> rx.Draw:
        """The latents of a layer at these logits [..., 1, B, *event], from its noise."""
        u = self.noise[layer].u.expand_as(logits)
        return rx.Draw(self.vae.distribution(logits), rx.Noise(u))

    def _negative_elbo(self, b: Tensor, above: Callable[[int, Tensor], Tensor]) -> Tensor:
        b = b.unsqueeze(-2 - self.dist.event_ndim)  # the replica axis of the VAE
        latents = [*(lower.expand_as(b) for lower in self.latents), b]
        logits = [a.detach() for a in self.logits]
        return self.vae.complete(self.x, latents, logits, above).f.squeeze(-2)


def other_images(
    vae: VAE, layer: int, images: Images, generator: torch.Generator
) -> Callable[[], Layer]:
    """A function that returns the layer on another random batch at every call."""

    def draw() -> Layer:
        x = images.train[torch.randint(len(images.train), (FIT_ROWS,), generator=generator)]
        x = (torch.rand(x.shape, generator=generator) < x).to(x.dtype) if images.dynamic else x
        return Layer(vae, layer, x, generator)

    return draw

"""One layer of a trained VAE as a problem for any estimator: f of its bits, everything else fixed.

    f(b_l) = -ELBO with b_1 .. b_{l-1} fixed and b_{l+1} .. b_L drawn anew from fixed noise

Every estimator of relax/ can be asked for the gradient of E[f] in the layer's logits, also those
that no training step uses, such as local expectations.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

import relax as rx
from experiments.vae.models import VAE

CHUNK = 2**18  # numbers at once where flips go through the decoder: what a cache holds


class Layer:
    """f and its relaxation for layer `layer` (from 0) of a VAE with one replica, on images x.

    dist: the layer's Bernoulli, logits [B, D]; constants, unless `attached` to the encoder (then f
    still leaves out the direct slope of log q(b|logits), which no estimator needs at hard bits).
    context: x and the bits below, [B, C], what a surrogate may see beside z.
    Bits are [..., B, D], f is [..., B].
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
        self.logits: list[Tensor] = []
        below = self.x
        with torch.set_grad_enabled(attached):
            self.redraw()
            for k in range(layer + 1):
                self.logits.append(vae.encode(k, below))
                self.latents.append(self._hard(self.logits[k], self.noise[k]))
                below = self.latents[k]
        self.latents.pop()
        self.context = torch.cat([2 * b[0] - 1 for b in (self.x, *self.latents)], -1)
        self.dist = rx.Bernoulli(self.logits[-1][0])

    def redraw(self) -> None:
        """New noise for the bits above."""
        shape = (1, self.x.shape[1], self.vae.prior.shape[-1])
        uniform = [torch.rand(shape, generator=self.generator) for _ in range(self.vae.depth)]
        self.noise = [torch.logit(u.clamp(1e-7, 1 - 1e-7)) for u in uniform]

    def f(self, b: Tensor) -> Tensor:
        """-ELBO at these bits; as derivative in b, the bits above pass on that of their mean."""
        return self._negative_elbo(b, self._hard)

    def relaxed(self, h: Tensor, lambda_: Tensor | float = 0.1) -> Tensor:
        """-ELBO at relaxed bits h, those above relaxed as well: a smooth function of h."""
        return self._negative_elbo(h, lambda a, noise: torch.sigmoid((a + noise) / lambda_))

    def flips(self, b: Tensor) -> Tensor:
        """f with each bit flipped in turn, like b, where a linear decoder makes it cheap."""
        decoder, prior = self.vae.decoder[0].layers[0], self.vae.prior[0]
        weight = decoder.weight[0]
        turn = 1 - 2 * b  # what a flip adds to the bit
        logits = self.vae.decode(0, b.unsqueeze(-3)).squeeze(-3)
        log_q_prior = turn * (self.dist.theta - prior)
        pixels_on = 2 * turn * (self.x[0] @ weight.T)
        off = -logits
        change = log_q_prior - pixels_on + logsigmoid(off).sum(-1, keepdim=True)
        rows = max(1, CHUNK // logits.numel())
        for some in torch.arange(b.shape[-1]).split(rows):
            moved = torch.addcmul(off.unsqueeze(-2), -2 * turn[..., some, None], weight[some])
            change[..., some] -= logsigmoid(moved).sum(-1)  # log p(pixel off)
        return self.f(b).unsqueeze(-1) + change

    @staticmethod
    def _hard(a: Tensor, noise: Tensor) -> Tensor:
        mean = torch.sigmoid(a)
        return (a + noise > 0).to(a.dtype) + mean - mean.detach()

    def _negative_elbo(self, b: Tensor, above) -> Tensor:
        b = b.unsqueeze(-3)  # the replica axis of the VAE
        latents = [*(lower.expand_as(b) for lower in self.latents), b]
        logits = [a.detach() for a in self.logits]  # log q's own slope b - p has mean 0: only noise
        for k in range(self.layer + 1, self.vae.depth):
            logits.append(self.vae.encode(k, latents[-1]))
            latents.append(above(logits[k], self.noise[k]))
        return self.vae.score(self.x, latents, logits).f.squeeze(-2)

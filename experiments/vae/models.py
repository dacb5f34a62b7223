"""The paper's sigmoid belief networks: L layers of discrete latents between images and a prior.

    q(b_1|x) q(b_2|b_1) ... q(b_L|b_{L-1})        p(b_L) p(b_{L-1}|b_L) ... p(x|b_1)

f(b, x) is the negative single-sample ELBO. Inputs of the networks are x - mean(x) and 2b - 1; the
image logits get logit(mean(x)) added; the prior's logits are learned. (Appendix of the paper.) The
models `benchmark` and `categorical` have none of this. Latents are bits; those of `categorical` are
choices of one class of ten, one-hot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import relax as rx
from experiments.run.errors import check, known
from relax.replicas import MLP


class Architecture(NamedTuple):
    """layers: stochastic layers. hidden: hidden layers of each map, with their activation.

    centred: as above; otherwise x and b are fed as they are, the image logits have no offset, and
        the prior is fixed and uniform.
    classes: of every latent variable, which takes so many units of its layer; 0 means bits.
    """

    layers: int
    hidden: int
    activation: str = "tanh"
    centred: bool = True
    classes: int = 0


MODELS = {
    "linear1": Architecture(1, 0),
    "linear2": Architecture(2, 0),
    "nonlinear": Architecture(1, 2),
    "benchmark": Architecture(1, 2, "leaky_relu", centred=False),  # of Shi et al. (2022)
    "categorical": Architecture(1, 2, "leaky_relu", centred=False, classes=10),
}


@dataclass(frozen=True)
class Sample:
    """One pass through the model: latents b_1..b_L, their logits under q, and the ELBO's terms.

    log_q: log q(b_l|b_{l-1}), log_p: log p(b_{l-1}|b_l) with b_0 = x, one per layer;
    log_prior: log p(b_L).
    """

    latents: list[Tensor]
    logits: list[Tensor]
    log_q: list[Tensor]
    log_p: list[Tensor]
    log_prior: Tensor

    @property
    def f(self) -> Tensor:
        """The negative ELBO of every example, [..., R, B]."""
        return reduce(add, self.log_q) - reduce(add, self.log_p) - self.log_prior


class VAE(nn.Module):
    """R replicas of one model.

    Args:
        mean: the mean training image, [pixels].
        latents: units of a layer of latents. hidden: units of a hidden layer.
        generators: one per replica.
        direct_gradient: whether the gradient of f contains that of log q(b|logits) in its own
            logits at a fixed b, which has mean 0: noise, which the authors' code carries.

    Attributes:
        event: the shape of one layer of latents, [latents] or [variables, classes].
    """

    def __init__(
        self,
        name: str,
        mean: Tensor,
        latents: int = 200,
        hidden: int = 200,
        generators: Sequence[torch.Generator] = (),
        direct_gradient: bool = True,
    ):
        super().__init__()
        known(name, MODELS, "model")
        layers, depth, activation, self.centred, self.classes = MODELS[name]
        self.latents, self.direct_gradient = latents, direct_gradient
        self.event = torch.Size([latents])
        if self.classes:
            check(
                latents % self.classes == 0,
                f"latents={latents}: model={name} needs a multiple of its {self.classes} classes",
            )
            self.event = torch.Size([latents // self.classes, self.classes])
        replicas, pixels = len(generators), len(mean)
        inner = [hidden] * depth

        def network(n_in: int, n_out: int) -> MLP:
            return MLP([n_in, *inner, n_out], activation, replicas, generators)

        widths = [pixels] + [latents] * layers
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.encoder = nn.ModuleList(network(below, above) for below, above in pairs)
        self.decoder = nn.ModuleList(network(above, below) for below, above in pairs)
        prior = torch.zeros(replicas, 1, *self.event)
        if self.centred:
            self.prior = nn.Parameter(prior)
        else:
            self.register_buffer("prior", prior)
        self.register_buffer("mean", mean.clone())
        self.register_buffer("offset", torch.logit(mean.clamp(0.001, 0.999)))

    @property
    def depth(self) -> int:
        """The number of stochastic layers."""
        return len(self.encoder)

    def distribution(self, logits: Tensor) -> rx.Discrete:
        """The latents of a layer with these logits [R, B, *event]."""
        if self.classes:
            return rx.Categorical(logits, event_ndim=2, replicas=1, validate=False)
        return rx.Bernoulli(logits, replicas=1, validate=False)

    def prior_of(self, rows: int) -> rx.Discrete:
        """The top layer's prior for a batch of so many rows, as a constant."""
        return self.distribution(self.prior.detach().expand(-1, rows, *self.event))

    def squash(self, x: Tensor) -> Tensor:
        """The relaxation of latents: softmax over classes, or the sigmoid."""
        return torch.softmax(x, -1) if self.classes else torch.sigmoid(x)

    def own_logits(self, logits: Tensor) -> Tensor:
        """Logits at which f takes log q of the latents that were drawn from them."""
        return logits if self.direct_gradient else logits.detach()

    def units(self, b: Tensor) -> Tensor:
        """Latents [..., *event] as the inputs of a network, [..., latents]."""
        return b.flatten(-2) if self.classes else b

    def encoder_input(self, layer: int, below: Tensor) -> Tensor:
        if not self.centred:
            return self.units(below) if layer else below
        return below - self.mean if layer == 0 else 2 * below - 1

    def encode(self, layer: int, below: Tensor) -> Tensor:
        """Logits of q(b_layer | below); layers count from 0, `below` is x or b_{layer-1}."""
        logits = self.encoder[layer](self.encoder_input(layer, below))
        return logits.unflatten(-1, self.event) if self.classes else logits

    def decode(self, layer: int, above: Tensor) -> Tensor:
        """Logits of p(b_{layer-1} | b_layer = above), of the image for layer 0."""
        if not self.centred:
            return self.decoder[layer](self.units(above))
        logits = self.decoder[layer](2 * above - 1)
        return logits + self.offset if layer == 0 else logits

    def score(
        self, x: Tensor, latents: list[Tensor], logits: list[Tensor], first: int = 0
    ) -> Sample:
        """The ELBO's terms at latents that were drawn from, or relaxed around, these logits.

        first: leave out the terms of the layers below this one.
        """
        below, layers = [x, *latents], range(first, self.depth)
        log_q = [self.log_prob(latents[k], logits[k]) for k in layers]
        log_p = [log_prob(below[k], self.decode(k, latents[k])) for k in layers]
        return Sample(latents, logits, log_q, log_p, self.log_prob(latents[-1], self.prior))

    def log_prob(self, b: Tensor, logits: Tensor) -> Tensor:
        """log p(b | logits) of one layer of latents, [..., R, B]; b may be relaxed."""
        if self.classes:
            return (b * torch.log_softmax(logits, -1)).sum((-2, -1))
        return log_prob(b, logits)

    def complete(
        self,
        x: Tensor,
        latents: list[Tensor],
        logits: list[Tensor],
        above: Callable[[int, Tensor], Tensor],
        first: int = 0,
    ) -> Sample:
        """Continue a pass from the latents of the lower layers to the top, and score it.

        above: (layer, its logits) -> its latents, for the layers that `latents` does not have.
        first: as in `score`.
        """
        latents, logits = [*latents], [*logits]
        for layer in range(len(latents), self.depth):
            logits.append(self.encode(layer, latents[-1]))
            latents.append(above(layer, logits[layer]))
        return self.score(x, latents, logits, first)

    def generate(self, top: Tensor, uniform: list[Tensor]) -> Tensor:
        """Image probabilities from a draw of b_L down, given uniform noise for the layers below."""
        b = top
        for layer in reversed(range(1, self.depth)):
            b = (uniform[layer - 1] < torch.sigmoid(self.decode(layer, b))).to(b.dtype)
        return torch.sigmoid(self.decode(0, b))


def log_prob(b: Tensor, logits: Tensor) -> Tensor:
    """log p(b | logits) of bits, the last axis summed; b may be relaxed."""
    if logits.shape != b.shape:  # the prior's logits, which all rows share
        return rx.Bernoulli(logits, validate=False).log_prob(b).sum(-1)
    return -binary_cross_entropy_with_logits(logits, b, reduction="none").sum(-1)

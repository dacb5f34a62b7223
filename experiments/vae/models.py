"""The paper's sigmoid belief networks: L layers of Bernoulli latents between images and a prior.

    q(b_1|x) q(b_2|b_1) ... q(b_L|b_{L-1})        p(b_L) p(b_{L-1}|b_L) ... p(x|b_1)

f(b, x) is the negative single-sample ELBO. Inputs of the networks are x - mean(x) and 2b - 1; the
image logits get logit(mean(x)) added; the prior's logits are learned. (Appendix of the paper.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import gcd
from operator import add, mul

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import relax as rx
from experiments.run.errors import UserError
from experiments.vae.networks import Network

MODELS = {  # name -> stochastic layers, hidden tanh layers of each map
    "linear1": (1, 0),
    "linear2": (2, 0),
    "nonlinear": (1, 2),
}


@dataclass(frozen=True)
class Sample:
    """One pass through the model: latents b_1..b_L, their logits under q, and the ELBO's terms.

    log_q[l] = log q(b_l|b_{l-1}), log_p[l] = log p(b_{l-1}|b_l) with b_0 = x;
    log_prior = log p(b_L).
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
    """R replicas of one model. `mean` [pixels]: the mean training image."""

    def __init__(
        self,
        name: str,
        mean: Tensor,
        latents: int = 200,
        hidden: int = 200,
        generators: Sequence[torch.Generator] = (),
    ):
        super().__init__()
        if name not in MODELS:
            raise UserError(f"model={name}: known are {', '.join(MODELS)}")
        layers, depth = MODELS[name]
        replicas, pixels = len(generators), len(mean)
        inner = [hidden] * depth

        def network(n_in: int, n_out: int) -> Network:
            return Network([n_in, *inner, n_out], "tanh", replicas, generators)

        widths = [pixels] + [latents] * layers
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.encoder = nn.ModuleList(network(below, above) for below, above in pairs)
        self.decoder = nn.ModuleList(network(above, below) for below, above in pairs)
        self.prior = nn.Parameter(torch.zeros(replicas, 1, latents))
        self.register_buffer("mean", mean.clone())
        self.register_buffer("offset", torch.logit(mean.clamp(0.001, 0.999)))

    @property
    def depth(self) -> int:
        """The number of stochastic layers."""
        return len(self.encoder)

    def encoder_input(self, layer: int, below: Tensor) -> Tensor:
        return below - self.mean if layer == 0 else 2 * below - 1

    def encode(self, layer: int, below: Tensor) -> Tensor:
        """Logits of q(b_layer | below); layers count from 0, `below` is x or b_{layer-1}."""
        return self.encoder[layer](self.encoder_input(layer, below))

    def decode(self, layer: int, above: Tensor) -> Tensor:
        """Logits of p(b_{layer-1} | b_layer = above), of the image for layer 0."""
        logits = self.decoder[layer](2 * above - 1)
        return logits + self.offset if layer == 0 else logits

    def score(self, x: Tensor, latents: list[Tensor], logits: list[Tensor]) -> Sample:
        """The ELBO's terms of latents that were drawn from (or relaxed around) these logits."""
        log_q = [log_prob(b, a) for b, a in zip(latents, logits, strict=True)]
        below = [x, *latents[:-1]]
        log_p = [log_prob(below[k], self.decode(k, latents[k])) for k in range(self.depth)]
        return Sample(latents, logits, log_q, log_p, log_prob(latents[-1], self.prior))

    def generate(self, top: Tensor, uniform: list[Tensor]) -> Tensor:
        """Image probabilities from a draw of b_L down, given uniform noise for the layers below."""
        b = top
        for layer in reversed(range(1, self.depth)):
            b = (uniform[layer - 1] < torch.sigmoid(self.decode(layer, b))).to(b.dtype)
        return torch.sigmoid(self.decode(0, b))


def log_prob(b: Tensor, logits: Tensor) -> Tensor:
    """log p(b | logits) of the joint event, the last axis summed; b may be relaxed."""
    if logits.shape != b.shape:  # the prior's, the same for every row
        return rx.Bernoulli(logits, validate=False).log_prob(b).sum(-1)
    if torch.compiler.is_compiling():
        return OnePass.apply(b, logits)[0]
    return -binary_cross_entropy_with_logits(logits, b, reduction="none").sum(-1)


def log_prob_and_slope(b: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """log p(b | logits) and its derivative in the logits."""
    if torch.compiler.is_compiling():
        return OnePass.apply(b, logits)
    return log_prob(b, logits), b - torch.sigmoid(logits)


class OnePass(torch.autograd.Function):
    """`log_prob_and_slope` for torch.compile: one exponential a bit, a logarithm for several.

    log p = sum_d b_d y_d - max(y_d, 0) - log(1 + e_d) with e = exp(-|y|), where the last sum is
    taken as the logarithm of products of up to 16 factors, each between 1 and 2.
    """

    @staticmethod
    def forward(ctx, b: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        e = torch.exp(-logits.abs())
        factors = (1 + e).unflatten(-1, (gcd(b.shape[-1], 16), -1)).unbind(-2)
        linear = b * logits - torch.relu(logits)
        slope = b - torch.where(logits > 0, 1.0, e) / (1 + e)
        ctx.save_for_backward(b, logits, slope)
        return linear.sum(-1) - reduce(mul, factors).log().sum(-1), slope

    @staticmethod
    def backward(ctx, grad: Tensor, grad_slope: Tensor) -> tuple[Tensor, Tensor]:
        b, logits, slope = ctx.saved_tensors
        p, grad = b - slope, grad.unsqueeze(-1)
        return grad * logits + grad_slope, grad * slope - grad_slope * p * (1 - p)

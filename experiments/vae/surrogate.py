"""The VAE's control variate: c(z_l) = eta_l (f(sigma_lambda(z_l)) + r_l(z_l)), one per layer.

The layers below l keep their hard samples; layer l and all layers above it are relaxed, with the
noise of the hard pass, as in the authors' code. REBAR leaves r out, the surrogate-only form leaves
f out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

import relax as rx
from experiments.vae.models import VAE, Sample
from relax.replicas import MLP, Linear, zeros


class Residual(nn.Module):
    """r_l: hidden layers on z_l and the encoder's inputs up to layer l -> one number per row.

    The first layer is kept in two parts, which start as one layer: `context` is applied once per
    batch and `of_z` is differentiated in z_l.

    inputs: "z" or "sigma" (2 sigma(z / lambda) - 1), and "x". An input that is left out is replaced
        by zeros. With "x" alone r_l is a learned baseline.
    """

    def __init__(
        self,
        context: int,
        latents: int,
        hidden: int,
        depth: int,
        replicas: int,
        generators: Sequence[torch.Generator],
        inputs: Sequence[str] = ("z", "x"),
        activation: str = "relu",
    ):
        super().__init__()
        self.inputs = tuple(inputs)
        self.sees_z = "z" in inputs or "sigma" in inputs
        self.context = Linear(context, hidden, replicas, zeros)
        self.of_z = MLP([latents, *[hidden] * depth, 1], activation, replicas, generators)
        whole = Linear(context + latents, hidden, replicas, generator=generators).weight.detach()
        self.context.weight = nn.Parameter(whole[:, :context].clone())
        self.of_z.layers[0].weight = nn.Parameter(whole[:, context:].clone())

    def forward(self, z: Tensor, context: Tensor, lambda_: Tensor) -> Tensor:
        """r_l(z) [..., R, B] for z [..., R, B, latents]."""
        if "sigma" in self.inputs:
            z = 2 * torch.sigmoid(z / lambda_) - 1
        elif "z" not in self.inputs:
            z = 0 * z
        return self.of_z(z, self.context(context)).squeeze(-1)

    @torch.no_grad()
    def weight_rms(self) -> Tensor:
        """The root mean square of r_l's weights without the biases, [R]."""
        weights = [self.context.weight, *(layer.weight for layer in self.of_z.layers)]
        squares = sum(w.square().flatten(1).sum(-1) for w in weights)
        return (squares / sum(w[0].numel() for w in weights)).sqrt()


@dataclass
class Surrogate:
    """c of one layer for one batch, `c(z)` [..., R, B] for z [..., R, B, *event].

    layer: l, counted from 0. sample: the hard pass. noise, scales: of every layer.
    residual: r_l or None. with_f: whether c contains the relaxed f.
    tucker: relax by sigma(z / lambda + a lambda / (lambda + 1)) instead of sigma(z / lambda).
    """

    vae: VAE
    layer: int
    x: Tensor
    sample: Sample
    noise: Sequence[rx.Noise]
    scales: Sequence[rx.surrogates.Scales]
    residual: Residual | None = None
    with_f: bool = True
    tucker: bool = False

    def __post_init__(self) -> None:
        axes = (1,) * (1 + len(self.vae.event))
        self.lambdas = [scales.lambda_.reshape(-1, *axes) for scales in self.scales]
        self.logits = [a.detach() for a in self.sample.logits[: self.layer + 1]]

    def __call__(self, z: Tensor) -> Tensor:
        eta = self.scales[self.layer].eta[:, None]
        if self.residual is None:
            return eta * self.relaxed_f(z)
        if not self.with_f:
            return eta * self.r(z)
        return eta * (self.relaxed_f(z) + self.r(z))

    def relaxed_f(self, z: Tensor) -> Tensor:
        """f(b_1, .., b_{l-1}, sigma_lambda(z_l), .., sigma_lambda(z_L))."""
        return self.f(self.relax(self.layer, z, self.logits[self.layer]))

    def f(self, s: Tensor) -> Tensor:
        """The negative ELBO at b_1, .., b_{l-1} and s_l, with the layers above relaxed."""
        latents = [*self.sample.latents[: self.layer], s]
        relaxed = self.vae.complete(self.x, latents, self.logits, self.relaxed_sample, self.layer)
        return relaxed.f + self.below()

    def relaxed_sample(self, layer: int, a: Tensor) -> Tensor:
        """sigma_lambda(z) of a layer with logits a, with the noise of the hard pass."""
        return self.relax(layer, a + torch.logit(self.noise[layer].u), a)

    def relax(self, layer: int, z: Tensor, a: Tensor) -> Tensor:
        """sigma_lambda(z), or Tucker's relaxation, of a layer with logits a."""
        lambda_ = self.lambdas[layer]
        z = z / lambda_
        return self.vae.squash(z + a * lambda_ / (lambda_ + 1) if self.tucker else z)

    def below(self) -> Tensor | float:
        """The terms of f below layer l, which do not depend on z_l."""
        k, sample = self.layer, self.sample
        return reduce(add, sample.log_q[:k], 0.0) - reduce(add, sample.log_p[:k], 0.0)

    def r(self, z: Tensor) -> Tensor:
        """r_l(z) at this batch's x and the hard samples of the layers below."""
        lambda_ = self.scales[self.layer].lambda_[:, None, None]
        return self.residual(self.vae.units(z), self.context(), lambda_)

    def context(self) -> Tensor:
        """The inputs of r_l other than z_l. It must not see b_l or the layers above."""
        below = [self.x, *self.sample.latents[: self.layer]]
        x, *others = (self.vae.encoder_input(k, b) for k, b in enumerate(below))
        x = x if "x" in self.residual.inputs else torch.zeros_like(x)
        return torch.cat([x, *others], dim=-1)

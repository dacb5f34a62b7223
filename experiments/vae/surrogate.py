"""The VAE's control variate: c(z_l) = eta_l (f(sigma_lambda(z_l)) + r_l(z_l)), one per layer.

Layers below l stay at their hard samples; layer l and all above it are relaxed, with the layers'
own noise, as in the authors' code. REBAR leaves r out, the surrogate-only form leaves f out.
Everything is a function of phi = (lambda, eta, r's weights) and of constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

import relax as rx
from experiments.vae.models import VAE, Sample, log_prob, log_prob_and_slope
from experiments.vae.networks import Network
from relax.replicas import Linear, uniform_weights


class Residual(nn.Module):
    """r_l: ReLU layers on [x - mean, z_l, 2b_1 - 1, ..., 2b_{l-1} - 1] -> one number per row.

    The first layer's weights are kept in two parts, because only z_l's is ever differentiated.

    inputs: what r_l sees beside the layers below: "z" or "sigma" (2 sigma(z / lambda) - 1), "x".
        An input that it does not see is zero. With "x" alone it is a learned baseline.
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
    ):
        super().__init__()
        self.inputs = tuple(inputs)
        self.sees_z = "z" in inputs or "sigma" in inputs
        self.context = Linear(context, hidden, replicas, "zeros")
        self.of_z = Network([latents, *[hidden] * depth, 1], "relu", replicas, generators)
        fan_in = context + latents
        bound = (6 / (fan_in + hidden)) ** 0.5  # Glorot for the two parts as the one layer they are
        joint = uniform_weights((fan_in, hidden), bound, replicas, generators)
        self.context.weight = nn.Parameter(joint[:, :context].clone())
        self.of_z.layers[0].weight = nn.Parameter(joint[:, context:].clone())

    def forward(self, z: Tensor, context: Tensor, lambda_: Tensor) -> Tensor:
        return self.of_z(self.input(z, lambda_)[0], self.context(context)).squeeze(-1)

    def value_and_grad(self, z: Tensor, context: Tensor, lambda_: Tensor) -> tuple[Tensor, Tensor]:
        """r_l(z) and its gradient in z."""
        seen, derivative = self.input(z, lambda_)
        r, pull = self.of_z.with_pullback(seen, self.context(context))
        return r.squeeze(-1), pull(torch.ones_like(r)) * derivative

    def input(self, z: Tensor, lambda_: Tensor) -> tuple[Tensor, Tensor | float]:
        """What r_l sees of z, and its derivative in z."""
        if "z" in self.inputs:
            return z, 1.0
        if "sigma" in self.inputs:
            x = torch.tanh(z / (2 * lambda_))
            return x, (1 - x * x) / (2 * lambda_)
        return torch.zeros_like(z), 0.0

    @torch.no_grad()
    def weight_rms(self) -> Tensor:
        """The root mean square of r_l's weights, biases left out, [R]."""
        weights = [self.context.weight, *(layer.weight for layer in self.of_z.layers)]
        squares = sum(w.square().flatten(1).sum(-1) for w in weights)
        return (squares / sum(w[0].numel() for w in weights)).sqrt()


@dataclass
class Surrogate:
    """c of one layer for one batch: `c(z)` [..., R, B] and its derivative in closed form.

    layer: l, counted from 0. sample: the hard pass. scales: eta and lambda of every layer.
    residual: r_l or None. with_f: whether c contains the relaxed f.
    """

    vae: VAE
    layer: int
    x: Tensor
    sample: Sample
    noise: Sequence[rx.Noise]  # of every layer
    scales: Sequence[rx.surrogates.Scales]
    residual: Residual | None = None
    with_f: bool = True
    tucker: bool = False  # sigma(z / lambda + a lambda / (lambda + 1)) for sigma(z / lambda)

    def __post_init__(self) -> None:
        self.temperatures = [scales.lambda_[:, None, None] for scales in self.scales]

    def __call__(self, z: Tensor) -> Tensor:
        return self.value_and_grad(z)[0]

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """c(z) and dc/dz, attached to phi alone; `experiments.vae.reference` has the plain form."""
        parts = []
        if self.with_f:
            parts.append(self.relaxed_f_and_grad(z))
        if self.residual is not None:
            lambda_ = self.temperature(self.layer)
            parts.append(self.residual.value_and_grad(z, self.context(), lambda_))
        value, grad = (reduce(add, terms) for terms in zip(*parts, strict=True))
        eta = self.scales[self.layer].eta
        return eta[:, None] * value, eta[:, None, None] * grad

    def context(self) -> Tensor:
        """What r_l sees beside z_l: it must not see b_l or the layers above."""
        below = self.sample.latents[: self.layer]
        sees_x = self.residual is None or "x" in self.residual.inputs
        x = self.x - self.vae.mean if sees_x else torch.zeros_like(self.x)
        return torch.cat([x, *(2 * b - 1 for b in below)], dim=-1)

    def relaxed_f_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """f at sigma_lambda(z_l) and df/dz_l; see `f_and_grad`."""
        s = self.relax(self.layer, z, self.sample.logits[self.layer].detach())
        f, grad = self.f_and_grad(s)
        return f, grad * s * (1 - s) / self.temperature(self.layer)

    def f_and_grad(self, s_l: Tensor) -> tuple[Tensor, Tensor]:
        """f at b_1 .. b_{l-1} hard, s_l and sigma_lambda(z_{l+1}), ..., sigma_lambda(z_L); df/ds_l.

        Back-propagation written out, so that the objective needs one backward pass and no second.
        With f = sum_k log q(s_k|a_k) - log p(s_{k-1}|y_k) - log p(s_L) and log p(t|y) = ty -
        softplus(y) for every Bernoulli: d log p/dt = y, d log p/dy = t - sigmoid(y).
        """
        vae, first, depth = self.vae, self.layer, self.vae.depth
        prior = vae.prior.detach()
        s, a = {first: s_l}, {first: self.sample.logits[first].detach()}
        pull_encoder, y, pull_decoder, slope, grad_z = {}, {}, {}, {}, {}
        for k in range(first + 1, depth):  # the relaxed pass upward
            a[k], pull_encoder[k] = vae.encoder[k].with_pullback(2 * s[k - 1] - 1, constant=True)
            s[k] = self.relax(k, a[k] + torch.logit(self.noise[k].u), a[k])
        terms = self.below()
        for k in range(first, depth):  # and the terms of f
            y[k], pull_decoder[k] = vae.decoder[k].with_pullback(2 * s[k] - 1, constant=True)
            y[k] = y[k] + vae.offset if k == 0 else y[k]
            target = s[k - 1] if k > first else ([self.x] + self.sample.latents)[k]
            log_p, slope[k] = log_prob_and_slope(target, y[k])
            terms += [log_prob(s[k], a[k]) - log_p]
        f = reduce(add, terms) - log_prob(s[depth - 1], prior)
        for k in reversed(range(first, depth)):  # df/ds_k and df/dz_k from the top down
            grad = a[k] - (prior if k == depth - 1 else y[k + 1])
            grad = grad - 2 * pull_decoder[k](slope[k])
            if k < depth - 1:
                grad_a = (
                    grad_z[k + 1] * (1 + self.shift(k + 1)) + s[k + 1] - torch.sigmoid(a[k + 1])
                )
                grad = grad + 2 * pull_encoder[k + 1](grad_a)
            if k > first:
                grad_z[k] = grad * s[k] * (1 - s[k]) / self.temperature(k)
        return f, grad

    def below(self) -> list[Tensor]:
        """f's terms below layer l, which the relaxation does not touch."""
        k, sample = self.layer, self.sample
        return [(q - p).detach() for q, p in zip(sample.log_q[:k], sample.log_p[:k], strict=True)]

    def relax(self, layer: int, z: Tensor, a: Tensor) -> Tensor:
        """sigma_lambda(z), with a's share in Tucker's form."""
        z = z + self.shift(layer) * a if self.tucker else z
        return torch.sigmoid(z / self.temperature(layer))

    def shift(self, layer: int) -> Tensor | float:
        """lambda^2 / (lambda + 1) in Tucker's form, else 0."""
        lambda_ = self.temperature(layer)
        return lambda_ * lambda_ / (lambda_ + 1) if self.tucker else 0.0

    def temperature(self, layer: int) -> Tensor:
        return self.temperatures[layer]


class OfBits(Surrogate):
    """f as a function of layer l's relaxed bits h, as `rx.rao_relax` takes it; no eta, no r."""

    def value_and_grad(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """f(h) and df/dh."""
        return self.f_and_grad(h)

"""Measurements of a VAE: ELBO, the K-sample bound, variance of the gradient, r's share, samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

import relax as rx
from experiments.vae.estimators import ControlVariates
from experiments.vae.method import Method, hard_pass
from experiments.vae.models import VAE
from relax.replicas import Streams

ROWS = 2_000  # rows that go through the model at once; more would only use more memory


@torch.no_grad()
def negative_elbo(vae: VAE, images: Tensor, streams: Streams) -> Tensor:
    """The mean over images [N, pixels] of -ELBO, one sample each, [R]."""
    total = images.new_zeros(len(vae.prior))
    for x in images.split(ROWS):
        total += sample_f(vae, x, streams, 1).sum((0, -1))
    return total / len(images)


@torch.no_grad()
def negative_iwae(vae: VAE, images: Tensor, streams: Streams, samples: int) -> Tensor:
    """The mean over images of -log (1/K) sum_k p(x, b_k)/q(b_k|x), the K-sample bound, [R]."""
    total = images.new_zeros(len(vae.prior))
    for x in images.split(max(1, ROWS // samples)):
        f = sample_f(vae, x, streams, samples)
        total += (math.log(samples) - torch.logsumexp(-f, dim=0)).sum(-1)
    return total / len(images)


def sample_f(vae: VAE, x: Tensor, streams: Streams, samples: int) -> Tensor:
    """f of `samples` draws for every image x [N, pixels]: [K, R, N]."""
    x = x.expand(len(vae.prior), *x.shape)
    noise = []
    for _ in range(vae.depth):
        u = streams.rand(samples, x.shape[1], *vae.event).movedim(1, 0)
        noise.append(rx.Noise(u.clamp(1e-7, 1 - 1e-7)))
    return hard_pass(vae, x, noise)[1].f


def gradient_variance(method: Method, x: Tensor, streams: Streams, samples: int) -> dict:
    """Variances over fresh draws at fixed weights on a fixed batch x [R, B, pixels], each [R].

    logits: of one row's gradient in a layer's logits; summed over units and layers, mean over rows.
    weights: of the batch's gradient in the encoder's weights, as training applies it; summed.
    """
    logits, weights = Moments(), Moments()
    for _ in range(samples):
        estimates, grads = gradients(method, x, streams)
        logits.add([method.per_row(e.grad.detach(), x.shape[1]) for e in estimates])
        weights.add(grads)
    return {"logits": logits.variance() / x.shape[1], "weights": weights.variance()}


def gradients(method: Method, x: Tensor, streams: Streams) -> tuple:
    """One draw: every layer's estimate, and the batch's gradient in the encoder's weights."""
    estimates = method.estimates(x, method.noise(x.shape[1], streams))
    return estimates, rx.gradients(estimates, method.vae.encoder.parameters())


@torch.no_grad()
def residual_share(
    method: ControlVariates, x: Tensor, streams: Streams, draws: int
) -> list[Tensor]:
    """Var(r) / Var(f(sigma_lambda(z)) + r) per layer, each [R]; 0 where the network r is dead.

    The variances are over `draws` samples of z, averaged over the batch x [R, B, pixels].
    """
    shares = []
    for layer in range(len(method.residuals)):
        r, total = [], []
        for _ in range(draws):
            noise = method.noise(x.shape[1], streams)
            drawn, sample = hard_pass(method.vae, x, noise)
            c = method.surrogate(layer, x, sample, noise)
            z = drawn[layer].z
            r.append(c.r(z))
            total.append(r[-1] + c.relaxed_f(z) if c.with_f else r[-1])
        r_variance, variance = (torch.stack(values).var(0).mean(-1) for values in (r, total))
        shares.append(r_variance / variance)
    return shares


class Moments:
    """Running sums over draws of lists of tensors [R, ...]."""

    count, sums = 0, None

    def add(self, tensors) -> None:
        tensors = [t.double().flatten(1) for t in tensors]
        if self.sums is None:
            self.sums = [(torch.zeros_like(t), torch.zeros_like(t)) for t in tensors]
        self.count += 1
        for (first, second), t in zip(self.sums, tensors, strict=True):
            first += t
            second += t * t

    def variance(self) -> Tensor:
        """The variances summed over everything but replicas, [R]."""
        n = self.count
        return sum((second - first**2 / n).sum(-1) / (n - 1) for first, second in self.sums)


@torch.no_grad()
def reconstructions(vae: VAE, x: Tensor, streams: Streams) -> Tensor:
    """Image probabilities after one pass up and down, [R, N, pixels]."""
    x = x.expand(len(vae.prior), *x.shape)
    noise = rx.Noise(streams.rand(x.shape[1], *vae.event).clamp(1e-7, 1 - 1e-7))
    dist = vae.distribution(vae.encode(0, x))
    return torch.sigmoid(vae.decode(0, rx.Draw(dist, noise).b))


@torch.no_grad()
def samples(vae: VAE, count: int, streams: Streams) -> Tensor:
    """Image probabilities of `count` draws from the prior down, [R, N, pixels]."""
    uniform = [streams.rand(count, *vae.event).clamp(1e-7, 1 - 1e-7) for _ in range(vae.depth)]
    top = rx.Draw(vae.prior_of(count), rx.Noise(uniform[-1])).b
    return vae.generate(top, uniform[:-1])

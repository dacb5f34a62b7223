"""The VAE's control variate c(z_l) = eta_l (f(sigma_lambda(z_l)) + r_l(z_l)), term by term."""

import pytest
import torch
from torch import Tensor

from experiments.vae.method import hard_pass
from experiments.vae.models import MODELS
from tests.vaes import BATCH, FORMS, LATENTS, batch, make, negative_elbo, stream


def relaxed(method, layer: int, z: Tensor, a: Tensor) -> Tensor:
    """sigma(z / lambda), or Tucker's sigma((z + a lambda^2 / (lambda + 1)) / lambda)."""
    lambda_ = method.scales[layer].lambda_
    if method.settings.relaxation == "tucker":
        z = z + a * lambda_**2 / (lambda_ + 1)
    return method.vae.squash(z / lambda_)


def r(method, layer: int, z: Tensor, x: Tensor, latents: list[Tensor]) -> Tensor:
    """ReLU layers on the image, z and the bits below; the first layer is kept in parts."""
    network = method.residuals[layer]
    first, *others = network.of_z.layers
    below = [x, *latents[:layer]]
    if method.vae.centred:
        below = [x - method.vae.mean, *(2 * b - 1 for b in latents[:layer])]
    seen = torch.cat(below, -1)
    y = z.reshape(len(z), -1) @ first.weight[0] + first.bias[0] + seen @ network.context.weight[0]
    y = y + network.context.bias[0]
    for linear in others:
        y = torch.relu(y) @ linear.weight[0] + linear.bias[0]
    return y.squeeze(-1)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("name", "own"), FORMS)
def test_c_is_eta_times_the_relaxed_elbo_plus_r(float64, model, name, own):
    """f by torch.distributions, with hard samples below the layer and relaxed ones above it."""
    method, x = make(model, name, 1, **own), batch(1)
    noise = method.noise(BATCH, stream(1))
    _, sample = hard_pass(method.vae, x, noise)
    hard = [b[0] for b in sample.latents]
    for layer in range(method.vae.depth):
        z = torch.randn(BATCH, *method.vae.event)
        latents = [*hard[:layer], relaxed(method, layer, z, sample.logits[layer][0])]
        for k in range(layer + 1, method.vae.depth):
            a = method.vae.encode(k, latents[-1][None])[0]
            latents.append(relaxed(method, k, a + torch.logit(noise[k].u[0]), a))
        wanted = torch.zeros(BATCH)
        if own.get("with_f", True):
            # -ELBO at latents; log q(b_l|x) is at the logits of the hard pass
            wanted = wanted + negative_elbo(method.vae, x[0], latents)
        if name == "relax":
            wanted = wanted + r(method, layer, z, x[0], hard)
        found = method.surrogate(layer, x, sample, noise)(z[None])[0]
        torch.testing.assert_close(found, method.scales[layer].eta * wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["rebar", "relax"])
def test_c_takes_z_and_z_tilde_on_a_first_axis(float64, name):
    method, x = make("linear2", name), batch()
    noise = method.noise(BATCH, stream(2))
    _, sample = hard_pass(method.vae, x, noise)
    z = torch.randn(2, 2, BATCH, LATENTS)
    for layer in range(2):
        c = method.surrogate(layer, x, sample, noise)
        torch.testing.assert_close(c(z), torch.stack([c(z[0]), c(z[1])]), rtol=1e-12, atol=1e-12)

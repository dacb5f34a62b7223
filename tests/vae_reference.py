"""REBAR and RELAX on the VAE as one would first write them: the oracle of the tests.

c is plain code that autograd differentiates, once at z and once at z~ (so the decoder runs three
times), and the variance objective goes through the second derivative. The estimator itself is
`tests.reference.relax`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from experiments.vae.estimators import ControlVariates, Noises, hard_pass
from tests import reference


def surrogate(
    method: ControlVariates, layer: int, x: Tensor, thetas, latents, noise: Noises
) -> Callable[[Tensor], Tensor]:
    """c(z_l) = eta_l (f(b_<l, sigma_lambda(z_l), ...) + r_l(z_l)), attached to everything."""
    vae, settings = method.vae, method.settings

    def c(z: Tensor) -> Tensor:
        total = 0.0
        if len(method.residuals):
            r, lambda_ = method.residuals[layer], method.scales[layer].lambda_[:, None, None]
            seen = x - vae.mean if "x" in r.inputs else torch.zeros_like(x)
            context = torch.cat([seen, *(2 * b - 1 for b in latents[:layer])], dim=-1)
            total = r(z, context, lambda_)
        if getattr(settings, "with_f", True):
            total = total + relaxed_f(z)
        return method.scales[layer].eta[:, None] * total

    def relaxed_f(z: Tensor) -> Tensor:
        relaxed, logits = list(latents[:layer]), list(thetas[: layer + 1])
        for k in range(layer, vae.depth):
            lambda_ = method.scales[k].lambda_[:, None, None]
            if k > layer:
                logits.append(vae.encode(k, relaxed[-1]))
                z = logits[k] + torch.logit(noise[k].u)
            shifted = z / lambda_
            if settings.relaxation == "tucker":
                shifted = shifted + logits[k] * lambda_ / (lambda_ + 1)
            relaxed.append(torch.sigmoid(shifted))
        return vae.score(x, relaxed, logits).f

    return c


def gradients(
    method: ControlVariates, x: Tensor, noise: Noises, direct: bool = True
) -> tuple[list[Tensor], list[Tensor]]:
    """The gradients of the model's parameters and of phi, in the order of the modules.

    direct: let c(z) and c(z~) depend on theta beside z. With coupled noise that cancels, otherwise
    it has mean zero and only adds noise.
    """
    draws, sample = hard_pass(method.vae, x, noise)
    f_b, rows = sample.f, x.shape[1]
    thetas, parts = [draw.dist.theta for draw in draws], []
    inner = thetas if direct else [theta.detach() for theta in thetas]
    for k, draw in enumerate(draws):
        c = surrogate(method, k, x, inner, sample.latents, noise)
        parts.append(reference.relax(lambda b: f_b, draw, c))
    objective = sum(g.square().sum() for g in parts) / rows
    phi = torch.autograd.grad(objective, method.phi(), retain_graph=True)
    model = torch.autograd.grad(
        [f_b.sum() / rows, *thetas],
        list(method.vae.parameters()),
        [None, *(g.detach() / rows for g in parts)],
    )
    return list(model), list(phi)

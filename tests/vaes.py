"""Small VAEs and their runs, for the tests of experiments.vae."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch import distributions as td

import relax as rx
from experiments.vae import data
from experiments.vae.config import Vae
from experiments.vae.estimators import ESTIMATORS, ControlVariates
from experiments.vae.method import hard_pass
from experiments.vae.models import MODELS, VAE
from relax.replicas import Streams
from tests import reference

PIXELS, LATENTS, BATCH = 9, 4, 3
FORMS = [  # of the control variate: estimator, settings
    ("rebar", {}),
    ("rebar", {"relaxation": "tucker"}),
    ("relax", {}),
    ("relax", {"depth": 3, "relaxation": "tucker"}),
    ("relax", {"with_f": False}),
]


def make(
    model, name, replicas=2, latents=LATENTS, pixels=PIXELS, same=False, direct=True, **settings
):
    """A small model and estimator, every parameter away from its start.

    latents: of classes there are always two choices.
    """
    latents = 2 * MODELS[model].classes or latents
    generators = [torch.Generator().manual_seed(0 if same else i) for i in range(replicas)]
    mean = torch.linspace(0.1, 0.8, pixels)
    vae = VAE(model, mean, latents, 5, generators, direct)
    if "hidden" in ESTIMATORS[name].settings.__dataclass_fields__:
        settings.setdefault("hidden", 6)
    method = ESTIMATORS[name].method(vae, ESTIMATORS[name].settings(**settings), generators)
    noise = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for p in [*vae.parameters(), *method.parameters()]:
            p += 0.4 * torch.randn(p.shape[1:], generator=noise)
    return method


def batch(replicas=2, rows=BATCH, pixels=PIXELS, seed=1):
    """Binary images [R, rows, pixels]."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(replicas, rows, pixels, generator=generator) < 0.4).to(
        torch.get_default_dtype()
    )


def stream(replicas, seed=3):
    return Streams([seed + i for i in range(replicas)])


def config(run_dirs, **changes) -> Vae:
    """The configuration of a run of seconds; `run_dirs` is the fixture of that name."""
    places = dict(item.split("=", 1) for item in run_dirs)
    start = {"preset": "test", "latents": 8, "hidden": 8, "steps": 60, "variance_samples": 3}
    start |= {"device": "cpu", "iwae_samples": 2}
    start |= {"estimators": {"relax": {"warm_up": 5, "hidden": 8}}}
    chosen = replace(Vae(**(start | changes)), **places)
    chosen.check()
    return chosen


def three_splits(train: int = 48, side: int = 3) -> data.Images:
    """Training images all 0, validation images all 1, test images half and half."""
    pixels = side * side
    black, white = torch.zeros(train, pixels), torch.ones(10, pixels)
    half = (torch.arange(pixels) % 2).float().repeat(10, 1)
    return data.Images("splits", black, white, half, black.mean(0), side)


def bits(logits: Tensor) -> td.Bernoulli:
    """torch's own; its log_prob also takes values between 0 and 1."""
    return td.Bernoulli(logits=logits, validate_args=False)


def log_prob(vae: VAE, b: Tensor, logits: Tensor) -> Tensor:
    """log p(b | logits) of one layer of latents, [N]; b may be relaxed."""
    if vae.classes:
        return (b * td.Categorical(logits=logits).logits).sum((-2, -1))
    return bits(logits).log_prob(b).sum(-1)


def negative_elbo(vae: VAE, x: Tensor, latents: list[Tensor]) -> Tensor:
    """-ELBO [N] of one replica at these latents [N, *event], by torch.distributions."""
    total = torch.zeros(len(x))
    below = [x, *latents]
    for k in range(vae.depth):
        p = bits(vae.decode(k, below[k + 1][None])[0])
        total = total + log_prob(vae, below[k + 1], vae.encode(k, below[k][None])[0])
        total = total - p.log_prob(below[k]).sum(-1)
    return total - log_prob(vae, latents[-1], vae.prior[0, 0])


def certain(model: str, replicas: int = 1) -> VAE:
    """A model whose encoder has no doubt: every latent bit is almost surely one value."""
    vae = make(model, "reinforce", replicas).vae
    with torch.no_grad():
        for p in vae.encoder.parameters():
            p *= 400
    return vae


def sure_latents(vae: VAE, x: Tensor) -> list[Tensor]:
    """The latents of a certain model, [N, D] each."""
    latents, below = [], x[None]
    for k in range(vae.depth):
        below = (vae.encode(k, below) > 0).to(x.dtype)
        latents.append(below[0])
    return latents


def double_backward(
    method: ControlVariates, x: Tensor, noise: list[rx.Noise], direct: bool = True
) -> tuple[list[Tensor], list[Tensor]]:
    """The gradients of the model's parameters and of phi by `tests.reference.relax`.

    direct: let c(z) and c(z~) depend on the layer's logits beside z. With coupled noise that
    cancels, otherwise it has mean zero and only adds noise.
    """
    draws, sample = hard_pass(method.vae, x, noise)
    f_b, thetas, rows, grads = sample.f, sample.logits, x.shape[1], []
    for k, draw in enumerate(draws):
        c = method.surrogate(k, x, sample, noise)
        if direct:
            c.logits = thetas[: k + 1]
        grads.append(reference.relax(f_b, draw, c))
    objective = sum(g.square().sum() for g in grads) / rows
    phi = torch.autograd.grad(objective, method.phi(), retain_graph=True)
    weights = [None, *(g.detach() / rows for g in grads)]
    model = torch.autograd.grad([f_b.sum() / rows, *thetas], list(method.vae.parameters()), weights)
    return list(model), list(phi)


def metrics(settings: Vae, case: str, name: str) -> list[dict[str, str]]:
    """The rows of a run's metrics.csv."""
    path = Path(settings.runs, "vae", settings.preset, case, name, "metrics.csv")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))

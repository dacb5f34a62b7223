"""Every family's update on the `meta` device, given its noise: the stand-in for a GPU.

A tensor there has a shape and no numbers. Reading one back raises, as it would stall a GPU, and so
does mixing it with a tensor that was created on the CPU. torch has no generator for this device, so
code that draws noise is tested for passing its device on.
"""

import pytest
import torch

import relax as rx
from experiments.run.errors import UserError
from experiments.toy.config import Toy
from experiments.toy.methods import SETTINGS as TOY
from experiments.toy.train import Run as ToyRun
from experiments.vae.estimators import ESTIMATORS
from experiments.vae.models import MODELS, VAE
from experiments.vae.step import Step
from relax.replicas import Streams
from tests.helpers import cases, distribution, unwrap

META = torch.device("meta")
PIXELS, LATENTS, REPLICAS, ROWS = 9, 4, 3, 2


def to_meta(tree):
    """Nested tuples, lists and NamedTuples of tensors, moved."""
    return torch.utils._pytree.tree_map(
        lambda x: x.to(META) if isinstance(x, torch.Tensor) else x, tree
    )


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("model", MODELS)
def test_the_vaes_step(model, name):
    generators = [torch.Generator().manual_seed(i) for i in range(REPLICAS)]
    latents = MODELS[model].classes or LATENTS
    vae = VAE(model, torch.linspace(0.1, 0.8, PIXELS), latents, 5, generators)
    try:
        method = ESTIMATORS[name].method(vae, ESTIMATORS[name].settings(), generators)
    except UserError as error:
        pytest.skip(str(error))  # for one layer, for bits, for classes
    noise = to_meta(method.noise(ROWS, Streams(range(REPLICAS))))
    vae.to(META), method.to(META)
    step = Step(method, torch.full((REPLICAS,), 1e-3))
    x = torch.empty(REPLICAS, ROWS, PIXELS, device=META)
    for train_model in (False, True):
        mean_f = step(x, noise, train_model)
        assert mean_f.shape == (REPLICAS,) and mean_f.is_meta


@pytest.mark.parametrize("name", sorted(TOY))
def test_the_toys_step(name, monkeypatch):
    run = ToyRun(Toy(seeds=REPLICAS, device="cpu"), name)
    noise = to_meta(run.method.noise(run.distribution(run.logit), run.noise))
    moved = ToyRun.__new__(ToyRun)
    monkeypatch.setattr("experiments.toy.train.device", lambda name: META)
    monkeypatch.setattr(rx.replicas, "Streams", lambda seeds, place, **block: list(seeds))
    moved.__init__(Toy(seeds=REPLICAS), name)
    moved.update(noise)
    assert moved.logit.is_meta and all(p.is_meta for p in moved.phi)


@pytest.mark.parametrize(
    "case",
    cases("bernoulli", "categorical", "categoricals", "plackett_luce", "normal"),
    ids=lambda case: case.id,
)
def test_every_estimator_and_backward(case):
    """Given the noise, with validate=False: nothing is read back, nothing is made elsewhere."""
    base = distribution(case.dist).expand(ROWS)
    estimator, own = unwrap(case.bind(distribution(case.dist)))
    sampling = {key: own.pop(key) for key in ("samples", "coupled") if key in own}
    noise = to_meta(estimator.noise(base, **sampling))
    own = {key: x.to(META) if isinstance(x, torch.Tensor) else x for key, x in own.items()}
    phi = []
    if "c" in own:
        own["c"] = rx.surrogates.mlp(base.sample_shape[1:]).to(META)
        phi = list(own["c"].parameters())
    if "stein" in own:
        own["stein"] = rx.Stein(4).to(META)
        phi = list(own["stein"].parameters())
    theta = base.theta.to(META).requires_grad_()
    settings = {"event_ndim": base.event_ndim, "validate": False}
    if case.dist == "normal":
        dist = rx.Normal(*theta.unbind(-1), **settings)
    else:
        dist = type(base)(theta, **settings)
    draw = estimator.draw(dist, noise=noise, samples=sampling.get("samples", 2))
    est = estimator(lambda b: b.flatten(-base.event_ndim).sum(-1).sin(), draw, **own)
    assert est.grad.is_meta and est.grad.shape == theta.shape
    rx.backward(est, phi)
    assert theta.grad.is_meta and all(p.grad is not None for p in phi)

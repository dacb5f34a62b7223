"""The VAE's estimators on one and two layers against enumeration of all latents.

With and without the direct gradient of log q, which has mean 0.
"""

import itertools

import pytest
import torch

from experiments.vae import evaluate
from experiments.vae.estimators import ESTIMATORS
from experiments.vae.models import VAE
from experiments.vae.step import Step
from relax.replicas import Streams
from tests.vaes import FORMS, batch, make

UNBIASED = [
    ("reinforce", {}),
    ("reinforce", {"samples": 2}),
    ("nvil", {}),
    ("muprop", {}),
    ("unbiased_reinmax", {}),
    *((name, {"coupled": c}) for name in ("rebar", "relax") for c in (True, False)),
    *(
        pytest.param(name, own | {"coupled": c}, marks=pytest.mark.slow)
        for name, own in FORMS
        for c in (True, False)
        if own
    ),
]


OF_BITS = ["rloo", "disarm", "arms", "double_cv", "debiased_reinmax", "unbiased_reinmax"]
OF_CLASSES = ["rloo", "carms", "double_cv", "debiased_reinmax", "rebar", "relax"]
ONE_LAYER = [
    *((model, name) for model in ("nonlinear", "benchmark") for name in OF_BITS),
    *(("benchmark", name) for name in ("relax_benchmark", "unbiased_reinmax-3")),
    *(("categorical", name) for name in (*OF_CLASSES, "reinforce", "nvil", "muprop")),
]


def exact_encoder_gradient(vae, x):
    """d E[f]/d encoder by enumeration of all latents of two layers, for one replica and image."""
    outcomes = torch.tensor(list(itertools.product([0.0, 1.0], repeat=2 * vae.prior.shape[-1])))
    b1, b2 = (b[:, None, None] for b in outcomes.chunk(2, dim=1))
    x = x.expand(len(outcomes), 1, 1, -1)
    sample = vae.score(x, [b1, b2], [vae.encode(0, x), vae.encode(1, b1)])
    q = sum(sample.log_q).exp()
    return torch.autograd.grad((q * sample.f).sum(), list(vae.encoder.parameters()))


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize(("name", "own"), UNBIASED)
def test_two_layers_are_unbiased(float64, name, own, direct):
    """300 000 draws of 2 x 3 latents: 3 000 replicas of 100 rows, each a mean of 100."""
    replicas, rows = 3_000, 100
    x = batch(1, 1, 4)
    one = make("linear2", name, 1, 3, 4, **own)
    exact = exact_encoder_gradient(one.vae, x)
    many = make("linear2", name, replicas, 3, 4, same=True, direct=direct, **own)
    noise = many.noise(rows, Streams(range(replicas), block=3 * rows))
    Step(many, torch.ones(replicas)).backward(x.expand(replicas, rows, 4), noise)
    for p, wanted in zip(many.vae.encoder.parameters(), exact, strict=True):
        error = p.grad.std(0) / replicas**0.5
        assert ((p.grad.mean(0) - wanted[0]) / error).abs().max() < 5


def exact_gradient(vae, x):
    """d E[f]/d weights by enumeration of one layer's latents, for one replica and image."""
    outcomes = vae.distribution(vae.prior).support()
    images = x.expand(len(outcomes), 1, 1, -1)
    sample = vae.score(images, [outcomes], [vae.encode(0, images)])
    return torch.autograd.grad((sample.log_q[0].exp() * sample.f).sum(), [*vae.parameters()])


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize(("model", "name"), ONE_LAYER)
def test_one_layer_is_unbiased(float64, model, name, direct):
    replicas, rows, x = 1_000, 50, batch(1, 1, 4)
    name, _, samples = name.partition("-")
    own = {"samples": int(samples)} if samples else {}
    exact = exact_gradient(make(model, name, 1, 3, 4).vae, x)
    many = make(model, name, replicas, 3, 4, same=True, direct=direct, **own)
    noise = many.noise(rows, Streams(range(replicas), block=9 * rows))
    Step(many, torch.ones(replicas)).backward(x.expand(replicas, rows, 4), noise)
    for p, wanted in zip(many.vae.parameters(), exact, strict=True):
        error = p.grad.std(0) / replicas**0.5 + 1e-12
        assert ((p.grad.mean(0) - wanted[0]) / error).abs().max() < 5


BASELINE = ("reinforce", "nvil", "relax", "relax_benchmark")  # untrained; the noise of f hides it


@pytest.mark.parametrize(("model", "name"), [m for m in ONE_LAYER if m[1] not in BASELINE])
def test_the_direct_gradient_is_noise(model, name):
    """At the start of training the encoder's gradient is less noisy without it.

    Not everywhere: where f less its baseline is about -1/2 of the score, it cancels noise.
    """
    x = batch(1, 20, 60)
    variances = []
    for direct in (True, False):
        generators = [torch.Generator().manual_seed(0)]
        vae = VAE(model, torch.full((60,), 0.3), 40, 20, generators, direct)
        entry = ESTIMATORS[name.partition("-")[0]]
        method = entry.method(vae, entry.settings(), generators)
        variances.append(evaluate.gradient_variance(method, x, Streams([5]), 50)["weights"])
    assert variances[1] < variances[0]


def test_the_bias_test_has_power(float64):
    """Concrete fails it, and so does a surrogate that looks at the layer's own sample."""
    replicas, rows = 3_000, 100
    x = batch(1, 1, 4)
    exact = exact_encoder_gradient(make("linear2", "concrete", 1, 3, 4).vae, x)
    many = make("linear2", "concrete", replicas, 3, 4, same=True)
    noise = many.noise(rows, Streams(range(replicas), block=3 * rows))
    Step(many, torch.ones(replicas)).backward(x.expand(replicas, rows, 4), noise)
    z = [
        (p.grad.mean(0) - wanted[0]) / (p.grad.std(0) / replicas**0.5)
        for p, wanted in zip(many.vae.encoder.parameters(), exact, strict=True)
    ]
    assert max(t.abs().max() for t in z) > 10

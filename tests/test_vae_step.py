"""A training step of the VAE: gradients of the model and of phi against plain double backward."""

import pytest
import torch

from experiments.vae.method import hard_pass
from experiments.vae.models import MODELS
from experiments.vae.step import Step
from tests.vaes import BATCH, FORMS, LATENTS, batch, double_backward, make, stream


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("name", "own"), FORMS)
@pytest.mark.parametrize("coupled", [True, False])
def test_step_equals_the_straightforward_double_backward(float64, model, name, own, coupled):
    """With coupled noise c's direct dependence on the logits cancels: the oracle keeps it."""
    method, x = make(model, name, coupled=coupled, **own), batch()
    noise = method.noise(BATCH, stream(2))
    wanted, wanted_phi = double_backward(method, x, noise, direct=coupled)
    Step(method, torch.ones(2)).backward(x, noise)
    for p, grad in zip(method.vae.parameters(), wanted, strict=True):
        torch.testing.assert_close(p.grad, grad, atol=1e-10, rtol=1e-10)
    for p, grad in zip(method.phi(), wanted_phi, strict=True):
        torch.testing.assert_close(p.grad, grad, atol=1e-10, rtol=1e-10)


@pytest.mark.slow
def test_compiled_step_equals_the_eager_one(float64):
    x, noise = batch(), make("linear2", "relax").noise(BATCH, stream(2))
    grads = []
    for compiled in (False, True):
        method = make("linear2", "relax")
        Step(method, torch.ones(2), compiled=compiled).differentiate(x, noise)
        grads.append([p.grad for p in (*method.vae.parameters(), *method.phi())])
    for eager, compiled in zip(*grads, strict=True):
        torch.testing.assert_close(compiled, eager, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize(
    "name", ["reinforce", "nvil", "muprop", "rebar", "relax", "unbiased_reinmax"]
)
def test_decoder_gets_the_plain_gradient_of_mean_f_exactly_once(float64, name):
    method, x = make("linear2", name), batch()
    noise = method.noise(BATCH, stream(2))
    decoder = [*method.vae.decoder.parameters(), method.vae.prior]
    f_b = hard_pass(method.vae, x, noise)[1].f
    wanted = torch.autograd.grad(f_b.mean(-1).sum(), decoder)
    Step(method, torch.ones(2)).backward(x, noise)
    for p, grad in zip(decoder, wanted, strict=True):
        torch.testing.assert_close(p.grad, grad, atol=1e-12, rtol=1e-12)


def test_weight_decay_equals_the_authors(float64):
    """Their objective is mean over batch and units of (g/B)^2, plus wd sum w^2 / 2."""
    method, x = make("linear1", "relax", weight_decay=0.01), batch()
    noise = method.noise(BATCH, stream(2))
    (est,) = method.estimates(x, noise)
    theirs = (est.grad / BATCH).square().mean((1, 2)).sum()
    theirs = theirs + 0.01 * sum((w**2).sum() / 2 for w in method.residuals.parameters())
    wanted = torch.autograd.grad(theirs, method.phi())
    Step(method, torch.ones(2)).backward(x, noise)
    method.add_weight_decay(BATCH)
    for p, grad in zip(method.phi(), wanted, strict=True):
        torch.testing.assert_close(p.grad, BATCH**2 * LATENTS * grad, atol=1e-10, rtol=1e-10)


def test_eta_can_be_fixed_at_one():
    method = make("linear1", "relax", learn_eta=False)
    assert not any(p is scales.eta for p in method.phi() for scales in method.scales)

"""The VAE's estimators where bias tests cannot see: biased ones, means, what is learned."""

from dataclasses import replace

import pytest
import torch

import relax as rx
from experiments.vae.estimators import ESTIMATORS
from experiments.vae.method import hard_pass
from experiments.vae.step import Step
from tests.vaes import BATCH, batch, make, negative_elbo, stream


def every_gradient(method, x, noise) -> list[torch.Tensor]:
    """What a step applies to the model."""
    Step(method, torch.ones(2)).backward(x, noise)
    return [p.grad for p in method.vae.parameters()]


@pytest.mark.parametrize("model", ["linear1", "linear2"])
def test_concrete_is_autograd_through_the_relaxed_samples_of_all_layers(float64, model):
    method, x = make(model, "concrete", lambda_=0.7), batch()
    noise = method.noise(BATCH, stream(2))
    found = every_gradient(method, x, noise)
    latents, logits, below = [], [], x
    for k, u in enumerate(noise):
        logits.append(method.vae.encode(k, below))
        below = torch.sigmoid((logits[k] + torch.logit(u.u)) / 0.7)
        latents.append(below)
    f = method.vae.score(x, latents, logits).f.mean(-1).sum()
    for p, wanted in zip(found, torch.autograd.grad(f, method.vae.parameters()), strict=True):
        torch.testing.assert_close(p, wanted, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("model", ["linear1", "linear2"])
def test_straight_through_is_autograd_through_hard_bits_with_the_means_derivative(float64, model):
    method, x = make(model, "straight_through"), batch()
    noise = method.noise(BATCH, stream(2))
    found = every_gradient(method, x, noise)
    latents, logits, below = [], [], x
    for k, u in enumerate(noise):
        logits.append(method.vae.encode(k, below))
        mean = torch.sigmoid(logits[k])
        hard = (logits[k] + torch.logit(u.u) > 0).double()
        below = hard + mean - mean.detach()
        latents.append(below)
    f = method.vae.score(x, latents, logits).f.mean(-1).sum()
    for p, wanted in zip(found, torch.autograd.grad(f, method.vae.parameters()), strict=True):
        torch.testing.assert_close(p, wanted, atol=1e-10, rtol=1e-10)


def test_muprop_passes_means_on_to_the_layers_above(float64):
    """At the first layer's means, f is the ELBO's terms with the second layer's mean as well."""
    method, x = make("linear2", "muprop", 1), batch(1)
    noise = method.noise(BATCH, stream(1))
    draws, sample = hard_pass(method.vae, x, noise)
    m = torch.sigmoid(draws[0].dist.theta)
    m_2 = torch.sigmoid(method.vae.encode(1, m))
    wanted = negative_elbo(method.vae, x[0], [m[0], m_2[0]])
    torch.testing.assert_close(method.mean_field(0, x, sample, m)[0], wanted)
    on_top = negative_elbo(method.vae, x[0], [sample.latents[0][0], m_2[0]])
    assert not torch.allclose(on_top, wanted)


HARD = sorted(ESTIMATORS.keys() - {"concrete"})  # f at a hard b, where the direct gradient is noise


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("name", HARD)
def test_the_direct_gradient_of_log_q_is_carried_by_all_or_by_none(float64, name, direct):
    """What the encoder gets through f: the mean gradient of log q(b) over samples, or nothing."""
    model = "categorical" if name == "carms" else "nonlinear"
    method, x = make(model, name, direct=direct), batch()
    (est,) = method.estimates(x, method.noise(BATCH, stream(2)))
    (found,) = torch.autograd.grad(
        est.value.sum() / est.draw.samples, est.theta, materialize_grads=True
    )
    wanted = est.draw.score.mean(0) if est.draw.sampled else est.draw.score
    torch.testing.assert_close(found, wanted if direct else torch.zeros_like(wanted))


@pytest.mark.parametrize("name", ["reinforce", "rebar", "unbiased_reinmax", "straight_through"])
def test_two_layers_leave_the_direct_gradient_out(float64, name):
    """Of either layer; only the decoder and the prior get a gradient through the value."""
    method, x = make("linear2", name, direct=False), batch()
    value = method.estimates(x, method.noise(BATCH, stream(2)))[0].value
    encoder = list(method.vae.encoder.parameters())
    if name == "straight_through":  # the layer above sends its estimate through the value
        encoder = list(method.vae.encoder[0].parameters())
    grads = torch.autograd.grad(value.sum(), encoder, materialize_grads=True)
    assert max(grad.abs().max() for grad in grads) < 1e-12


@pytest.mark.parametrize("name", ["rebar", "relax"])
@pytest.mark.parametrize(
    ("own", "eta", "log_lambda"),
    [
        ({}, True, True),
        ({"learn_eta": False}, False, True),
        ({"learn_lambda": False}, True, False),
    ],
)
def test_eta_and_lambda_are_learned_as_asked(name, own, eta, log_lambda):
    method = make("linear2", name, **own)
    x = batch()
    step = Step(method, torch.full((2,), 0.1))
    before = [(s.eta.detach().clone(), s.lambda_.detach().clone()) for s in method.scales]
    step(x, method.noise(BATCH, stream(2)))
    for scales, (old_eta, old_lambda) in zip(method.scales, before, strict=True):
        assert (not torch.equal(scales.eta, old_eta)) == eta
        assert (not torch.equal(scales.lambda_, old_lambda)) == log_lambda


def test_r_starts_as_wide_as_the_layer_that_sees_everything():
    """Glorot's bound for [x - mean, z] -> hidden, though its weights are kept in two parts."""
    from experiments.vae.models import VAE
    from experiments.vae.settings import Relax

    generators = [torch.Generator().manual_seed(0)]
    vae = VAE("linear1", torch.full((300,), 0.4), 100, 5, generators)
    method = ESTIMATORS["relax"].method(vae, replace(Relax(), hidden=200), generators)
    first = [w for w in method.residuals.parameters() if w.shape in ((1, 300, 200), (1, 100, 200))]
    assert len(first) == 2
    for weight in first:
        bound = (6 / (300 + 100 + 200)) ** 0.5
        assert weight.abs().max().item() == pytest.approx(bound, rel=1e-3)


@pytest.mark.parametrize("samples", [2, 3])
def test_several_samples_are_leave_one_out_of_the_core(float64, samples):
    """The samples beside each other in the batch are those of `rx.rloo`."""
    method, x = make("linear1", "reinforce", 1, samples=samples), batch(1)
    noise = method.noise(BATCH, stream(1))
    (est,) = method.estimates(x, noise)
    u = noise[0].u.unflatten(1, (samples, BATCH)).movedim(1, 0)  # [K, R, B, D]
    theta = method.vae.encode(0, x).detach()

    def f(b):
        found = [negative_elbo(method.vae, x[0], [each[0]]) for each in b]
        return torch.stack(found)[:, None].detach()

    wanted = rx.rloo(f, rx.Draw(rx.Bernoulli(theta, replicas=1), rx.Noise(u))).grad
    found = est.grad.unflatten(1, (samples, BATCH)).mean(1)
    torch.testing.assert_close(found, wanted)

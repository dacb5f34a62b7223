"""What is measured on a VAE: bounds in chunks, variances over draws."""

import itertools

import pytest
import torch

import relax as rx
from experiments.vae import evaluate
from tests.vaes import BATCH, batch, certain, make, negative_elbo, stream, sure_latents


@pytest.mark.parametrize("model", ["linear1", "linear2"])
@pytest.mark.parametrize("rows", [7, 2_000])
def test_bounds_are_means_over_images_whatever_the_chunks(monkeypatch, float64, model, rows):
    """Ten images, in chunks of 7 and 3: without doubt in q, every sample gives the same f."""
    monkeypatch.setattr(evaluate, "ROWS", rows)
    vae, x = certain(model), batch(1, 10)[0]
    wanted = negative_elbo(vae, x, sure_latents(vae, x)).mean()
    found = evaluate.negative_elbo(vae, x, stream(1))
    torch.testing.assert_close(found, wanted[None], rtol=1e-9, atol=1e-9)
    for samples in (1, 3):
        bound = evaluate.negative_iwae(vae, x, stream(1), samples)
        torch.testing.assert_close(bound, wanted[None], rtol=1e-9, atol=1e-9)


def test_the_bound_of_several_samples_is_tighter():
    """At one sample it is the ELBO; the gain of 50 is far above the noise."""
    vae, x = make("linear1", "reinforce", 1).vae, batch(1, 400)[0]
    one, many = (evaluate.negative_iwae(vae, x, stream(1), k).item() for k in (1, 50))
    assert many < one - 0.1


@pytest.mark.parametrize(("name", "own"), [("relax", {}), ("reinforce", {"samples": 2})])
def test_variances_are_torchs_over_stacked_draws(float64, name, own):
    """Per image and unit over the draws, summed over units, mean over images."""
    x, draws = batch(), 6
    method = make("linear2", name, **own)
    found = evaluate.gradient_variance(method, x, stream(2), draws)
    noise, logits, weights = stream(2), [], []
    encoder = list(method.vae.encoder.parameters())
    for _ in range(draws):
        estimates = method.estimates(x, method.noise(BATCH, noise))
        grads = [est.grad.detach().unflatten(1, (-1, BATCH)).mean(1) for est in estimates]
        logits.append(torch.cat(grads, -1))
        rx.backward(estimates)
        weights.append(torch.cat([p.grad.flatten(1) for p in encoder], 1))
        for p in method.vae.parameters():
            p.grad = None
    torch.testing.assert_close(found["logits"], torch.stack(logits).var(0).sum(-1).mean(-1))
    torch.testing.assert_close(found["weights"], torch.stack(weights).var(0).sum(-1))


def test_bounds_against_enumeration(float64):
    vae, x = make("linear2", "reinforce", 1, 3, 4).vae, batch(1, 1, 4)[0]
    outcomes = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)))
    b1, b2 = (b[:, None, None] for b in outcomes.chunk(2, dim=1))
    wide = x.expand(64, 1, 1, 4)
    sample = vae.score(wide, [b1, b2], [vae.encode(0, wide), vae.encode(1, b1)])
    q = sum(sample.log_q).exp()
    elbo, log_p = (q * sample.f).sum(), -torch.logsumexp(sum(sample.log_p) + sample.log_prior, 0)
    many = x.expand(40_000, 4)
    found = evaluate.negative_elbo(vae, many, stream(1))
    torch.testing.assert_close(found[0], elbo, atol=0.05, rtol=0)
    tight = evaluate.negative_iwae(vae, x.expand(200, 4), stream(1), 2_000)
    torch.testing.assert_close(tight.squeeze(), log_p.squeeze(), atol=0.02, rtol=0)
    one = evaluate.negative_iwae(vae, many, stream(1), 1)
    torch.testing.assert_close(one, found, atol=0.05, rtol=0)


def test_relax_varies_less_than_reinforce():
    x = batch(2, BATCH)
    found = {
        name: evaluate.gradient_variance(make("linear1", name), x, stream(2), 200)
        for name in ("reinforce", "rebar")
    }
    for what in ("logits", "weights"):
        assert (found["rebar"][what] < found["reinforce"][what]).all()

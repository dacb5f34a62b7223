"""A VAE's run: which images each number is of, when phi moves alone, rates, streams, resuming."""

import numpy as np
import pytest
import torch

from experiments.vae import data, monitor
from experiments.vae import train as training
from experiments.vae.step import Step
from tests.vaes import BATCH, batch, config, make, metrics, stream, three_splits


@pytest.fixture
def splits() -> data.Images:
    """Black training images, white validation images, half-white test images of 9 pixels.

    A model that has seen black images alone pays about 7 nats for every white pixel, and nothing
    for a black one.
    """
    return three_splits()


def trained(run_dirs, images, **changes):
    """(summary, rows of metrics.csv) of a run whose model hardly moves."""
    start = {"lr": [1e-6], "estimators": {"reinforce": {}}, "batch": 8, "pictures": False}
    settings = config(run_dirs, **(start | changes))
    found = training.train(settings, "reinforce", images)
    return found, metrics(settings, f"{images.name}-linear1", "reinforce")


def test_every_number_is_of_its_own_images(run_dirs, splits):
    """9 white pixels cost 62 nats, the 4 of the test images 28; the latents' part is below 3."""
    found, rows = trained(run_dirs, splits, steps=6)
    assert float(rows[-1]["train"]) == pytest.approx(0, abs=4)
    assert float(rows[-1]["valid"]) == pytest.approx(62, abs=4)
    for split, nats in (("valid", 62), ("test", 28)):
        assert found[split] == pytest.approx([nats], abs=4)
        assert found[f"{split}_iwae"] == pytest.approx([nats], abs=4)


def test_the_training_number_is_the_mean_over_the_epoch_and_over_a_torn_one(run_dirs):
    """Six steps are an epoch, two a torn one; validation images are the training images."""
    x = batch(1, 48)[0]
    images = data.Images("same", x, x, x, x.mean(0), 3)
    _, rows = trained(run_dirs, images, steps=14, evaluate_every=1, variance_every=0)
    assert [row["step"] for row in rows] == ["6", "12", "14"]
    wanted = np.mean([float(row["valid"]) for row in rows])
    for row in rows:
        assert float(row["train"]) == pytest.approx(wanted, rel=0.1)


def test_the_fixed_batch_is_of_the_first_training_images(run_dirs):
    images = data.load("digits")
    run = training.Run(config(run_dirs, seeds=2), "relax", images)
    wanted = images.train[:24].float().expand(2, -1, -1)
    assert torch.equal(run.fixed_batch(), wanted)


# ---- what moves, and how far ----


def test_the_warm_up_moves_phi_alone(run_dirs, splits):
    # With weight decay, so that also the weights of pixels that are always 0 move.
    made = config(run_dirs, estimators={"relax_published": {"warm_up": 5, "hidden": 8}})
    run = training.Run(made, "relax_published", splits)
    model = [p.clone() for p in run.vae.parameters()]
    phi = [p.clone() for p in run.method.phi()]
    run.warm_up()
    assert all(torch.equal(p, q) for p, q in zip(run.vae.parameters(), model, strict=True))
    assert not any(torch.equal(p, q) for p, q in zip(run.method.phi(), phi, strict=True))


@pytest.mark.parametrize("factor", [1.0, 10.0])
def test_phi_learns_at_its_own_rate(float64, factor):
    """Adam's first step is the rate itself in every coordinate."""
    method, lr = make("linear1", "nvil", lr_factor=factor), torch.tensor([1e-3, 1e-4])
    before = [p.detach().clone() for p in (*method.vae.parameters(), *method.phi())]
    Step(method, lr)(batch(), method.noise(BATCH, stream(2)))
    after = [*method.vae.parameters(), *method.phi()]
    model = len(list(method.vae.parameters()))
    for index, (p, q) in enumerate(zip(after, before, strict=True)):
        moved = (p - q).abs().flatten(1).amax(1)
        wanted = lr.double() if index < model else factor * lr.double()
        torch.testing.assert_close(moved.detach(), wanted, rtol=1e-3, atol=0)


def test_both_adams_have_the_authors_memory(run_dirs, splits):
    optimizers = training.Run(config(run_dirs), "relax", splits).trainer.optimizers
    assert optimizers["model"].betas == optimizers["phi"].betas == (0.9, 0.99999)


def test_a_step_has_the_decay_in_it():
    """With a strong decay Adam moves r's weights towards zero, by the rate in every step."""
    method = make("linear1", "relax", weight_decay=10.0, lr_factor=1.0)
    before = method.residuals[0].of_z.layers[0].weight.detach().abs().mean()
    step = Step(method, torch.tensor([1e-2, 1e-2]))
    for k in range(5):
        step(batch(seed=k), method.noise(BATCH, stream(2, seed=k)))
    after = method.residuals[0].of_z.layers[0].weight.detach().abs().mean()
    assert before - after == pytest.approx(0.05, abs=0.015)  # five steps of .01


# ---- random numbers ----


def test_no_two_streams_of_a_run_coincide(run_dirs, splits):
    """Weights, order, noise and measuring of three seeds: twelve streams."""
    run = training.Run(config(run_dirs, seeds=3), "relax", splits)
    drawn = [s.rand(5) for s in (run.fresh(), run.noise, run.order)]
    weights = [torch.Generator().manual_seed(s) for s in run._stream_seeds(training.WEIGHTS)]
    drawn.append(torch.stack([torch.rand(5, generator=g) for g in weights]))
    rows = torch.cat(drawn)
    assert len(rows.unique(dim=0)) == 12
    assert torch.equal(run.fresh().rand(5), drawn[0])  # every measurement has the same noise


# ---- messages ----


def test_the_headline_is_the_best_rate_s_mean_with_its_error():
    summary = {"lr": [0.01, 0.01, 0.001, 0.001], "valid": [110.0, 130.0, 98.0, 99.0]}
    assert monitor.headline(summary) == "validation -ELBO 98.50 +- 0.50 at lr 0.001, the best of 2"
    assert monitor.headline({"lr": [0.01], "valid": [98.0]}) == "validation -ELBO 98.00"

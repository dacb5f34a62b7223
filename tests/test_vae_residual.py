"""RELAX's network r on the VAE: what it sees, that it lives, and what a dead one says."""

from pathlib import Path

import pytest
import torch

from experiments.run.errors import UserError
from experiments.run.files import read_table
from experiments.vae import data, evaluate
from experiments.vae import train as training
from experiments.vae.config import Vae
from experiments.vae.method import hard_pass
from experiments.vae.step import Step
from tests.vaes import BATCH, batch, config, double_backward, make, stream


@pytest.fixture
def digits():
    return data.load("digits")


@pytest.mark.parametrize("inputs", [["z"], ["sigma", "x"], ["x"]])
@pytest.mark.parametrize("model", ["linear1", "linear2"])
def test_r_sees_what_it_is_given_and_the_step_equals_the_plain_one(float64, model, inputs):
    method, x = make(model, "relax", inputs=inputs), batch()
    noise = method.noise(BATCH, stream(2))
    wanted, wanted_phi = double_backward(method, x, noise)
    Step(method, torch.ones(2)).backward(x, noise)
    for p, grad in zip(method.vae.parameters(), wanted, strict=True):
        torch.testing.assert_close(p.grad, grad, atol=1e-10, rtol=1e-10)
    for p, grad in zip(method.phi(), wanted_phi, strict=True):
        torch.testing.assert_close(p.grad, grad, atol=1e-10, rtol=1e-10)


def test_r_without_x_does_not_change_with_x(float64):
    method, x = make("linear1", "relax", inputs=["z"]), batch()
    noise = method.noise(BATCH, stream(2))
    sample = hard_pass(method.vae, x, noise)[1]
    contexts = [method.surrogate(0, y, sample, noise).context() for y in (x, 1 - x)]
    assert torch.equal(*contexts)


@pytest.mark.parametrize("inputs", [["z", "sigma"], [], ["y"]])
def test_bad_inputs_of_r_are_named(run_dirs, inputs):
    with pytest.raises(UserError, match="estimators.relax.inputs"):
        Vae(estimators={"relax": {"inputs": inputs}}).settings_of("relax")


def test_a_dead_r_is_reported_once_and_recorded(run_dirs, digits, capsys, monkeypatch):
    made, step = config(run_dirs, steps=162, lr=[1e-3, 1e-4], variance_every=1), training.Run.step

    def dying(self, number):
        step(self, number)
        if number >= 60:  # from the second of three epochs on, in the first of two replicas
            for p in self.method.residuals[0].parameters():
                p.data[0] = 0

    monkeypatch.setattr(training.Run, "step", dying)
    summary = training.train(made, "relax", digits)
    assert summary["dead"] == {"lr=0.001 seed=0": 108}
    assert capsys.readouterr().out.count("r is dead by step 108") == 1
    table = read_table(
        Path(made.runs) / "vae" / "test" / "digits-linear1" / "relax" / "metrics.csv"
    )
    assert (table["r_rms_1"] > 0.01).tolist() == [True, True, False, True, False, True]
    assert (table["r_share_1"] > 1e-6).tolist() == [True, True, False, True, False, True]


@pytest.mark.slow
def test_r_lives_and_lowers_the_variance_at_the_same_weights(run_dirs, digits):
    """3 000 steps at the default settings; then r is switched off and all else is kept."""
    made = config(run_dirs, steps=3000, seeds=1, lr=[1e-3], estimators={"relax": {}})
    run = training.Run(made, "relax", digits)
    start = run.method.residuals[0].weight_rms()
    run.warm_up()
    for step in range(1, 3001):
        run.step(step)
    assert run.method.residuals[0].weight_rms() > 0.5 * start
    (share,) = evaluate.residual_share(run.method, run.fixed_batch(), run.fresh(), 20)
    assert share > 1e-3
    variances = []
    for scale in (1.0, 0.0):
        with torch.no_grad():
            run.method.residuals[0].of_z.layers[-1].weight.mul_(scale)
            run.method.residuals[0].of_z.layers[-1].bias.mul_(scale)
        found = evaluate.gradient_variance(run.method, run.fixed_batch(), run.fresh(), 400)
        variances.append(found["logits"].item())
    assert variances[0] < 0.97 * variances[1], variances

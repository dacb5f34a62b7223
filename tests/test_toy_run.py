"""The toy's numbers where they are known in closed form: loss, suboptimality, summaries."""

import numpy as np
import pytest
import torch

from experiments.toy import relaxation
from experiments.toy.config import Toy
from experiments.toy.results import headline, summarise
from experiments.toy.train import Run, log_variance


def run_at(t: float, name: str = "reinforce", theta: float = 0.3, seeds: int = 2) -> Run:
    made = Run(Toy(t=t, seeds=seeds, device="cpu", variance_samples=4000), name)
    with torch.no_grad():
        made.logit.fill_(np.log(theta / (1 - theta)))
    return made


@pytest.mark.parametrize(
    ("t", "loss", "best"),
    [
        (0.4, 0.3 * 0.36 + 0.7 * 0.16, 0.16),  # b = 0 is better
        (0.6, 0.3 * 0.16 + 0.7 * 0.36, 0.16),  # b = 1 is better
    ],
)
def test_loss_and_suboptimality_are_the_expectation_and_its_distance(t, loss, best):
    readings = run_at(t).readings()
    assert readings["loss"].tolist() == pytest.approx([loss] * 2)
    assert readings["suboptimality"].tolist() == pytest.approx([loss - best] * 2)
    assert readings["theta"].tolist() == pytest.approx([0.3] * 2)


@pytest.mark.parametrize("t", [0.1, 0.8])
def test_the_exact_method_is_the_derivative_of_the_loss(t):
    """By finite differences in the logit."""
    made, h = run_at(t, "exact", seeds=1), 1e-2
    grad = made.estimate(made.logit, made.noise).grad.item()
    losses = []
    for sign in (1, -1):
        with torch.no_grad():
            made.logit += sign * h * (2 if sign < 0 else 1)
        losses.append(made.readings()["loss"].item())
    assert (losses[0] - losses[1]) / (2 * h) == pytest.approx(grad, rel=1e-3)


def test_log_variance_is_natural_and_of_fresh_draws():
    """REINFORCE at theta: Var = theta (1 - theta) ((f1 (1 - theta) + f0 theta))^2."""
    made, theta, t = run_at(0.499), 0.3, 0.499
    f_1, f_0 = (1 - t) ** 2, t**2
    wanted = np.log(theta * (1 - theta) * (f_1 * (1 - theta) + f_0 * theta) ** 2)
    before = made.noise.state_dict()["generators"].clone()
    first, second = made.draws(), made.draws()
    assert log_variance(first).tolist() == pytest.approx([wanted] * 2, abs=0.05)
    assert not torch.equal(first, second)
    assert torch.equal(made.noise.state_dict()["generators"], before)  # training's are untouched


def test_a_variance_of_zero_is_no_measurement():
    measured = log_variance(torch.tensor([[1.0, 1.0], [0.0, 2.0]]))
    assert measured[0].isnan() and measured[1].item() == pytest.approx(np.log(2))


def test_a_summary_is_of_the_last_step_and_its_errors_are_over_seeds():
    """Eleven seeds with losses 0 to 1 at the end; the log-variance has two measurements each."""
    seeds = np.arange(11.0)
    table = {
        "step": np.repeat([50.0, 100.0], 11),
        "seed": np.tile(seeds, 2),
        "loss": np.concatenate([seeds + 100, seeds / 10]),
        "theta": np.concatenate([seeds / 100 + 0.8, seeds / 100]),
        "suboptimality": np.concatenate([seeds + 7, seeds / 20]),
        "log_variance": np.concatenate([seeds - 4, seeds - 2]),
    }
    summary = summarise(table)
    assert (summary.seeds, summary.steps) == (11, 100)
    assert (summary.loss_q10, summary.loss_median, summary.loss_q90) == pytest.approx(
        (0.1, 0.5, 0.9)
    )
    deviation = np.std(seeds, ddof=1)
    assert summary.loss_mean == pytest.approx(0.5)
    assert summary.loss_se == pytest.approx(deviation / 10 / 11**0.5)
    assert summary.suboptimality_median == pytest.approx(0.25)
    assert (summary.theta_median, summary.theta_max) == pytest.approx((0.05, 0.1))
    assert summary.log_variance_mean == pytest.approx(2.0)
    assert summary.log_variance_se == pytest.approx(deviation / 11**0.5)


def test_one_seed_has_no_standard_error():
    columns = ("step", "seed", "loss", "theta", "suboptimality", "log_variance")
    summary = summarise({name: np.array([1.0]) for name in columns})
    assert summary.loss_se is None and summary.log_variance_se is None
    assert headline(summary) == "loss 1.000000, log-variance 1.00"


def test_the_relaxation_is_learned_at_one_half(tmp_path, monkeypatch):
    """phi is trained and theta stays at one half."""
    runs = {}

    class Recorded(Run):
        def __init__(self, config, name):
            super().__init__(config, name)
            runs[name] = self

    monkeypatch.setattr(relaxation, "Run", Recorded)
    config = Toy(seeds=2, snapshots=[2, 5], device="cpu", runs=str(tmp_path))
    config.estimators = {"rebar": {}, "relax": {}}
    relaxation.train(config)
    assert set(runs) == {"rebar", "relax"}
    for name, run in runs.items():
        assert (run.logit == 0).all()
        fresh = Run(config, name)
        assert any(not torch.equal(p, q) for p, q in zip(run.phi, fresh.phi, strict=True))

"""The optimal surrogate of LAX: its variance is zero, and training finds it."""

import pandas as pd
import pytest
import torch

from experiments.toy import optimal_surrogate
from experiments.toy.optimal_surrogate import FUNCTIONS, THETA, optimal, quadrature, variance
from scripts.optimal_surrogate_figure import draw


def test_for_a_quadratic_the_optimum_is_f_plus_two():
    """In closed form: c* = f + 2 sigma^2, here with sigma = 1."""
    x = quadrature()
    middle = (x - THETA).abs() < 2
    best = optimal(FUNCTIONS["quadratic"], x)[middle]
    torch.testing.assert_close(best, (x.square() + 2)[middle], rtol=5e-3, atol=0)


@pytest.mark.parametrize("name", ["sine", "step"])
def test_the_optimum_has_no_variance(name):
    """The estimate (f - c*) s + c*' with the derivative by finite differences."""
    f, x = FUNCTIONS[name], quadrature()
    best = optimal(f, x)
    derivative = torch.gradient(best, spacing=(x,))[0]
    smooth = ((x - THETA).abs() < 2) & ((x - 0.5).abs() > 0.01)  # away from the tails and the jump
    estimate = ((f(x) - best) * (x - THETA) + derivative)[smooth]
    nothing = torch.zeros_like(x)
    assert estimate.var() < 1e-3 * variance(f, nothing, nothing, x)
    gradient = (f(x) * (x - THETA)).mean()
    torch.testing.assert_close(estimate.mean(), gradient, rtol=0, atol=2e-3)


def test_training_lowers_the_variance_and_the_figure_shows_it(tmp_path, monkeypatch):
    monkeypatch.setattr(optimal_surrogate, "STEPS", 60)
    monkeypatch.setattr(optimal_surrogate, "MEASURED", (0, 60))
    monkeypatch.setattr(optimal_surrogate, "SEEDS", 2)
    monkeypatch.setattr("sys.argv", ["optimal_surrogate", "--results", str(tmp_path)])
    optimal_surrogate.main()
    table = pd.read_csv(tmp_path / "toy/optimal/variance.csv")
    median = table.groupby(["f", "estimator", "step"])["variance"].median()
    assert median["step", "lax", 60] < 0.5 * median["step", "lax", 0]
    assert median["step", "lax", 0] == pytest.approx(median["step", "reinforce", 0], rel=1e-4)
    floor = median["mean of bits, squared", "local_expectation", 0]
    assert floor < median["mean of bits, squared", "relax", 60]
    assert draw(tmp_path / "toy/optimal", tmp_path).exists()

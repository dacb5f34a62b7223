"""Estimators compared at fixed parameters: variance, bias, evaluations, and what they run on."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import relax as rx
from experiments.compare import functions, settings
from experiments.compare import measure as compare
from experiments.compare.layers import Layer
from tests.test_layer import small


def listed(grads):
    """An estimator that returns these gradients one after the other, for two evaluations of f."""
    turns = iter(grads)

    def estimate(bench, dist, generator=None):
        for _ in range(2):
            bench(torch.zeros(dist.theta.shape))
        return SimpleNamespace(grad=next(turns))

    return estimate


def problem(rows=3):
    dist = rx.Bernoulli(torch.zeros(rows, 2))
    return functions.Exact(lambda b: b.sum(-1), dist)


def test_variance_mean_and_evaluations_are_those_of_the_estimates():
    """Ten estimates for three rows of two coordinates, with a mean far from 0."""
    grads = 5 + torch.randn(10, 3, 2, generator=torch.Generator().manual_seed(0))
    found = compare.measure(settings.Bench(problem()), listed(grads), 10, torch.Generator())
    plain = grads.double().numpy()
    assert found.variance == pytest.approx(plain.var(0, ddof=1).sum(-1).mean(), rel=1e-9)
    np.testing.assert_allclose(found.mean, plain.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.noise, plain.var(0, ddof=1) / 10, rtol=1e-9)
    assert found.evaluations == 2  # per estimate of a row
    assert len(found.grads) == 10


def test_noise_is_subtracted_from_the_squared_bias():
    """Means are off by 3 in one coordinate; their own variance is .5, the reference's .25."""
    two = torch.tensor([[3.0, 0.0], [3.0, 0.0]]) + torch.tensor([[1.0, 1.0], [-1.0, -1.0]]) / 2**0.5
    grads = two.double().unsqueeze(1).expand(2, 3, 2)
    found = compare.Measured(grads, 1.0, 1.0)
    torch.testing.assert_close(found.noise, torch.full((3, 2), 0.5).double())
    bias2, _ = compare.squared_bias(found, torch.zeros(3, 2), 0.25)
    assert bias2 == pytest.approx(9 - 2 * 0.75)


@pytest.mark.parametrize("name", ["knapsack", "sharp_choices"])
def test_the_exact_gradient_of_a_function(name):
    start = functions.problem(name, "start")
    bench = settings.Bench(start)
    built = settings.SETTINGS["rloo-4"].build(bench)
    found = compare.measure(bench, built[0], 20_000, torch.Generator().manual_seed(1), copies=1000)
    z = (found.mean - start.exact().flatten(1)) / found.noise.sqrt()
    assert z.abs().max() < 5


def test_training_lowers_the_mean_of_every_function():
    for name in functions.FUNCTIONS.keys() - {"cosine_parity"}:
        start, late = (functions.problem(name, stage) for stage in ("start", "late"))
        means = [p.f(p.dist.expand(2000).sample()).mean() for p in (late, start)]
        assert means[0] < means[1], name


@pytest.mark.parametrize("name", ["parities", "max_cut"])
def test_the_multilinear_functions_are_linear_in_every_bit(name):
    """So straight-through and ReinMax are exact there."""
    f = functions.FUNCTIONS[name][0](torch.Generator().manual_seed(0))
    low, high = torch.rand(2, 9, functions.BITS, generator=torch.Generator().manual_seed(1))
    for d in range(functions.BITS):
        mixed = low.clone()
        mixed[:, d] = high[:, d]
        middle = (low + mixed) / 2
        torch.testing.assert_close(f(middle), (f(low) + f(mixed)) / 2, rtol=1e-4, atol=1e-4)


def test_the_starting_values_are_at_most_three_times_as_noisy_as_leave_one_out():
    """On every function of 20 bits: eta = lambda = gamma = 1, without any fitting."""
    for name, (_, event) in functions.FUNCTIONS.items():
        for stage in ("start", "late") if event == (functions.BITS,) else ():
            if (name, stage) != ("cosine_parity", "late"):
                one, bench = functions.problem(name, stage), []
                for estimator in (rx.unbiased_reinmax, rx.rloo):
                    generator = torch.Generator().manual_seed(1)
                    many = one.dist.expand(5_000)
                    grad = estimator(one.f, many, generator=generator).grad
                    bench.append(grad.var(0).sum())
                assert bench[0] < 3 * bench[1], name


def test_flips_know_the_prior(float64):
    """With a prior away from 1/2, f of a flipped bit is f evaluated there."""
    vae, x = small("linear1", 9, 4, 5)
    with torch.no_grad():
        vae.prior.fill_(1.5)
    layer = Layer(vae, 0, x, torch.Generator().manual_seed(0))
    b = torch.randint(2, (5, 4), generator=torch.Generator().manual_seed(1)).double()
    turned = torch.cat([1 - b[:, :1], b[:, 1:]], 1)
    torch.testing.assert_close(layer.flips(b)[:, 0], layer.f(turned))

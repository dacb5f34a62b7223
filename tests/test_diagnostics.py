"""Diagnostics against numbers that are known."""

from functools import partial

import pytest
import torch

import relax as rx
from tests.helpers import quadratic

pytestmark = pytest.mark.usefixtures("float64")


def toy(b):
    return (b - 0.499).square().sum(-1)


def test_exact_gradient_of_the_toy():
    """d/dl [p (1-t)^2 + (1-p) t^2] = (1 - 2t) p (1 - p)."""
    logit = torch.tensor([0.3])
    p = torch.sigmoid(logit)
    expected = (1 - 2 * 0.499) * p * (1 - p)
    assert torch.allclose(rx.exact_gradient(toy, rx.Bernoulli(logit)), expected)


def test_variance_of_reinforce_at_the_start_of_the_toy():
    """At p = .5, t = .499 it is .015625; its logarithm -4.159 is where the paper's curve starts."""
    dist = rx.Bernoulli(torch.zeros(1))
    found = rx.gradient_variance({"reinforce": rx.reinforce}, toy, dist, samples=200_000)
    assert abs(float(found["reinforce"].log()) + 4.159) < 0.01


def test_every_estimator_starts_from_the_same_noise():
    dist = rx.Bernoulli(torch.tensor([0.2, -0.4]))
    found = rx.gradient_variance(
        {"a": rx.reinforce, "b": partial(rx.reinforce, baseline=0.0)}, quadratic, dist
    )
    assert torch.equal(found["a"], found["b"])


def test_signal_to_noise_is_mean_over_deviation():
    dist = rx.Bernoulli(torch.tensor([0.8]))
    generator = torch.Generator().manual_seed(0)
    found = rx.signal_to_noise(
        {"r": rx.reinforce}, quadratic, dist, samples=400_000, generator=generator
    )
    variance = rx.gradient_variance({"r": rx.reinforce}, quadratic, dist, samples=400_000)
    expected = rx.exact_gradient(quadratic, dist).abs() / variance["r"].sqrt()
    assert torch.allclose(found["r"], expected, rtol=0.02)


def test_bias_test_sees_a_bias_of_five_percent():
    def biased(f, dist, **options):
        est = rx.rebar(f, dist, **options)
        return rx.Estimate(est.theta, 1.05 * est.grad, est.value, est.draw)

    dist = rx.Bernoulli(torch.tensor([0.8, 1.5]))
    generator = torch.Generator().manual_seed(0)
    assert rx.bias_test(rx.rebar, quadratic, dist, generator=generator).max_z < 5
    assert rx.bias_test(biased, quadratic, dist, generator=generator).max_z > 5

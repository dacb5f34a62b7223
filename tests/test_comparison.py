"""Estimators compared at fixed parameters: variance, bias, evaluations, and the race on a clock."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import relax as rx
from experiments.compare import measure as compare
from experiments.compare import problems, race, settings
from experiments.vae import data
from tests.test_layer import small


def listed(grads):
    """An estimator that returns these gradients one after the other, for two evaluations of f."""
    turns = iter(grads)

    def estimate(bench, dist, generator=None):
        for _ in range(2):
            bench(torch.zeros(dist.theta.shape))
        return SimpleNamespace(grad=next(turns))

    return estimate, []


def problem(rows=3):
    dist = rx.Bernoulli(torch.zeros(rows, 2))
    return problems.Toy(dist, lambda b: b.sum(-1))


def test_variance_mean_and_evaluations_are_those_of_the_estimates():
    """Ten estimates for three rows of two coordinates, with a mean far from 0."""
    grads = 5 + torch.randn(10, 3, 2, generator=torch.Generator().manual_seed(0))
    bench = settings.Bench(problem())
    found = compare.measure(bench, listed(grads), 10, torch.Generator())
    plain = grads.double().numpy()
    assert found.variance == pytest.approx(plain.var(0, ddof=1).sum(-1).mean(), rel=1e-9)
    np.testing.assert_allclose(found.mean, plain.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.variance_of_mean, plain.var(0, ddof=1) / 10, rtol=1e-9)
    assert found.evaluations == 2  # per estimate of a row
    assert found.draws == 10


def test_noise_is_subtracted_from_the_squared_bias():
    """Means are off by 3 in one coordinate; their own variance is .5, the reference's .25."""
    zeros = torch.zeros(3, 2).double()
    found = compare.Measured(1.0, 1.0, 1.0, zeros + torch.tensor([3.0, 0.0]), zeros + 0.5)
    compare.add_bias(found, zeros, zeros + 0.25)
    assert found.bias2 == pytest.approx(9 - 2 * 0.75)


@pytest.mark.parametrize("name", ["several_z-2", "pairs_relax-2"])
def test_own_variants_are_unbiased_away_from_one_half(float64, name):
    torch.manual_seed(0)

    def f(b):
        return torch.sin(3 * b.sum(-1)) + b.prod(-1)

    toy = problems.Toy(rx.Bernoulli(torch.tensor([[1.3, -0.8]])), f)
    bench = settings.Bench(toy)
    made = settings.SETTINGS[name].build(bench)
    found = compare.measure(bench, made, 100_000, torch.Generator().manual_seed(1), copies=10_000)
    z = (found.mean - toy.exact()) / found.variance_of_mean.sqrt()
    assert z.abs().max() < 5


def test_a_race_s_curve_is_the_mean_of_f_since_the_last_point(monkeypatch):
    """A clock that moves a second a step: six steps, three points."""
    ticks, values = itertools.count(), []
    monkeypatch.setattr("time.process_time", lambda: float(next(ticks)))
    backward = rx.backward

    def noting(est, phi):
        values.append(est.value.detach().mean().item())
        backward(est, phi)

    monkeypatch.setattr(rx, "backward", noting)
    _, x = small("linear1", 9, 4, 40)
    images = data.Images("random", x, x, x, x.mean(0), 3)
    curve = race.race("linear1", images, settings.SETTINGS["rloo-2"], 6.0, points=3, batch=8)
    assert [(point.seconds, point.steps) for point in curve] == [(2, 2), (4, 4), (6, 6)]
    wanted = np.array(values).reshape(3, 2).mean(1)
    assert [point.train for point in curve] == pytest.approx(wanted, rel=1e-6)


def test_flips_know_the_prior(float64):
    """With a prior away from 1/2, f of a flipped bit is f evaluated there."""
    vae, x = small("linear1", 9, 4, 5)
    with torch.no_grad():
        vae.prior.fill_(1.5)
    layer = race.Layer(vae, 0, x, torch.Generator().manual_seed(0))
    b = torch.randint(2, (5, 4), generator=torch.Generator().manual_seed(1)).double()
    turned = torch.cat([1 - b[:, :1], b[:, 1:]], 1)
    torch.testing.assert_close(layer.flips(b)[:, 0], layer.f(turned))


def test_the_variance_of_the_weights_gradient_is_torchs_over_draws(float64):
    vae, x = small("linear1", 9, 4, 5)
    weights = list(vae.encoder.parameters())
    layer = problems.Layer(vae, 0, x, torch.Generator().manual_seed(0), attached=True)
    setting, bench = settings.SETTINGS["reinforce"], settings.Bench(layer)
    generator = torch.Generator()
    made = setting.build(bench)
    found = compare.measure(bench, made, 7, generator.manual_seed(1), weights=weights)
    estimates, plain = generator.manual_seed(1), []
    for _ in range(7):
        est = rx.reinforce(layer.f, layer.dist, generator=estimates)
        plain.append(torch.cat([g.flatten() for g in rx.gradients(est, weights)]))
    assert found.weights == pytest.approx(float(torch.stack(plain).var(0).sum()), rel=1e-9)

"""What each later estimator is, beside unbiased or not: the identities that its paper claims."""

import sys
from functools import partial

import pytest
import torch

import relax as rx
from tests.helpers import (
    cases,
    distribution,
    linear,
    over_event,
    quadratic,
    replay,
    same,
    wavy,
    without_checks,
)

pytestmark = pytest.mark.usefixtures("float64")

LOGITS = (-3.0, -0.7, 0.0, 1.4)


def rows(dist, n):
    return dist.expand(n)


def mean_over_outcomes(estimator, f, dist):
    b = dist.support()
    many = without_checks(rows(dist, len(b)))
    grad = replay(estimator, f, many, many.noise(), b).grad
    p = dist.log_prob(b).reshape(len(b), -1).sum(-1).exp()
    return (p.reshape(-1, *(1,) * (grad.ndim - 1)) * grad).sum(0)


@pytest.mark.parametrize("name", ["bernoulli", "categorical"])
def test_reinmax_is_exact_for_a_quadratic_f_and_not_for_another(name):
    dist = distribution(name)
    assert same(mean_over_outcomes(rx.reinmax, quadratic, dist), rx.exact_gradient(quadratic, dist))
    error = mean_over_outcomes(rx.reinmax, wavy, dist) - rx.exact_gradient(wavy, dist)
    assert error.abs().max() > 1e-3


def test_straight_through_is_exact_for_a_linear_f_and_not_for_a_quadratic():
    dist = distribution("bernoulli")
    mean = partial(mean_over_outcomes, rx.straight_through)
    assert same(mean(linear, dist), rx.exact_gradient(linear, dist))
    assert (mean(quadratic, dist) - rx.exact_gradient(quadratic, dist)).abs().max() > 1e-2


def test_straight_through_gumbel_is_the_detached_difference_trick():
    many = rows(distribution("categorical"), 20)
    theta = many.theta.clone().requires_grad_()
    draw = rx.Categorical(theta).draw()
    soft = torch.softmax(draw.z / 0.7, -1)
    wavy(soft + (draw.b - soft).detach()).sum().backward()
    assert same(theta.grad, rx.st_gumbel(wavy, draw.at(many), lambda_=0.7).grad)


@pytest.mark.parametrize("name", ["bernoulli", "categorical"])
def test_rao_blackwellised_gumbel_has_the_mean_of_gumbel_given_b(name):
    dist = distribution(name)
    many, generator = rows(dist, 200_000), torch.Generator().manual_seed(1)
    b = many.support()[-2]
    draw = many.draw(generator=generator)
    on_b = (draw.b == b).flatten(1).all(-1)
    plain = rx.st_gumbel(wavy, draw).grad[on_b]
    noise = rx.rao_gumbel.noise(many, generator=generator)
    rao = replay(rx.rao_gumbel, wavy, without_checks(many), noise, b).grad
    error = (plain.var(0) / len(plain) + rao.var(0) / len(rao)).sqrt()
    assert ((plain.mean(0) - rao.mean(0)) / error).abs().max() < 5
    assert (rao.var(0) < plain.var(0)).all()


@pytest.mark.parametrize("name", ["bernoulli", "categorical", "categoricals"])
def test_local_expectation_is_unbiased_by_enumeration(name):
    dist = distribution(name)
    f = over_event(wavy, dist)
    assert same(mean_over_outcomes(rx.local_expectation, f, dist), rx.exact_gradient(f, dist))


@pytest.mark.parametrize("name", ["bernoulli", "categorical"])
def test_local_expectation_of_one_coordinate_is_exact(name):
    theta = distribution(name).theta
    dist = rx.Bernoulli(theta[:1]) if name == "bernoulli" else rx.Categorical(theta)
    grad = rx.local_expectation(wavy, rows(dist, 30), samples=2).grad
    assert same(grad, rx.exact_gradient(wavy, dist).expand_as(grad))


def test_local_expectation_takes_the_flips_that_f_offers():
    class Flips:
        def __call__(self, b):
            return wavy(b)

        def flips(self, b):
            each = [torch.where(torch.arange(3) == d, 1 - b, b) for d in range(3)]
            return torch.stack([wavy(x) for x in each], -1)

    draw = rows(distribution("bernoulli"), 20).draw(2)
    one, other = (rx.local_expectation(f, draw).grad for f in (Flips(), wavy))
    assert same(one, other)


def test_measure_valued_derivatives_are_unbiased():
    """f = sin(b_1) b_2^2 + exp(b_2 / 3), whose expectation has a closed form."""
    theta = torch.tensor([[0.3, -0.2], [-0.4, 0.1]], requires_grad=True)
    (m_1, m_2), (s_1, s_2) = theta[:, 0], theta[:, 1].exp()
    first = torch.sin(m_1) * torch.exp(-s_1 * s_1 / 2) * (m_2 * m_2 + s_2 * s_2)
    expectation = first + torch.exp(m_2 / 3 + s_2 * s_2 / 18)
    (exact,) = torch.autograd.grad(expectation, theta)

    def f(b):
        return torch.sin(b[..., 0]) * b[..., 1] ** 2 + torch.exp(b[..., 1] / 3)

    dist = rx.Normal(*theta.detach().unbind(-1))
    for samples in (1, 3):
        test = rx.bias_test(
            partial(rx.measure_valued, samples=samples),
            f,
            dist,
            exact=exact,
            generator=torch.Generator().manual_seed(4),
        )
        assert test.max_z < 5


@pytest.mark.parametrize(("name", "own"), [("arms", {}), ("unbiased_reinmax", {"eta": 0.3})])
def test_plain_leave_one_out_between_antithetic_samples_is_biased(name, own, monkeypatch):
    """The mutant: the correction for the samples' correlation left out."""
    module = sys.modules[f"relax.estimators.{name}"]
    monkeypatch.setattr(module, "debias", lambda theta, samples: torch.ones_like(theta))
    estimator = partial(getattr(rx, name), samples=2, **own)
    generator = torch.Generator().manual_seed(7)
    assert rx.bias_test(estimator, wavy, distribution("bernoulli"), generator=generator).max_z > 10


@pytest.mark.parametrize("case", cases("bernoulli", "categorical"), ids=lambda case: case.id)
def test_finite_at_extreme_logits_in_float32(case):
    n = distribution(case.dist).theta.shape[-1]
    estimator = case.bind(distribution(case.dist))
    torch.set_default_dtype(torch.float32)
    generator = torch.Generator().manual_seed(5)
    logits = 60 * torch.rand(20_000, n, generator=generator) - 30
    logits[:1000] = 30 * logits[:1000].sign()
    dist = rx.Bernoulli(logits) if case.dist == "bernoulli" else rx.Categorical(logits)
    own = {
        key: value.float() if isinstance(value, torch.Tensor) else value
        for key, value in estimator.keywords.items()
        if key != "c"
    }
    if "c" in estimator.keywords:
        own["c"] = lambda z: torch.sigmoid(z / 0.7).sum(-1).sin()
    est = estimator.func(wavy, dist, generator=generator, **own)
    assert est.grad.isfinite().all()

"""What each later estimator is, beside unbiased or not: the identities that its paper claims."""

import math
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
from tests.quadrature import gauss_legendre

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


@pytest.mark.parametrize("logit", LOGITS)
def test_rao_relax_is_coupled_relax_with_its_noise_given_b_taken_out(logit):
    """The same sample with gamma = 0, the same mean given b with any; no noise for a linear f."""
    p, lambda_, eta = 1 / (1 + math.exp(-logit)), 0.4, 0.7

    def h(z):  # 1 - v = P(beyond z | b), beyond as seen from the threshold
        p_b = torch.where(z > 0, p, 1 - p)
        s = torch.where(z > 0, 1.0, -1.0)
        beyond = torch.sigmoid(s * (logit - z)) / p_b
        return (s + 1 - s * beyond ** (1 / (lambda_ * (1 - p_b)))) / 2

    for low, high in ((0.0, 1 - p), (1 - p, 1.0)):
        u, w = gauss_legendre([low, high])
        dist = rx.Bernoulli(torch.full((len(u), 1), logit))
        v = (u - low) / (high - low) if low else 1 - u / high
        draw = rx.Draw(dist, rx.Noise(u[:, None], v[:, None]))
        coupled = rx.Draw(dist, rx.Noise(u[:, None]))
        for f in (linear, wavy):
            plain = rx.relax(f, coupled, c=lambda z, f=f: eta * f(h(z)))
            own = {"eta": eta, "lambda_": lambda_}
            zero, rao = (rx.rao_relax(f, draw, gamma=gamma, **own) for gamma in (0.0, 1.0))
            assert same(zero.grad, plain.grad, 1e-9)
            means = [(w[:, None] * e.grad).sum() / w.sum() for e in (plain, rao)]
            assert same(*means, 1e-9)
            if f is linear:
                assert same(rao.grad, rao.grad[:1].expand_as(rao.grad))
                assert plain.grad.std() > 1e-3


@pytest.mark.parametrize(("name", "own"), [("arms", {}), ("rao_relax", {"eta": 0.3})])
def test_plain_leave_one_out_between_antithetic_samples_is_biased(name, own, monkeypatch):
    """The mutant: the correction for the samples' correlation left out."""
    module = sys.modules[f"relax.estimators.{name}"]
    monkeypatch.setattr(module, "debias", lambda theta, samples: torch.ones_like(theta))
    estimator = partial(getattr(rx, name), samples=2, **own)
    generator = torch.Generator().manual_seed(7)
    assert rx.bias_test(estimator, wavy, distribution("bernoulli"), generator=generator).max_z > 10


def test_rao_relax_learns_and_has_less_variance_than_rebar():
    """On 40 bits behind a linear decoder: the more coordinates, the nearer to linear in each."""
    torch.manual_seed(6)
    weight, pixels = torch.randn(40, 30), torch.randint(2, (30,)).double()

    def f(b):
        return -rx.Bernoulli((2 * b - 1) @ weight).log_prob(pixels).sum(-1)

    many = rx.Bernoulli(torch.randn(40).expand(4_000, 40))
    gamma, scales = torch.tensor(1.0, requires_grad=True), rx.surrogates.Scales(1.0, 0.1)
    est = rx.rao_relax(f, many, eta=scales.eta, lambda_=scales.lambda_, gamma=gamma)
    rx.variance_objective(est).backward()
    assert all(p.grad.abs() > 1e-2 for p in (gamma, *scales.parameters()))
    rebar = rx.rebar(f, many, eta=1.0, lambda_=0.1).grad
    assert est.grad.var(0).sum() < 0.5 * rebar.var(0).sum()


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


def test_rao_relax_learns_at_extreme_logits_in_float32():
    torch.set_default_dtype(torch.float32)
    logits = torch.linspace(-150, 150, 301).expand(100, 301)
    scales = rx.surrogates.Scales(1.0, 0.1)
    est = rx.rao_relax(
        lambda b: b.sum(-1).sin(), rx.Bernoulli(logits), eta=scales.eta, lambda_=scales.lambda_
    )
    rx.variance_objective(est).backward()
    assert all(p.grad.isfinite() for p in scales.parameters())

"""Exact per-sample identities between estimators, and the fast forms against the papers' forms."""

import pytest
import torch

import relax as rx
from tests import reference
from tests.helpers import cases, distribution, draw_of, on, quadratic, smooth_surrogate, wavy

pytestmark = pytest.mark.usefixtures("float64")

ROWS = 200


def many(name):
    """Rows of the same distribution whose theta is a leaf."""
    dist = distribution(name)
    return dist.with_theta(dist.theta.expand(ROWS, *dist.theta.shape).clone().requires_grad_())


def same(a, b):
    return torch.allclose(a, b, rtol=1e-12, atol=1e-12)


def constant(z):
    """A surrogate whose value is .3 and whose derivative is 0; a c without z is refused."""
    return 0.3 + 0 * z.sum(-1)


@pytest.mark.parametrize("name", ["bernoulli", "categorical"])
@pytest.mark.parametrize("coupled", [False, True])
def test_relax_with_a_constant_c_is_reinforce_with_that_baseline(name, coupled):
    draw = many(name).draw(coupled=coupled)
    relax = rx.relax(wavy, draw, c=constant)
    assert same(relax.grad, rx.reinforce(wavy, draw, baseline=0.3).grad)


def test_lax_with_a_constant_c_is_reinforce_with_that_baseline():
    draw = many("normal").draw()
    lax = rx.lax(wavy, draw, c=constant)
    assert same(lax.grad, rx.reinforce(wavy, draw, baseline=0.3).grad)


def test_lax_with_c_equal_to_f_is_pathwise():
    draw = many("normal").draw()
    assert same(rx.lax(wavy, draw, c=wavy).grad, rx.pathwise(wavy, draw).grad)


@pytest.mark.parametrize("name", ["bernoulli", "categorical"])
@pytest.mark.parametrize("coupled", [False, True])
def test_relax_with_the_relaxed_objective_is_rebar(name, coupled):
    draw = many(name).draw(coupled=coupled)
    relax = rx.relax(wavy, draw, c=lambda z: 0.7 * wavy(draw.dist.relaxed(z, 0.4)))
    assert same(relax.grad, rx.rebar(wavy, draw, eta=0.7, lambda_=0.4).grad)


def test_rebar_of_tucker_with_coupled_noise_keeps_the_direct_path_in_theta():
    """Its relaxation sees theta; with z~ = z the direct terms cancel: leaving them out is exact."""
    draw = many("bernoulli").draw(coupled=True)
    eta, lambda_ = 0.8, 0.6

    def c(z):
        shift = draw.dist.theta * lambda_ / (lambda_ + 1)
        return eta * wavy(torch.sigmoid(z / lambda_ + shift))

    tucker = rx.rebar(wavy, draw, eta=eta, lambda_=lambda_, relaxation="tucker")
    assert same(tucker.grad, reference.relax(wavy(draw.b), draw, c))


def phi_gradient(grad, phi):
    return torch.autograd.grad(grad.square().sum(), phi, retain_graph=True, allow_unused=True)


@pytest.mark.parametrize("activation", ["tanh", "elu", "relu"])
@pytest.mark.parametrize("name", ["bernoulli", "categorical"])
@pytest.mark.parametrize("coupled", [False, True])
def test_fast_relax_equals_the_papers_form(name, coupled, activation):
    """Stacked evaluation, closed-form derivatives and value_and_grad, in value and for phi."""
    torch.manual_seed(4)
    draw = many(name).draw(coupled=coupled)
    c = rx.surrogates.mlp(
        3, hidden=7, layers=2, activation=activation, lambda_=0.6, zero_scale=False
    )
    phi = list(c.parameters())
    plain = reference.relax(wavy(draw.b), draw, c)
    fast = rx.relax(wavy, draw, c=c).grad
    by_autograd = rx.relax(wavy, draw, c=lambda z: c(z)).grad
    for grad in (fast, by_autograd):
        assert same(grad, plain)
        for a, b in zip(phi_gradient(grad, phi), phi_gradient(plain, phi), strict=True):
            assert torch.allclose(a, b, rtol=1e-11, atol=1e-12)


def test_fast_lax_and_dlax_equal_the_papers_form():
    draw, c = many("normal").draw(), smooth_surrogate(distribution("normal"))
    assert same(rx.lax(wavy, draw, c=c).grad, reference.lax(wavy, draw, c))
    for name in ("bernoulli", "categorical"):
        draw, c = many(name).draw(), smooth_surrogate(distribution(name))
        assert same(rx.dlax(wavy, draw, c=c).grad, reference.dlax(wavy, draw, c))


@pytest.mark.parametrize("coupled", [False, True])
def test_rebar_equals_the_papers_form(coupled):
    draw = many("bernoulli").draw(coupled=coupled)
    scales = rx.surrogates.Scales(eta=0.9, lambda_=0.7)
    phi = list(scales.parameters())
    fast = rx.rebar(quadratic, draw, eta=scales.eta, lambda_=scales.lambda_).grad
    plain = reference.rebar(quadratic, draw, scales.eta, scales.lambda_)
    assert same(fast, plain)
    for a, b in zip(phi_gradient(fast, phi), phi_gradient(plain, phi), strict=True):
        assert torch.allclose(a, b, rtol=1e-11)


@pytest.mark.parametrize("case", cases("bernoulli", "categorical", "normal"), ids=lambda c: c.id)
def test_a_draw_makes_an_estimator_a_pure_function(case):
    """The same draw, the same gradient, from the function f as from the value f(b)."""
    estimator, dist = case.bind(distribution(case.dist)), many(case.dist)
    draw = draw_of(estimator, dist, generator=torch.Generator().manual_seed(0))
    first = on(estimator, wavy, draw)
    assert torch.equal(first.grad, on(estimator, wavy, draw).grad)
    assert first.grad.shape == dist.theta.shape
    try:
        by_value = on(estimator, wavy(draw.b), draw)
    except TypeError as error:  # it evaluates f at other points
        assert "needs f as a function" in str(error)
    else:
        assert torch.equal(first.grad, by_value.grad)


@pytest.mark.parametrize("samples", [2, 5])
@pytest.mark.parametrize("name", ["reinforce", "rebar", "relax", "dlax", "concrete"])
def test_the_mean_over_samples_is_taken_inside(name, samples):
    dist = many("bernoulli")
    settings = [case for case in cases("bernoulli") if case.name == name]
    estimator = settings[0].bind(distribution("bernoulli"))
    noise = dist.noise(samples)
    together = on(estimator, wavy, rx.Draw(dist, noise))
    assert together.value.shape == (samples, ROWS)
    alone = [
        on(estimator, wavy, rx.Draw(dist, rx.Noise(noise.u[k], noise.v[k]))).grad
        for k in range(samples)
    ]
    assert same(together.grad, torch.stack(alone).mean(0))

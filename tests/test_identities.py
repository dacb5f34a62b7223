"""Exact per-sample identities between estimators, and the fast forms against the papers' forms."""

import pytest
import torch

import relax as rx
from relax import reference
from tests.helpers import distribution, own_arguments, quadratic, smooth_surrogate, wavy

pytestmark = pytest.mark.usefixtures("float64")

ROWS = 200


def many(name):
    """Rows of the same distribution whose theta is a leaf."""
    dist = distribution(name)
    return dist.with_theta(dist.theta.expand(ROWS, *dist.theta.shape).clone().requires_grad_())


def same(a, b):
    return torch.allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["bernoulli", "categorical"])
@pytest.mark.parametrize("coupled", [False, True])
def test_relax_with_a_constant_c_is_reinforce_with_that_baseline(name, coupled):
    dist = many(name)
    noise = dist.noise()
    relax = rx.relax(
        wavy, dist, c=lambda z: torch.full(z.shape[:-1], 0.3), noise=noise, coupled=coupled
    )
    assert same(relax.grad, rx.reinforce(wavy, dist, baseline=0.3, noise=noise).grad)


def test_lax_with_a_constant_c_is_reinforce_with_that_baseline():
    dist = many("normal")
    noise = dist.noise()
    lax = rx.lax(wavy, dist, c=lambda z: torch.full(z.shape[:-1], 0.3), noise=noise)
    assert same(lax.grad, rx.reinforce(wavy, dist, baseline=0.3, noise=noise).grad)


def test_lax_with_c_equal_to_f_is_pathwise():
    dist = many("normal")
    noise = dist.noise()
    lax = rx.lax(wavy, dist, c=wavy, noise=noise)
    assert same(lax.grad, rx.pathwise(wavy, dist, noise=noise).grad)


@pytest.mark.parametrize("name", ["bernoulli", "categorical"])
@pytest.mark.parametrize("coupled", [False, True])
def test_relax_with_the_relaxed_objective_is_rebar(name, coupled):
    dist = many(name)
    noise = dist.noise()
    relax = rx.relax(
        wavy, dist, c=lambda z: 0.7 * wavy(dist.relaxed(z, 0.4)), noise=noise, coupled=coupled
    )
    rebar = rx.rebar(wavy, dist, eta=0.7, lambda_=0.4, noise=noise, coupled=coupled)
    assert same(relax.grad, rebar.grad)


def test_rebar_of_tucker_with_coupled_noise_keeps_the_direct_path_in_theta():
    """Its relaxation sees theta; with z~ = z the direct terms cancel: leaving them out is exact."""
    dist = many("bernoulli")
    noise = dist.noise(coupled=True)
    eta, lambda_ = 0.8, 0.6

    def c(z):
        shift = dist.theta * lambda_ / (lambda_ + 1)
        return eta * wavy(torch.sigmoid(z / lambda_ + shift))

    tucker = rx.rebar(wavy, dist, eta=eta, lambda_=lambda_, relaxation="tucker", noise=noise)
    assert same(tucker.grad, reference.relax(wavy, dist, c, noise))


def phi_gradient(grad, phi):
    return torch.autograd.grad(grad.square().sum(), phi, retain_graph=True, allow_unused=True)


@pytest.mark.parametrize("activation", ["tanh", "elu", "relu"])
@pytest.mark.parametrize("name", ["bernoulli", "categorical"])
@pytest.mark.parametrize("coupled", [False, True])
def test_fast_relax_equals_the_papers_form(name, coupled, activation):
    """Stacked evaluation, closed-form derivatives and value_and_grad, in value and for phi."""
    torch.manual_seed(4)
    dist = many(name)
    c = rx.surrogates.mlp(3, hidden=7, layers=2, activation=activation, lambda_=0.6)
    phi = list(c.parameters())
    noise = dist.noise(coupled=coupled)
    plain = reference.relax(wavy, dist, c, noise)
    fast = rx.relax(wavy, dist, c=c, noise=noise).grad
    by_autograd = rx.relax(wavy, dist, c=lambda z: c(z), noise=noise).grad
    for grad in (fast, by_autograd):
        assert same(grad, plain)
        for a, b in zip(phi_gradient(grad, phi), phi_gradient(plain, phi), strict=True):
            assert torch.allclose(a, b, rtol=1e-11, atol=1e-12)


def test_fast_lax_and_dlax_equal_the_papers_form():
    normal, bernoulli = many("normal"), many("bernoulli")
    c = smooth_surrogate(distribution("normal"))
    noise = normal.noise()
    lax = rx.lax(wavy, normal, c=c, noise=noise)
    assert same(lax.grad, reference.lax(wavy, normal, c, noise))
    c = smooth_surrogate(distribution("bernoulli"))
    noise = bernoulli.noise()
    dlax = rx.dlax(wavy, bernoulli, c=c, noise=noise)
    assert same(dlax.grad, reference.dlax(wavy, bernoulli, c, noise))


@pytest.mark.parametrize("coupled", [False, True])
def test_rebar_equals_the_papers_form(coupled):
    dist = many("bernoulli")
    noise = dist.noise(coupled=coupled)
    scales = rx.surrogates.Scales(eta=0.9, lambda_=0.7)
    phi = list(scales.parameters())
    fast = rx.rebar(quadratic, dist, eta=scales.eta, lambda_=scales.lambda_, noise=noise).grad
    plain = reference.rebar(quadratic, dist, scales.eta, scales.lambda_, noise)
    assert same(fast, plain)
    for a, b in zip(phi_gradient(fast, phi), phi_gradient(plain, phi), strict=True):
        assert torch.allclose(a, b, rtol=1e-11)


@pytest.mark.parametrize("name", list(rx.ESTIMATORS))
def test_noise_makes_an_estimator_a_pure_function(name):
    """The same noise, the same gradient; and rows do not see each other."""
    kind = {rx.Bernoulli: "bernoulli", rx.Categorical: "categorical", rx.Normal: "normal"}
    dist = many(kind[rx.ESTIMATORS[name].distributions[0]])
    own = own_arguments(name, distribution(kind[rx.ESTIMATORS[name].distributions[0]]))[0]
    estimator = rx.ESTIMATORS[name].function
    noise = rx.noise(name, dist, generator=torch.Generator().manual_seed(0))
    first = estimator(wavy, dist, noise=noise, **own)
    assert torch.equal(first.grad, estimator(wavy, dist, noise=noise, **own).grad)
    assert first.grad.shape == dist.theta.shape


@pytest.mark.parametrize("samples", [2, 5])
@pytest.mark.parametrize("name", ["reinforce", "rebar", "relax", "dlax", "concrete"])
def test_the_mean_over_samples_is_taken_inside(name, samples):
    dist = many("bernoulli")
    own = own_arguments(name, distribution("bernoulli"))[0]
    estimator = rx.ESTIMATORS[name].function
    noise = rx.noise(name, dist, samples=samples)
    together = estimator(wavy, dist, samples=samples, noise=noise, **own)
    assert together.value.shape == (samples, ROWS)
    alone = [
        estimator(wavy, dist, noise=type(noise)(noise.u[k], noise.v[k]), **own).grad
        for k in range(samples)
    ]
    assert same(together.grad, torch.stack(alone).mean(0))

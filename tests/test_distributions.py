"""Draws: the coupling of b, z and z~, the closed-form derivatives, and the numbers in float32."""

import math

import pytest
import torch

import relax as rx
from relax import Noise
from relax.distributions import softplus
from tests import mutants
from tests.helpers import Case, distribution
from tests.test_unbiased import TOLERANCE, quadrature_error

pytestmark = pytest.mark.usefixtures("float64")

DISCRETE = ("bernoulli", "categorical", "categoricals")


def test_coupling_reproduces_b():
    for name in ("bernoulli", "categorical", "categoricals"):
        for dtype in (torch.float32, torch.float64):
            base = distribution(name)
            theta = base.theta.to(dtype) * 4
            dist = type(base)(theta, event_ndim=base.event_ndim).expand(20_000)
            for coupled in (False, True):
                draw = dist.draw(coupled=coupled)
                assert torch.equal(dist.hard(draw.z), draw.b)
                assert torch.equal(dist.hard(draw.z_tilde), draw.b)


def test_coupling_catches_an_unconditioned_z_tilde():
    dist = mutants.Unconditioned(torch.zeros(1000, 3))
    draw = dist.draw()
    assert not torch.equal(dist.hard(draw.z_tilde), draw.b)


def test_an_unconditioned_z_tilde_passes_the_bias_test():
    """Why the coupling test is needed: this mutant keeps the mean and loses the benefit."""
    case = Case("relax", "bernoulli", 0)
    assert quadrature_error(case, mutants.Unconditioned) < TOLERANCE


def test_conditional_law_agrees_with_rejection():
    """z~ given b has the law of those z that make b."""
    torch.manual_seed(3)
    dist = rx.Categorical(torch.tensor([0.05, 0.15, 0.3, 0.5]).log()).expand(400_000)
    z = dist.draw(coupled=True).z
    for k in range(4):
        b = torch.eye(4)[k].expand_as(z)
        z_tilde = rx.Draw(dist, dist.noise(), b).z_tilde
        chosen = z[z.argmax(-1) == k]
        error = chosen.std(0) / math.sqrt(len(chosen)) + z_tilde.std(0) / math.sqrt(len(z))
        assert ((chosen.mean(0) - z_tilde.mean(0)) / error).abs().max() < 5


def test_log_space_form_is_the_textbook_form():
    """v' = v theta + 1 - theta for b = 1 and v (1 - theta) for b = 0; z~ = l + logit(v')."""
    logits = torch.linspace(-5, 5, 41)[:, None].expand(41, 101)
    v = torch.linspace(0.001, 0.999, 101).expand(41, 101)
    theta = torch.sigmoid(logits)
    dist = rx.Bernoulli(logits)
    for b in (torch.zeros_like(v), torch.ones_like(v)):
        v_prime = torch.where(b > 0, v * theta + 1 - theta, v * (1 - theta))
        textbook = logits + torch.logit(v_prime)
        assert torch.allclose(rx.Draw(dist, Noise(v, v), b).z_tilde, textbook, atol=1e-9)


def test_softplus_is_exact_where_torch_switches():
    x = torch.tensor([19.0, 21.0, 30.0])
    assert torch.allclose(softplus(x) - x, torch.log1p(torch.exp(-x)), rtol=0, atol=8e-15)


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("name", DISCRETE)
def test_closed_form_derivatives_equal_autograd(name, coupled):
    torch.manual_seed(1)
    base = distribution(name)
    dist = base.with_theta((3 * base.theta).expand(50, *base.theta.shape).clone().requires_grad_())
    draw = dist.draw(coupled=coupled)
    grad = torch.randn_like(draw.z)

    def vjp(z):
        return torch.autograd.grad(z, dist.theta, grad, retain_graph=True)[0]

    z_tilde = draw.z_tilde.detach()
    assert torch.allclose(vjp(draw.z), draw.vjp_z(grad), atol=1e-12)
    assert torch.allclose(vjp(draw.z_tilde), draw.vjp_z_tilde(grad, z_tilde), atol=1e-10)
    if coupled:
        assert torch.allclose(draw.z, draw.z_tilde, atol=1e-12)


@pytest.mark.parametrize("name", [*DISCRETE, "normal"])
def test_score_is_the_derivative_of_log_prob(name):
    base = distribution(name)
    dist = base.with_theta(base.theta.requires_grad_())
    b = dist.sample()
    (score,) = torch.autograd.grad(dist.log_prob(b).sum(), dist.theta)
    assert torch.allclose(score, dist.score(b), atol=1e-12)


@pytest.mark.parametrize("name", ["bernoulli", "categoricals"])
def test_score_of_z_has_mean_zero_and_the_right_derivative(name):
    """E[score] = 0 and E[z score] = dE[z]/dtheta, here one per coordinate of log p."""
    torch.manual_seed(2)
    dist = distribution(name).expand(400_000)
    z = dist.draw(coupled=True).z
    score = dist.score_z(z)
    error = score.std(0) / math.sqrt(len(z))
    assert (score.mean(0) / error).abs().max() < 5
    weight = torch.linspace(-1, 2, z.shape[-1])
    product = (z * weight).sum(-1, keepdim=True) * score
    expected = dist.vjp_z(weight.expand_as(z), z)[0]
    error = product.std(0) / math.sqrt(len(z))
    assert ((product.mean(0) - expected) / error).abs().max() < 5


def test_ten_million_float32_draws_are_finite():
    """Logits up to 30, both kinds of noise, values and derivatives."""
    generator = torch.Generator().manual_seed(0)
    for scale in (1.0, 12.0, 30.0):
        logits = torch.empty(1_700_000, 1, dtype=torch.float32).uniform_(
            -scale, scale, generator=generator
        )
        for coupled in (False, True):
            dist = rx.Bernoulli(logits)
            draw = dist.draw(generator=generator, coupled=coupled)
            derivative = draw.vjp_z_tilde(torch.ones_like(draw.z), draw.z_tilde)
            total = draw.z.sum() + draw.z_tilde.sum() + derivative.sum() + dist.score(draw.b).sum()
            assert torch.isfinite(total)
            assert torch.equal(dist.hard(draw.z_tilde), draw.b)


def test_float32_autograd_through_z_tilde_is_finite():
    logits = torch.linspace(-30, 30, 200_000, dtype=torch.float32)[:, None].requires_grad_()
    edge = torch.finfo(torch.float32).eps
    for u in (edge / 4, 0.5, 1 - edge / 2):
        for v in (edge / 4, 0.5, 1 - edge / 2):
            noise = Noise(torch.full_like(logits, u), torch.full_like(logits, v))
            for one in (noise, Noise(noise.u)):
                draw = rx.Draw(rx.Bernoulli(logits), one)
                (grad,) = torch.autograd.grad(draw.z_tilde.sum(), logits)
                assert torch.isfinite(grad).all() and torch.isfinite(draw.z_tilde).all()


@pytest.mark.parametrize("coupled", [False, True])
def test_float32_categorical_draws_are_finite(coupled):
    generator = torch.Generator().manual_seed(1)
    logits = 30 * torch.rand(300_000, 5, dtype=torch.float32, generator=generator) - 15
    logits.requires_grad_()
    dist = rx.Categorical(logits)
    draw = dist.draw(generator=generator, coupled=coupled)
    (grad,) = torch.autograd.grad(draw.z_tilde.sum(), logits)
    assert torch.isfinite(grad).all() and torch.isfinite(draw.z_tilde).all()


def test_noise_is_in_the_open_interval():
    u = rx.Bernoulli(torch.zeros(2**22, dtype=torch.float32)).noise().u
    assert u.min() > 0 and u.max() < 1


def test_support_lists_every_outcome_once():
    assert rx.Bernoulli(torch.zeros(7, 3)).support().shape == (8, 7, 3)
    assert rx.Categorical(torch.zeros(2, 4), event_ndim=2).support().shape == (16, 2, 4)
    dist = distribution("categoricals")
    b = dist.support()
    assert len(b.flatten(1).unique(dim=0)) == 9
    assert torch.isclose(dist.log_prob(b).sum(-1).exp().sum(), torch.tensor(1.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rx.Bernoulli(torch.tensor([1, 0])), "floating-point"),
        (lambda: rx.Bernoulli(torch.tensor([1.0, float("nan")])), "NaN"),
        (lambda: rx.Bernoulli(torch.tensor(1.0)), "too few axes"),
        (lambda: rx.Bernoulli(torch.zeros(3), replicas=1), "too few axes"),
        (lambda: rx.Bernoulli(torch.zeros(3)).noise(samples=0), "at least 1"),
        (lambda: rx.exact_gradient(lambda b: b.sum(-1), rx.Bernoulli(torch.zeros(40))), "too big"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()

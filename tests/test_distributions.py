"""Draws: the coupling of b, z and z~, the closed-form derivatives, and the numbers in float32."""

import math
from functools import partial

import pytest
import torch

import relax as rx
from relax import Noise
from relax.distributions import softplus
from tests import mutants
from tests.helpers import FUNCTIONS, Case, distribution, over_event, smooth_surrogate
from tests.test_unbiased import TOLERANCE, quadrature_error

pytestmark = pytest.mark.usefixtures("float64")

DISCRETE = ("bernoulli", "categorical", "categoricals", "plackett_luce")


def test_coupling_reproduces_b():
    for name in DISCRETE:
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


# ---- orders ----


def test_the_conditional_law_of_an_order_agrees_with_rejection():
    torch.manual_seed(4)
    dist = rx.PlackettLuce(torch.tensor([1.2, -0.4, 0.3])).expand(300_000)
    z = dist.draw(coupled=True).z.squeeze(-1)
    for b in dist.support()[:, 0]:
        z_tilde = rx.Draw(dist, dist.noise(), b.expand(len(z), 3, 3)).z_tilde.squeeze(-1)
        chosen = z[(dist.hard(z.unsqueeze(-1)) == b).all(-1).all(-1)]
        for power in (1, 2):
            a, c = chosen**power, z_tilde**power
            error = (a.var(0) / len(a) + c.var(0) / len(c)).sqrt()
            assert ((a.mean(0) - c.mean(0)) / error).abs().max() < 5


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_probabilities_of_all_orders_sum_to_one(n):
    dist = rx.PlackettLuce(torch.linspace(-2, 1.5, n))
    b = dist.support()
    assert len(b.flatten(1).unique(dim=0)) == math.factorial(n)
    torch.testing.assert_close(dist.log_prob(b).exp().sum(), torch.tensor(1.0))
    first = torch.zeros(n)  # the probability of the first place is the softmax
    first.index_add_(0, b[:, 0].argmax(-1), dist.log_prob(b).exp())
    torch.testing.assert_close(first, torch.softmax(dist.theta, -1))


@pytest.mark.parametrize("n", [4, 5])
@pytest.mark.parametrize("name", ["reinforce", "rloo", "relax", "rebar", "dlax"])
def test_estimators_of_orders_of_four_and_five(name, n):
    dist = rx.PlackettLuce(torch.linspace(0.8, -1.1, n))
    case = Case(name, "plackett_luce", 0)
    f = over_event(FUNCTIONS["wavy"], dist)
    generator = torch.Generator().manual_seed(0)
    test = rx.bias_test(case.bind(dist), f, dist, samples=50_000, generator=generator)
    assert test.max_z < 5


@pytest.mark.parametrize("coupled", [False, True])
def test_orders_of_twenty_items_against_leave_one_out(coupled):
    """Too many orders to list: RELAX and REBAR have the mean of leave-one-out."""
    dist = rx.PlackettLuce(torch.linspace(1.5, -1.5, 20))
    weight = torch.linspace(-1, 1, 20)

    def f(b):
        return ((b @ weight) * weight).sum(-1).sin()  # places matter, not the items alone

    generator = torch.Generator().manual_seed(0)
    reference = rx.rloo(f, dist.expand(6_000), samples=8, generator=generator).grad
    c = smooth_surrogate(dist)
    for estimator in (partial(rx.relax, c=c), partial(rx.rebar, lambda_=3.0)):
        grad = estimator(f, dist.expand(6_000), coupled=coupled, generator=generator).grad
        error = ((grad.var(0) + reference.var(0)) / 6_000).sqrt()
        assert ((grad.mean(0) - reference.mean(0)) / error).abs().max() < 5


def test_a_million_float32_orders_are_finite():
    """Log-scores up to 30, up to a hundred items; equal z as well: H(z~) = b in every draw."""
    generator = torch.Generator().manual_seed(0)
    for n, rows in ((2, 480_000), (8, 20_000), (100, 100)):
        theta = 60 * torch.rand(rows, n, dtype=torch.float32, generator=generator) - 30
        theta[: rows // 2] = torch.where(theta[: rows // 2] < 0, -30.0, 30.0)
        dist = rx.PlackettLuce(theta)
        for coupled in (False, True):
            draw = dist.draw(generator=generator, coupled=coupled)
            z_tilde = draw.z_tilde
            assert torch.equal(dist.hard(z_tilde), draw.b)
            total = draw.z.sum() + z_tilde.sum() + draw.score.sum() + dist.log_prob(draw.b).sum()
            total += draw.vjp_z(z_tilde).sum() + draw.vjp_z_tilde(z_tilde, z_tilde).sum()
            total += dist.relaxed(draw.z, 0.1).sum()
            assert torch.isfinite(total)


def test_equal_values_are_moved_apart():
    dist = rx.PlackettLuce(torch.zeros(1, 4, dtype=torch.float32))
    b = torch.eye(4, dtype=torch.float32)[[2, 0, 3, 1]].unsqueeze(0)
    for value in (0.0, 7.0, -60.0):
        z = torch.full((1, 4, 1), value)
        z_tilde = dist.recover(b, z.float())
        assert torch.equal(dist.hard(z_tilde), b) and z_tilde.isfinite().all()
        torch.testing.assert_close(z_tilde, z.float(), rtol=1e-5, atol=1e-5)


def test_the_relaxed_order_tends_to_the_order():
    dist = distribution("plackett_luce").expand(200)
    draw = dist.draw()
    soft = dist.relaxed(draw.z, 1.0)
    torch.testing.assert_close(soft.sum(-1), torch.ones(200, 3))
    torch.testing.assert_close(dist.relaxed(draw.z, 1e-5), draw.b, atol=1e-3, rtol=0)


def test_a_subset_is_the_first_rows_of_an_order():
    """P(the first two of three) is that of the last one being third."""
    dist = distribution("plackett_luce")
    b, p = dist.support(), dist.log_prob(dist.support()).exp()
    subset = b[:, :2].sum(-2)
    torch.testing.assert_close((p[:, None] * subset).sum(0), 1 - (p[:, None] * b[:, 2]).sum(0))


def test_bad_orders_are_named():
    with pytest.raises(ValueError, match="infinite"):
        rx.PlackettLuce(torch.tensor([0.0, -math.inf]))
    for dist in (rx.PlackettLuce(torch.zeros(9)), rx.PlackettLuce(torch.zeros(2, 3), event_ndim=3)):
        with pytest.raises(ValueError, match="can be listed"):
            dist.support()


@pytest.mark.parametrize("name", ["reinforce", "rloo", "relax", "rebar", "dlax", "concrete"])
def test_orders_keep_the_contracts_of_events_of_one_axis(name):
    """f may change its input, half precision gives float32 gradients, and several orders
    may be one event."""
    case, base = Case(name, "plackett_luce", 0), distribution("plackett_luce")
    target = torch.randn(3, 3)

    def pure(b):
        return (b - target.to(b.dtype)).square().sum((-2, -1))

    def in_place(b):
        b -= target
        return b.square_().sum((-2, -1))

    grads = [
        case.bind(base)(f, base.expand(5), generator=torch.Generator().manual_seed(0)).grad
        for f in (pure, in_place)
    ]
    torch.testing.assert_close(*grads)
    if name not in ("relax", "dlax"):  # whose c of these tests is in double precision
        half = rx.PlackettLuce(base.theta.bfloat16())
        assert case.bind(half)(pure, half.expand(5)).grad.dtype == torch.float32
    several = rx.PlackettLuce(base.theta.expand(4, 2, 3), event_ndim=3)
    one = case.bind(rx.PlackettLuce(torch.zeros(2, 3), event_ndim=3))
    est = one(lambda b: pure(b).sum(-1), several)
    assert est.grad.shape == (4, 2, 3) and est.value.shape[-1:] == (4,)

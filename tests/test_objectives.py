"""backward and the variance objective: who gets which gradient."""

import pytest
import torch

import relax as rx
from relax import Noise
from tests import mutants
from tests.helpers import quadratic, wavy
from tests.quadrature import gauss_legendre

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def problem():
    """theta from a linear map of inputs, and a surrogate."""
    torch.manual_seed(0)
    weight = torch.randn(5, 3).requires_grad_()
    x = torch.randn(6, 5)
    c = rx.surrogates.mlp(3, hidden=6, lambda_=0.5, zero_scale=False)
    return weight, x, c


def estimate(weight, x, c, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return rx.relax(wavy, rx.Bernoulli(x @ weight), c=c, generator=generator)


def test_the_variance_objective_is_the_mean_square_of_the_rows(problem):
    weight, x, c = problem
    est = estimate(weight, x, c)
    expected = sum(float(row.square().sum()) for row in est.grad.detach()) / 6
    assert torch.isclose(rx.variance_objective(est), torch.tensor(expected))


def backward_of_relax(f, draw, c):
    rx.backward(rx.relax(f, draw, c=c), phi=c)


def check_separation(backward, problem):
    """theta's gradient is the same whether or not phi asks for its own."""
    weight, x, c = problem
    draw = rx.Bernoulli(x @ weight).draw()
    rx.backward(rx.relax(wavy, draw, c=c))
    without, weight.grad = weight.grad, None
    backward(wavy, draw.at(rx.Bernoulli(x @ weight)), c)
    assert torch.allclose(weight.grad, without, rtol=1e-12)


def test_theta_does_not_feel_the_variance_objective(problem):
    check_separation(backward_of_relax, problem)


def test_separation_catches_an_objective_that_leaks(problem):
    with pytest.raises(AssertionError):
        check_separation(mutants.backward_leaking_into_theta, problem)


def test_phi_gets_the_objectives_gradient_and_nothing_else(problem):
    weight, x, c = problem
    phi = list(c.parameters())
    est = estimate(weight, x, c)
    expected = torch.autograd.grad(rx.variance_objective(est), phi, retain_graph=True)
    rx.backward(est, phi=phi)
    for p, grad in zip(phi, expected, strict=True):
        assert torch.allclose(p.grad, grad, rtol=1e-12)


def test_phi_gradient_is_that_of_the_exact_variance():
    """E[d g^2/dphi] by quadrature against finite differences of Var(g), one Bernoulli."""
    torch.manual_seed(1)
    c = rx.surrogates.mlp(1, hidden=3, lambda_=0.8, zero_scale=False)
    phi = list(c.parameters())
    logit = torch.tensor([0.7])
    p = float(torch.sigmoid(logit))
    u, wu = gauss_legendre([0.0, 1 - p, 1.0])
    v, wv = gauss_legendre([0.0, 1.0])
    weights = (wu[:, None] * wv).flatten()
    noise = Noise(u.repeat_interleave(len(v))[:, None], v.repeat(len(u))[:, None])
    draw = rx.Draw(rx.Bernoulli(logit.expand(len(weights), 1)), noise)

    def gradients():
        return rx.relax(wavy, draw, c=c).grad[:, 0]

    def variance():
        g = gradients().detach()
        return float((weights * g * g).sum() - (weights * g).sum() ** 2)

    single_sample = torch.autograd.grad((weights * gradients().square()).sum(), phi)
    for p_i, grad in zip(phi, single_sample, strict=True):
        flat, flat_grad = p_i.data.view(-1), grad.reshape(-1)
        for i in range(len(flat)):
            before, step = float(flat[i]), 1e-5
            flat[i] = before + step
            above = variance()
            flat[i] = before - step
            below = variance()
            flat[i] = before
            assert abs((above - below) / (2 * step) - float(flat_grad[i])) < 1e-6


def check_shared_value(backward):
    """With plain gradients, f's own weights get the gradient of mean f, once."""
    torch.manual_seed(2)
    decoder = torch.randn(3).requires_grad_()
    theta_1, theta_2 = torch.zeros(8, 3).requires_grad_(), torch.zeros(8, 3).requires_grad_()
    draws = rx.Bernoulli(theta_1).draw(), rx.Bernoulli(theta_2).draw()
    value = ((draws[0].b + 2 * draws[1].b) * decoder).sum(-1).square()
    (expected,) = torch.autograd.grad(value.mean(), decoder, retain_graph=True)
    backward([rx.reinforce(value, draw) for draw in draws])
    assert torch.allclose(decoder.grad, expected, rtol=1e-12)


def test_a_shared_value_is_differentiated_once():
    check_shared_value(rx.backward)


def test_the_shared_value_catches_one_pass_per_layer():
    with pytest.raises(AssertionError):
        check_shared_value(mutants.backward_layer_by_layer)


def test_layers_with_different_values_are_refused():
    dist = rx.Bernoulli(torch.zeros(4, 3).requires_grad_())
    with pytest.raises(ValueError, match="different values"):
        rx.backward([rx.reinforce(quadratic, dist), rx.reinforce(quadratic, dist)])


def test_what_f_owes_to_theta_directly_is_not_lost():
    """f(b, theta): the estimate of the score part plus the direct term, against enumeration."""
    torch.manual_seed(3)
    rows = 300_000
    theta = torch.tensor([0.4, -1.1]).requires_grad_()

    def f(b, logits):
        return wavy(b) + (b * torch.sin(logits)).sum(-1)

    b = rx.Bernoulli(theta).support()
    p = rx.Bernoulli(theta).log_prob(b).sum(-1).exp()
    (exact,) = torch.autograd.grad((p * f(b, theta)).sum(), theta)
    leaf = theta.detach().expand(rows, 2).clone().requires_grad_()
    est = rx.rebar(lambda b: f(b, leaf), rx.Bernoulli(leaf), eta=0.8, coupled=True)
    rx.backward(est)
    per_row = leaf.grad * rows
    z = (per_row.mean(0) - exact) / (per_row.std(0) / rows**0.5)
    assert z.abs().max() < 5


def test_batch_is_averaged_and_replicas_are_summed():
    theta = torch.zeros(2, 5, 3).requires_grad_()
    est = rx.reinforce(quadratic, rx.Bernoulli(theta, replicas=1))
    rx.backward(est)
    assert torch.allclose(theta.grad, est.grad / 5)


def test_gradients_are_what_backward_adds(problem):
    weight, x, c = problem
    (grad,) = rx.gradients(estimate(weight, x, c), [weight])
    assert weight.grad is None
    rx.backward(estimate(weight, x, c))
    assert torch.equal(grad, weight.grad)


def test_baselines_with_an_objective_of_their_own_are_fitted_by_it():
    baseline = torch.tensor(0.3).requires_grad_()
    dist = rx.Bernoulli(torch.zeros(50, 3).requires_grad_())
    est = rx.nvil(quadratic, dist, baseline=baseline.expand(50))
    rx.backward(est, phi=baseline)
    expected = 2 * (baseline.detach() - est.value).mean()
    assert torch.isclose(baseline.grad, expected)


def test_a_black_box_in_numpy_needs_no_graph():
    theta = torch.zeros(6, 3).requires_grad_()
    c = rx.surrogates.mlp(3)
    est = rx.relax(lambda b: b.numpy().sum(-1) ** 2, rx.Bernoulli(theta), c=c)
    rx.backward(est, phi=c)
    assert theta.grad is not None and all(p.grad is not None for p in c.parameters())


def test_nothing_to_differentiate_is_an_error():
    est = rx.reinforce(quadratic, rx.Bernoulli(torch.zeros(3)))
    with pytest.raises(ValueError, match="theta has no graph"):
        rx.backward(est)
    with pytest.raises(ValueError, match="nothing to differentiate"):
        rx.gradients(est, [torch.zeros(3)])

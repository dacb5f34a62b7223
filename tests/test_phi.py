"""Who gets which gradient: phi that of the variance and nothing else, `of` that of the estimate."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import relax as rx
from tests.helpers import wavy
from tests.test_backward import estimate, grads, problem


def test_phi_may_be_a_module_its_parameters_or_one_parameter():
    weight, x, c = problem()
    found = []
    for phi in (c, c.parameters(), list(c.parameters())):
        c.zero_grad()
        rx.backward(estimate(weight, x, c), phi)
        found.append(grads(*c.parameters()))
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))
    last = c.net.layers[-1].bias
    c.zero_grad()
    rx.backward(estimate(weight, x, c), last)
    assert torch.equal(last.grad, found[0][-1]) and c.net.layers[0].weight.grad is None


@pytest.mark.parametrize("before", [False, True])
def test_phi_that_gets_no_gradient_is_refused(before):
    """A7, also where an older gradient is there."""
    weight, x, c = problem()
    other = rx.surrogates.mlp(3)
    if before:
        for p in other.parameters():
            p.grad = torch.zeros_like(p)
    with pytest.raises(ValueError, match="no parameter of phi gets a gradient"):
        rx.backward(estimate(weight, x, c), phi=other)
    closed = rx.relax(wavy, rx.Bernoulli(x @ weight), c=lambda z: z.sin().sum(-1))
    with pytest.raises(ValueError, match="no parameter of phi gets a gradient"):
        rx.backward(closed, phi=other)


def test_frozen_parameters_are_skipped_and_phi_is_ignored_where_there_is_none():
    weight, x, c = problem()
    c.net.layers[0].requires_grad_(False)
    rx.backward(estimate(weight, x, c), phi=c)
    assert c.net.layers[0].weight.grad is None and c.net.layers[1].weight.grad is not None
    rx.backward(rx.reinforce(wavy, rx.Bernoulli(x @ weight)), phi=c)
    c.requires_grad_(False)
    rx.backward(estimate(weight, x, c), phi=c)


@pytest.mark.parametrize("name", ["nvil", "muprop"])
def test_baselines_are_fitted_in_any_company(name):
    """A13: their own objective, beside a RELAX layer of the same value."""
    weight, x, c = problem()
    baseline, draw = nn.Parameter(torch.zeros(())), rx.Bernoulli(x @ weight).draw()
    value = wavy(draw.b)
    own = {"mean_field": wavy} if name == "muprop" else {}
    fitted = getattr(rx, name)(value, draw, baseline=baseline.expand(6), **own)
    above = rx.relax(value, rx.Bernoulli(x @ weight).draw(), c=c)
    rx.backward([fitted, above], phi=[baseline, *c.parameters()])
    alone = torch.autograd.grad(fitted.objective.mean(), baseline)[0]
    torch.testing.assert_close(baseline.grad, alone)


def test_phi_may_hold_modules_and_be_a_surrogate_at_a_context():
    weight, x, _ = problem()
    c = rx.surrogates.mlp(3, 6, context=5, zero_scale=False)
    found = []
    for phi in (
        c,
        [c],
        [c.net, c.context],
        c.given(x),
        [c.given(x)],
        dict(c.named_parameters()).values(),
    ):
        c.zero_grad()
        rx.backward(estimate(weight, x, c.given(x)), phi)
        found.append(grads(*c.parameters()))
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


@pytest.mark.parametrize(
    ("phi", "name"),
    [
        (lambda c: torch.optim.SGD(c.parameters()), "SGD"),
        (lambda c: dict(c.named_parameters()), "dict"),
        (lambda c: c.named_parameters(), "tuple"),
        (lambda c: [torch.optim.SGD(c.parameters())], "SGD"),
        (lambda c: "c", "str"),
        (lambda c: None, "NoneType"),
        (lambda c: lambda z: z, "function"),
    ],
)
def test_another_phi_is_refused(phi, name):
    weight, x, c = problem()
    message = f"must be a module, a parameter, or an iterable of modules and parameters, not {name}"
    with pytest.raises(TypeError, match=f"phi {message}"):
        rx.backward(estimate(weight, x, c), phi(c))
    if name != "NoneType":
        dist = rx.Bernoulli(x @ weight)
        with pytest.raises(TypeError, match=f"of {message}"):
            rx.exact_gradient(wavy, dist, of=phi(c))


def test_a_parameter_of_phi_behind_theta_is_refused():
    """Its .grad would be the sum of two gradients with different objectives."""
    weight, x, c = problem()
    with pytest.raises(ValueError, match="theta or f.b. depends on a parameter of phi"):
        rx.backward(estimate(weight, x, c), phi=[*c.parameters(), weight])
    weight.grad = torch.zeros_like(weight)
    with pytest.raises(ValueError, match="theta or f.b. depends on a parameter of phi"):
        rx.backward(estimate(weight, x, c), phi=[weight, *c.parameters()])


def test_a_parameter_of_phi_behind_f_is_refused():
    weight, x, c = problem()
    decoder = nn.Linear(3, 1)

    def f(b):
        return decoder(b).squeeze(-1) ** 2

    with pytest.raises(ValueError, match="theta or f.b. depends on a parameter of phi"):
        rx.backward(estimate(weight, x, c, f=f), phi=[c, decoder])


def test_phi_is_ignored_where_nothing_is_fitted():
    """REBAR with fixed numbers as REINFORCE; with eta to fit, an unrelated phi is refused."""
    weight, x, c = problem()
    decoder = nn.Linear(3, 1)
    for f in (wavy, lambda b: decoder(b).squeeze(-1) ** 2):
        for name in ("reinforce", "rebar", "concrete", "rloo", "unbiased_reinmax"):
            rx.backward(getattr(rx, name)(f, rx.Bernoulli(x @ weight)), phi=c)
            assert all(p.grad is None for p in c.parameters())
    eta = torch.tensor(1.0, requires_grad=True)
    with pytest.raises(ValueError, match="no parameter of phi gets a gradient"):
        rx.backward(rx.rebar(wavy, rx.Bernoulli(x @ weight), eta=eta), phi=c)


def test_a_second_backward_pass_names_the_cause_and_the_fix():
    encoder, x = nn.Linear(5, 3), torch.randn(6, 5)
    hidden = torch.tanh(encoder(x))
    draws = [rx.Bernoulli(hidden).draw(), rx.Bernoulli(2 * hidden).draw()]
    value = wavy(draws[0].b + draws[1].b)
    one, other = (rx.reinforce(value, draw) for draw in draws)
    rx.backward(one)
    with pytest.raises(RuntimeError, match="second time") as caught:
        rx.backward(other)
    assert "rx.backward([est_1, est_2], phi)" in caught.value.__notes__[0]


def test_a_grad_scaler_is_no_scale():
    weight, x, c = problem()
    with pytest.raises(TypeError, match=r"not GradScaler: .*scaler.scale\(torch.ones"):
        rx.backward(estimate(weight, x, c), c, scale=torch.amp.GradScaler("cpu"))


# ---- of ----


def test_of_may_be_a_module():
    encoder, x = nn.Linear(5, 3), torch.randn(6, 5)
    dist = rx.Bernoulli(encoder(x))
    torch.testing.assert_close(
        rx.exact_gradient(wavy, dist, of=encoder),
        rx.exact_gradient(wavy, dist, of=list(encoder.parameters())),
    )
    encoder.bias.requires_grad_(False)
    variance = rx.gradient_variance({"r": rx.reinforce}, wavy, dist, samples=5, of=encoder)["r"]
    assert variance.shape == (15,)


def test_of_that_nothing_depends_on_is_refused():
    dist = rx.Bernoulli(nn.Linear(5, 3)(torch.randn(6, 5)))
    other = nn.Linear(5, 3)
    for measure in (
        lambda: rx.exact_gradient(wavy, dist, of=other),
        lambda: rx.bias_test(rx.reinforce, wavy, dist, of=other),
        lambda: rx.signal_to_noise({"r": rx.reinforce}, wavy, dist, of=other),
        lambda: rx.gradients(rx.reinforce(wavy, dist), other.parameters()),
    ):
        with pytest.raises(ValueError, match="depends on any of these parameters"):
            measure()


def test_estimators_are_given_by_name():
    for measure in (rx.gradient_variance, rx.signal_to_noise):
        with pytest.raises(TypeError, match="must be a dictionary, such as"):
            measure(rx.rloo, wavy, rx.Bernoulli(torch.zeros(3)))

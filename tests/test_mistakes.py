"""Mistakes of a caller that would give a wrong gradient without an error."""

import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn

import relax as rx

THETA = torch.tensor([0.4, -0.7, 1.1])


def total(b):
    return (b.sum(-1) - 1.2) ** 2


# ---- parameters that were changed after the distribution was made ----


def bernoulli(p):
    return rx.Bernoulli(p)


def half(p):
    return rx.Bernoulli(p.to(torch.float16))


def of_probabilities(p):
    return rx.Bernoulli(probs=p)


def normal(p):
    return rx.Normal(p, 0.0)


def orders(p):
    return rx.PlackettLuce(p)


@pytest.mark.parametrize("make", [bernoulli, of_probabilities, normal, orders])
def test_a_distribution_is_not_used_after_a_step_of_its_parameters(make):
    p = nn.Parameter(torch.tensor([0.2, 0.5, 0.4]))
    dist, f = make(p), lambda b: b.flatten(-dist.event_ndim).sum(-1)
    rx.reinforce(f, dist)
    draw = rx.reinforce.draw(dist)
    value = f(draw.b)
    torch.optim.SGD([p], lr=0.1).zero_grad()
    p.grad = torch.ones(3)
    torch.optim.SGD([p], lr=0.1).step()
    for attempt in (
        lambda: rx.reinforce(f, dist),
        lambda: rx.reinforce(value, draw),
        lambda: rx.reinforce(f, dist.expand(4)),
    ):
        with pytest.raises(ValueError, match="make a new one for every step"):
            attempt()
    rx.reinforce(f, make(p))


def test_a_half_precision_copy_of_the_parameters_is_not_outdated_by_a_step_behind_it():
    p = nn.Parameter(THETA.clone())
    dist = half(p)  # of its own tensor, which no optimizer changes
    with torch.no_grad():
        p.add_(1)
    rx.reinforce(total, dist)


def test_copies_of_a_distribution_have_parameters_of_their_own():
    p = nn.Parameter(THETA.clone())
    with torch.no_grad():
        p.add_(1)
    dist = rx.Bernoulli(p)
    for copied in (copy.deepcopy(dist), pickle.loads(pickle.dumps(dist))):
        with torch.no_grad():
            p.add_(1)
        rx.reinforce(total, copied)


# ---- a distribution that is wrong at other parameters ----


class CachesInInit(rx.Discrete):
    """Two outcomes per coordinate, whose normaliser is computed once."""

    def __init__(self, theta):
        super().__init__(theta)
        self.log_z = nn.functional.softplus(theta)

    def reparameterize(self, u):
        return self.theta + torch.logit(u)

    def hard(self, z):
        return (z > 0).to(z.dtype)

    def log_prob(self, b):
        return b * self.theta - self.log_z

    def mean(self):
        return torch.sigmoid(self.theta)

    def support(self):
        return self.enumerate(torch.tensor([0.0, 1.0]))


def test_what_depends_on_theta_may_not_be_computed_in_init():
    with pytest.raises(ValueError, match="compute it from self.theta in the method"):
        rx.bias_test(rx.reinforce, total, CachesInInit(THETA), samples=100)
    with pytest.raises(ValueError, match="add up to 1 at every theta"):
        rx.exact_gradient(total, CachesInInit(THETA))


def test_probabilities_must_add_up_to_one():
    class Unnormalised(CachesInInit):
        def log_prob(self, b):
            return b * self.theta

    with pytest.raises(ValueError, match="normalise log_prob"):
        rx.exact_gradient(total, Unnormalised(THETA))


def test_an_infinite_f_where_nothing_falls_leaves_the_exact_gradient_finite():
    def f(b):
        return torch.where(b[..., 0] > 0, torch.inf, b.sum(-1))

    for dist in (rx.Bernoulli(torch.tensor([-torch.inf, 0.5])), rx.Bernoulli(THETA * 0 - 200)):
        assert rx.exact_gradient(f, dist).isfinite().all()
    choice = rx.Categorical(torch.tensor([-torch.inf, 0.5, 0.0]))
    exact = rx.exact_gradient(lambda b: torch.where(b[..., 0] > 0, torch.inf, b[..., 1]), choice)
    p = torch.sigmoid(torch.tensor(0.5))
    assert torch.allclose(exact, p * (1 - p) * torch.tensor([0.0, 1.0, -1.0]))


# ---- surrogates ----


@pytest.mark.parametrize("shape", [(2, 3), (3,)])
def test_networks_of_replicas_need_an_axis_of_rows(shape):
    c = rx.surrogates.mlp(3, replicas=2, zero_scale=False)
    with pytest.raises(ValueError, match="give theta an axis of rows"):
        rx.relax(total, rx.Bernoulli(torch.zeros(shape)), c=c)
    rx.relax(total, rx.Bernoulli(torch.zeros(2, 1, 3), replicas=1), c=c)


def test_the_rows_of_a_context_are_not_those_of_z_and_z_tilde():
    c = rx.surrogates.mlp(3, context=4)
    with pytest.raises(ValueError, match="c needs 1 batch axes"):
        rx.relax(total, rx.Bernoulli(THETA), c=c.given(torch.zeros(2, 4)))
    rx.relax(total, rx.Bernoulli(THETA), c=c.given(torch.zeros(4)))


class Shifted(rx.surrogates.MLPSurrogate):
    def forward(self, z, x=None, with_grad=False):
        return super().forward(z) + 100 * z.sum(-1)


def test_a_surrogate_that_overrides_forward_alone_is_differentiated_as_it_is():
    dist = rx.Bernoulli(THETA.expand(5, 3))
    c = Shifted(3)
    est = rx.relax(total, dist, c=c)
    assert torch.allclose(est.c, c(est.draw.z_tilde.detach()).detach())
    assert torch.allclose(est.control.dc_z, torch.full_like(est.theta, 100.0))


def test_a_hook_on_a_surrogate_counts():
    c = rx.surrogates.mlp(3)
    c.register_forward_hook(lambda module, inputs, output: output + 50 * inputs[0].sum(-1))
    est = rx.relax(total, rx.Bernoulli(THETA.expand(5, 3)), c=c)
    assert torch.allclose(est.control.dc_z, torch.full_like(est.theta, 50.0))


@pytest.mark.parametrize("activation", ["tanh", "relu", "leaky_relu", "elu"])
def test_a_surrogate_can_be_pickled(activation):
    c = rx.surrogates.mlp(3, activation=activation, zero_scale=False)
    z = torch.randn(4, 3)
    assert torch.equal(pickle.loads(pickle.dumps(c))(z), c(z))


# ---- f ----


@pytest.mark.parametrize("numpy", [False, True])
def test_f_may_return_the_same_buffer_at_every_call(numpy):
    buffer = torch.zeros(8)

    def plain(b):
        return (b * torch.tensor([1.0, 2.0])).sum(-1)

    def reusing(b):
        value = plain(b)
        buffer[: value.numel()] = value.flatten()
        view = buffer[: value.numel()].reshape(value.shape)
        return view.numpy() if numpy else view

    grads = [
        rx.local_expectation(f, rx.Bernoulli(torch.zeros(1, 2)), generator=seeded()).grad
        for f in (reusing, plain)
    ]
    assert torch.equal(*grads) and grads[0].abs().min() > 0


def seeded():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("name", ["pathwise", "straight_through", "reinmax"])
def test_an_f_with_weights_of_its_own_that_is_cut_off_from_b_is_refused(name):
    w = torch.ones(3, requires_grad=True)
    dist = rx.Normal(THETA, 0.0) if name == "pathwise" else rx.Bernoulli(THETA)
    with pytest.raises(TypeError, match="not connected to b"):
        getattr(rx, name)(lambda b: (w * b.detach()).sum(-1), dist)


class Flips:
    def __init__(self, flips):
        self.flips = flips

    def __call__(self, b):
        return b.sum((-1,)) if b.ndim == 2 else b.flatten(-2).sum(-1)


@pytest.mark.parametrize(
    ("flips", "match"),
    [
        (lambda b: b.sum(-1, keepdim=True), "must have b's shape"),
        (lambda b: b * torch.nan, "is NaN for 6 bits"),
        (lambda b: b.tolist(), "must have b's shape"),
    ],
)
def test_wrong_flips_are_refused(flips, match):
    with pytest.raises(ValueError, match=match):
        rx.local_expectation(Flips(flips), rx.Bernoulli(torch.zeros(2, 3)))


def test_flips_are_for_bits():
    with pytest.raises(TypeError, match="leave f.flips out"):
        rx.local_expectation(Flips(lambda b: b), rx.Categorical(torch.zeros(2, 3)))


def test_an_array_as_a_baseline_has_one_number_per_row():
    dist = rx.Bernoulli(torch.zeros(4, 4))
    wrong = torch.arange(4.0).unsqueeze(-1).numpy()
    with pytest.raises(ValueError, match="the baseline has shape"):
        rx.reinforce(lambda b: b.sum(-1), dist, baseline=wrong)
    same = [
        rx.reinforce(lambda b: b.sum(-1), dist, baseline=x, generator=seeded()).grad
        for x in (wrong[:, 0], torch.arange(4.0))
    ]
    assert torch.equal(*same)


# ---- phi ----


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_phi_of_a_given_c_gets_the_whole_gradient_in_unbiased_reinmax(gamma):
    """By finite differences at the same noise; at gamma = 1, c'(b) depends on phi as well."""
    a = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    dist = rx.Bernoulli(THETA.double().expand(50, 3))
    noise = rx.unbiased_reinmax.noise(dist, generator=seeded())

    def objective(a):
        draw = rx.unbiased_reinmax.draw(dist, noise=noise)
        return rx.variance_objective(
            rx.unbiased_reinmax(
                total,
                draw,
                c=lambda h: a * (4 * h * (1 - h)).sum(-1) + h.sum(-1),
                lambda_=0.3,
                gamma=gamma,
            )
        )

    (found,) = torch.autograd.grad(objective(a), a)
    step = 1e-5
    with torch.no_grad():
        above, below = a + step, a - step
    expected = (objective(above) - objective(below)) / (2 * step)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_detached_baseline_of_nvil_cannot_be_phi():
    baseline = nn.Linear(1, 1)
    theta = nn.Parameter(THETA.expand(5, 3).clone())
    value = baseline(torch.ones(5, 1)).squeeze(-1)
    est = rx.nvil(total, rx.Bernoulli(theta), baseline=value.detach())
    with pytest.raises(ValueError, match="no parameter of phi gets a gradient"):
        rx.backward(est, phi=baseline)
    rx.backward(rx.nvil(total, rx.Bernoulli(theta), baseline=value), phi=baseline)
    assert baseline.weight.grad is not None


def test_layers_with_different_numbers_of_rows_are_each_averaged_over_their_own():
    first = rx.reinforce(total, rx.Bernoulli(THETA.expand(4, 3)), generator=seeded())
    second = rx.reinforce(total, rx.Bernoulli(THETA.expand(20, 3)), generator=seeded())
    apart = rx.variance_objective(first) + rx.variance_objective(second)
    for order in ([first, second], [second, first]):
        assert rx.variance_objective(order).item() == pytest.approx(apart.item())


def test_phi_is_reached_through_the_advice_for_a_theta_without_a_graph():
    w = torch.ones(3, requires_grad=True)
    scales = rx.surrogates.Scales()
    est = partial(rx.rebar, eta=scales.eta, lambda_=scales.lambda_)(
        lambda b: (w * b).sum(-1) ** 2, rx.Bernoulli(THETA.expand(5, 3))
    )
    with pytest.raises(ValueError, match=r"backward\(inputs="):
        rx.backward(est, scales)
    rx.variance_objective(est).backward(inputs=list(scales.parameters()))
    assert w.grad is None and scales.eta.grad is not None

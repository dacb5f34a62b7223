"""Distributions of one's own and torch's: three methods, autograd for the rest, capabilities."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor
from torch import distributions as td

import relax as rx
from relax.distributions import CAPABILITIES, as_distribution
from tests.helpers import cases, distribution, quadratic, smooth_surrogate, wavy
from tests.quadrature import gauss_legendre

pytestmark = pytest.mark.usefixtures("float64")
DERIVED = ("score", "score_z", "vjp_z", "vjp_z_tilde", "vjp_mean")
BUILT_IN = ("bernoulli", "categorical", "categoricals", "plackett_luce", "normal")


class Laplace(rx.Distribution):
    """Independent Laplace variables of scale 1; theta is their mean, [..., D]."""

    def reparameterize(self, u):
        return self.theta + torch.where(u < 0.5, (2 * u).log(), -(2 - 2 * u).log())

    def hard(self, z):
        return z

    def log_prob(self, b):
        return -(b - self.theta).abs() - math.log(2)


class PlackettLuce(rx.Distribution):
    """Orders of D items by falling theta + Gumbel noise; b lists the items, best first."""

    def reparameterize(self, u):
        return self.theta - (-u.log()).log()

    def hard(self, z):
        return z.argsort(-1, descending=True).to(z.dtype)

    def log_prob(self, b):  # the joint event: one number per row
        chosen = self.theta.expand_as(b).gather(-1, b.long())
        return (chosen - chosen.flip(-1).logcumsumexp(-1).flip(-1)).sum(-1)

    def condition(self, b, v):
        order = b.long()
        left = self.theta.expand_as(b).gather(-1, order).flip(-1).logcumsumexp(-1).flip(-1)
        z = -((-v.log()).log() - left).logcumsumexp(-1)  # falling: minima of exponentials add up
        return torch.zeros_like(z).scatter(-1, order, z)

    def support(self):
        orders = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
        return orders.to(self.theta).reshape(6, *(1,) * len(self.batch_shape), 3).expand(
            6, *self.theta.shape
        )  # fmt: skip


THETA = torch.tensor([0.7, -0.4, 0.1], dtype=torch.float64)


def ranks(b: Tensor) -> Tensor:
    """A black box of an order."""
    return (b * torch.tensor([0.3, -0.2, 1.1])).sum(-1).sin() + b[..., 0]


@pytest.mark.parametrize("samples", [1, 3])
def test_a_continuous_distribution_of_three_methods(samples):
    """E[b^2 + sin b] with b = mean + Laplace: derivative 2 mean + cos(mean) / 2."""
    mean = torch.tensor([0.3, -0.8])
    exact = 2 * mean + mean.cos() / 2
    many = Laplace(mean.expand(60_000, 2))

    def f(b):
        return (b.square() + b.sin()).sum(-1)

    c = smooth_surrogate(Laplace(mean))
    estimators = [rx.reinforce, rx.pathwise, partial(rx.lax, c=c)]
    estimators = [partial(e, samples=samples) for e in estimators]
    for estimator in [*estimators, partial(rx.rloo, samples=samples + 1)]:
        grad = estimator(f, many, generator=torch.Generator().manual_seed(0)).grad
        error = grad.std(0) / len(grad) ** 0.5
        assert ((grad.mean(0) - exact) / error).abs().max() < 5


def test_a_discrete_distribution_with_condition_gets_relax():
    dist, generator = PlackettLuce(THETA), torch.Generator().manual_seed(0)
    exact = rx.exact_gradient(ranks, dist)
    draw = dist.expand(5000).draw(generator=generator)
    assert torch.equal(dist.hard(draw.z_tilde.detach()), draw.b)
    for estimator in (rx.reinforce, rx.rloo, partial(rx.relax, c=smooth_surrogate(dist))):
        test = rx.bias_test(
            estimator, ranks, dist, samples=100_000, exact=exact, generator=generator
        )
        assert test.max_z < 5
    with pytest.raises(TypeError, match="coupled=False"):
        rx.relax(ranks, dist, c=smooth_surrogate(dist), coupled=True)
    with pytest.raises(TypeError, match="needs a Bernoulli"):
        rx.arm(ranks, dist)


def test_the_conditional_law_of_plackett_luce_is_that_of_rejection():
    """The README's condition(b, v), against the z that make b."""
    many = PlackettLuce(THETA).expand(300_000)
    z = many.draw(generator=torch.Generator().manual_seed(1)).z
    b = many.support()[3]
    kept = z[(many.hard(z) == b).all(-1)]
    z_tilde = many.condition(b, many.noise(generator=torch.Generator().manual_seed(2)).u)
    error = kept.std(0) / len(kept) ** 0.5 + z_tilde.std(0) / len(z_tilde) ** 0.5
    assert ((kept.mean(0) - z_tilde.mean(0)) / error).abs().max() < 5


class Scaled(Laplace):
    """With an attribute of its own, which copies must keep."""

    def __init__(self, theta, scale):
        super().__init__(theta)
        self.scale = scale

    def reparameterize(self, u):
        return self.theta + self.scale * (super().reparameterize(u) - self.theta)

    def log_prob(self, b):
        return -(b - self.theta).abs() / self.scale - (2 * self.scale).log()


def test_copies_keep_a_users_attributes():
    dist = Scaled(torch.zeros(4, 2), torch.tensor([0.5, 2.0]))
    assert dist.expand(3).scale is dist.scale and dist.with_theta(THETA).scale is dist.scale
    grad = rx.reinforce(lambda b: b.sum(-1), dist, samples=2).grad
    assert grad.shape == (4, 2) and set(grad.abs().unique().tolist())
    test = rx.bias_test(rx.reinforce, lambda b: b.sum(-1), dist, exact=torch.ones(4, 2))
    assert test.max_z < 5


def test_a_distribution_without_a_path_from_theta_is_refused():
    class Detached(Laplace):
        def log_prob(self, b):
            return -(b - self.theta.detach()).abs()

    with pytest.raises(ValueError, match="log_prob is not connected to self.theta"):
        rx.reinforce(quadratic, Detached(THETA))


# ---- closed forms against the defaults ----


def by_autograd(dist: rx.Distribution) -> rx.Distribution:
    """The distribution with every closed form taken away."""
    defaults = {name: getattr(rx.Distribution, name) for name in DERIVED}
    plain = type("Plain", (type(dist),), defaults)
    other = dist.with_theta(dist.theta)
    other.__class__ = plain
    return other


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("name", BUILT_IN)
def test_closed_forms_equal_the_defaults_by_autograd(name, coupled, samples, masked):
    base = distribution(name)
    theta = (3 * base.theta).expand(40, *base.theta.shape).clone()
    if masked and name == "plackett_luce":
        pytest.skip("its log-scores are finite")
    if masked and name != "normal":
        theta[..., 1] = -torch.inf
    fast = rx.Normal(*theta.unbind(-1)) if name == "normal" else type(base)(
        theta, event_ndim=base.event_ndim
    )  # fmt: skip
    plain = by_autograd(fast)
    draw = fast.draw(samples, coupled=coupled)
    other = rx.Draw(plain, draw.noise, draw.b)
    grad = torch.randn(draw.z.shape).requires_grad_()
    pairs = [(draw.score, other.score), (draw.vjp_z(grad), other.vjp_z(grad))]
    if name != "normal":
        z_tilde = draw.z_tilde.detach()
        pairs += [
            (draw.vjp_z_tilde(grad, z_tilde), other.vjp_z_tilde(grad, z_tilde)),
            (fast.score_z(draw.z.detach()), plain.score_z(draw.z.detach())),
        ]
    if fast.supports("mean"):
        pairs.append((fast.vjp_mean(grad), plain.vjp_mean(grad)))
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)
        if found.requires_grad:  # attached to phi through grad
            both = [torch.autograd.grad(x.square().sum(), grad)[0] for x in (found, expected)]
            torch.testing.assert_close(*both, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("case", cases("bernoulli", "categorical", "normal"), ids=lambda c: c.id)
def test_an_estimator_with_the_defaults_is_the_same_estimator(case):
    dist = distribution(case.dist).expand(20)
    plain = by_autograd(dist)
    if not rx.ESTIMATORS[case.name].accepts(plain):
        pytest.skip("it needs a closed form")
    grads = [
        case.bind(distribution(case.dist))(wavy, d, generator=torch.Generator().manual_seed(1)).grad
        for d in (dist, plain)
    ]
    torch.testing.assert_close(*grads, rtol=1e-8, atol=1e-9)


def test_the_density_of_z_is_a_density():
    z, w = gauss_legendre([-80.0, -20.0, -5.0, 0.0, 5.0, 20.0, 80.0])
    for dist in (rx.Bernoulli(torch.tensor([0.7])), rx.Categorical(torch.tensor([0.3, -1.0]))):
        density = dist.log_prob_z(z[:, None].expand(-1, *dist.theta.shape)).exp()
        torch.testing.assert_close((w[:, None] * density).sum(0), torch.ones(dist.theta.shape))


def test_every_need_is_a_known_capability():
    for entry in rx.ESTIMATORS.values():
        assert set(entry.needs) <= set(CAPABILITIES)


# ---- parameters and torch.distributions ----


@pytest.mark.parametrize("kind", [rx.Bernoulli, rx.Categorical])
def test_probs_are_the_other_way_to_give_logits(kind):
    probs = torch.tensor([0.2, 0.5, 0.3]).requires_grad_()
    dist = kind(probs=probs)
    torch.testing.assert_close(dist.mean(), probs)
    rx.backward(rx.rloo(quadratic, dist))
    assert probs.grad.isfinite().all()
    certain = kind(probs=torch.tensor([0.0, 1.0, 0.0]))
    assert torch.equal(
        certain.sample(generator=torch.Generator().manual_seed(0))[..., 1], torch.tensor(1.0)
    )  # noqa: E501
    assert rx.reinforce(quadratic, certain).grad.isfinite().all()
    for wrong in ({}, {"logits": THETA, "probs": probs}, {"probs": torch.tensor([-0.1, 0.4])}):
        with pytest.raises(ValueError, match="either|between|negative"):
            kind(**wrong)


def test_reprs_say_what_there_is():
    draw = rx.Categorical(torch.zeros(4, 3, 10), event_ndim=2).draw(2)
    text = repr(draw)
    assert "[2, 4, 3, 10]" in text and "event_ndim=2" in text and "independent, with v" in text


TORCH = [
    (td.Bernoulli(logits=torch.zeros(4, 3)), "Bernoulli", 1),
    (td.Bernoulli(probs=torch.full((4, 3), 0.3)), "Bernoulli", 1),
    (td.OneHotCategorical(logits=torch.zeros(4, 3)), "Categorical", 1),
    (td.Independent(td.OneHotCategorical(logits=torch.zeros(4, 2, 3)), 1), "Categorical", 2),
    (td.Independent(td.Bernoulli(logits=torch.zeros(4, 2, 3)), 2), "Bernoulli", 2),
    (td.Normal(torch.zeros(4, 3), torch.full((4, 3), 0.5)), "Normal", 1),
    (td.Independent(td.Normal(torch.zeros(4, 2, 3), torch.ones(4, 2, 3)), 2), "Normal", 2),
]


@pytest.mark.parametrize(("dist", "kind", "event_ndim"), TORCH, ids=lambda x: str(x)[:30])
def test_torch_distributions_are_accepted(dist, kind, event_ndim):
    ours = as_distribution(dist)
    assert type(ours).__name__ == kind and ours.event_ndim == event_ndim
    assert ours.batch_shape == (4,)
    est = rx.rloo(lambda b: b.flatten(-event_ndim).sum(-1) ** 2, dist)
    assert est.value.shape == (2, 4)
    base = getattr(dist, "base_dist", dist)
    b = ours.sample()
    theirs = base.log_prob(b)
    torch.testing.assert_close(ours.joint_log_prob(b), theirs.reshape(4, -1).sum(-1))


def test_the_gradient_reaches_the_parameters_of_torch_distributions():
    loc, scale = torch.zeros(4, 3).requires_grad_(), torch.ones(4, 3).requires_grad_()
    rx.backward(rx.pathwise(quadratic, td.Normal(loc, scale)))
    assert loc.grad.abs().sum() > 0 and scale.grad.abs().sum() > 0
    probs = torch.full((4, 3), 0.3).requires_grad_()
    rx.backward(rx.disarm(quadratic, td.Bernoulli(probs=probs)))
    assert probs.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "dist",
    [td.Categorical(logits=torch.zeros(3)), td.Beta(torch.ones(3), torch.ones(3)), "Bernoulli",
     td.Independent(td.Bernoulli(logits=torch.zeros(3)), 0)],
)  # fmt: skip
def test_other_objects_are_refused_by_name(dist):
    with pytest.raises(TypeError, match="OneHotCategorical|at least one axis"):
        rx.reinforce(quadratic, dist)

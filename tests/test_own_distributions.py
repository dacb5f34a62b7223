"""Distributions of your own: three methods, autograd for the rest, capabilities."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

import relax as rx
from relax.distributions import CAPABILITIES
from tests.helpers import quadratic, smooth_surrogate

pytestmark = pytest.mark.usefixtures("float64")


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


def test_every_need_is_a_known_capability():
    for entry in rx.ESTIMATORS.values():
        assert set(entry.needs) <= set(CAPABILITIES)

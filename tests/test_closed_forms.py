"""Scores and VJPs in closed form against the defaults by autograd."""

from __future__ import annotations

import pytest
import torch

import relax as rx
from tests.helpers import cases, distribution, wavy
from tests.quadrature import gauss_legendre

pytestmark = pytest.mark.usefixtures("float64")

DERIVED = ("score", "score_z", "vjp_z", "vjp_z_tilde", "vjp_mean")

BUILT_IN = ("bernoulli", "categorical", "categoricals", "plackett_luce", "normal")


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

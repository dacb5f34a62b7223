"""The estimators as the papers write them: slow, plain, and the oracle of the fast ones.

Every term is an autograd derivative in theta, c is evaluated once for each place where it stands,
and the variance objective goes through a second derivative. The tests hold `relax.estimators` to
these to 1e-12 in float64; the benchmark measures against them. b, z and z~ come from the same
explicit noise. All take f, c: [*batch, *event] -> [*batch] and return a gradient like theta,
attached to phi.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from relax.distributions import Discrete, Noise, Normal
from relax.estimators.estimate import weigh

Function = Callable[[Tensor], Tensor]


def derivative(y: Tensor, theta: Tensor) -> Tensor:
    """d sum(y)/dtheta, differentiable again; zero where y does not depend on theta."""
    return torch.autograd.grad(
        y.sum(), theta, create_graph=True, allow_unused=True, materialize_grads=True
    )[0]


def relax(f: Function, dist: Discrete, c: Function, noise: Noise) -> Tensor:
    """[f(b) - c(z~)] d/dtheta log p(b|theta) + d/dtheta c(z) - d/dtheta c(z~)."""
    draw = dist.draw(noise)
    f_b = f(draw.b).detach()
    c_z, c_zt = c(draw.z), c(draw.z_tilde)
    score = derivative(dist.log_prob(draw.b), dist.theta).detach()
    return (
        weigh(f_b - c_zt, score)  # [f(b) - c(z~)] d/dtheta log p(b|theta)
        + derivative(c_z, dist.theta)  # + d/dtheta c(z)
        - derivative(c_zt, dist.theta)  # - d/dtheta c(z~)
    )


def rebar(
    f: Function,
    dist: Discrete,
    eta: Tensor | float,
    lambda_: Tensor | float,
    noise: Noise,
) -> Tensor:
    """RELAX with c(z) = eta f(sigma_lambda(z))."""
    return relax(f, dist, lambda z: eta * f(dist.relaxed(z, lambda_)), noise)


def lax(f: Function, dist: Normal, c: Function, noise: Noise) -> Tensor:
    """[f(b) - c(b)] d/dtheta log p(b|theta) + d/dtheta c(b)."""
    draw = dist.draw(noise)
    score = derivative(dist.log_prob(draw.b), dist.theta).detach()
    return (
        weigh(f(draw.b).detach() - c(draw.b), score)  # [f(b) - c(b)] d/dtheta log p(b|theta)
        + derivative(c(draw.z), dist.theta)  # + d/dtheta c(b)
    )


def dlax(f: Function, dist: Discrete, c: Function, noise: Noise) -> Tensor:
    """f(b) d/dtheta log p(b|theta) - c(z) d/dtheta log p(z|theta) + d/dtheta c(z)."""
    draw = dist.draw(noise)
    z = draw.z.detach()
    score = derivative(dist.log_prob(draw.b), dist.theta).detach()
    return (
        weigh(f(draw.b).detach(), score)  # f(b) d/dtheta log p(b|theta)
        - weigh(c(z), dist.score_z(z))  # - c(z) d/dtheta log p(z|theta)
        + derivative(c(draw.z), dist.theta)  # + d/dtheta c(z)
    )

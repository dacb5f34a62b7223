"""The estimators as the papers write them: slow, plain, and the oracle of the ones in relax/.

Every term is an autograd derivative in theta, c is evaluated once for each place where it stands,
and the variance objective goes through a second derivative. The tests hold `relax.estimators` to
these to 1e-12 in float64. All take f, c: [*batch, *event] -> [*batch] and a draw, and return a
gradient like theta, attached to phi.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import relax as rx
from relax import weigh

Function = Callable[[Tensor], Tensor]


def derivative(y: Tensor, theta: Tensor) -> Tensor:
    """d sum(y)/dtheta, differentiable again; zero where y does not depend on theta."""
    return torch.autograd.grad(
        y.sum(), theta, create_graph=True, allow_unused=True, materialize_grads=True
    )[0]


def relax(f_b: Tensor, draw: rx.Draw, c: Function) -> Tensor:
    """[f(b) - c(z~)] d/dtheta log p(b|theta) + d/dtheta c(z) - d/dtheta c(z~)."""
    dist = draw.dist
    c_z, c_zt = c(draw.z), c(draw.z_tilde)
    score = derivative(dist.log_prob(draw.b), dist.theta).detach()
    return (
        weigh(f_b.detach() - c_zt, score)  # [f(b) - c(z~)] d/dtheta log p(b|theta)
        + derivative(c_z, dist.theta)  # + d/dtheta c(z)
        - derivative(c_zt, dist.theta)  # - d/dtheta c(z~)
    )


def rebar(f: Function, draw: rx.Draw, eta: Tensor | float, lambda_: Tensor | float) -> Tensor:
    """RELAX with c(z) = eta f(sigma_lambda(z))."""
    return relax(f(draw.b), draw, lambda z: eta * f(draw.dist.relaxed(z, lambda_)))


def lax(f: Function, draw: rx.Draw, c: Function) -> Tensor:
    """[f(b) - c(b)] d/dtheta log p(b|theta) + d/dtheta c(b)."""
    dist = draw.dist
    score = derivative(dist.log_prob(draw.b), dist.theta).detach()
    return (
        weigh(f(draw.b).detach() - c(draw.b), score)  # [f(b) - c(b)] d/dtheta log p(b|theta)
        + derivative(c(draw.z), dist.theta)  # + d/dtheta c(b)
    )


def dlax(f: Function, draw: rx.Draw, c: Function) -> Tensor:
    """f(b) d/dtheta log p(b|theta) - c(z) d/dtheta log p(z|theta) + d/dtheta c(z)."""
    dist, z = draw.dist, draw.z.detach()
    score = derivative(dist.log_prob(draw.b), dist.theta).detach()
    score_z = derivative(dist.log_prob_z(z), dist.theta).detach()
    return (
        weigh(f(draw.b).detach(), score)  # f(b) d/dtheta log p(b|theta)
        - weigh(c(z), score_z)  # - c(z) d/dtheta log p(z|theta)
        + derivative(c(draw.z), dist.theta)  # + d/dtheta c(z)
    )


def grouped_objective(est: rx.Estimate, params: list[Tensor], groups: Tensor) -> Tensor:
    """Mean over groups of |the gradient of a group's total|^2, summed over replicas.

    What the surrogate of a policy minimises: the rows of one episode are not independent, so their
    sum is squared. groups [*batch] numbers each replica's groups from 0; -1 is padding.
    """
    total = torch.zeros(())
    for replica, own in enumerate(groups):
        count = int(own.max()) + 1
        for group in range(count):
            picked = torch.zeros_like(est.grad)
            picked[replica, own == group] = est.grad[replica, own == group]
            grads = torch.autograd.grad(
                est.theta, params, picked, create_graph=True, materialize_grads=True
            )
            total = total + sum(g.square().sum() for g in grads) / count
    return total

"""Mistakes that others have made, each written out, to show that a named test catches it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

import relax as rx
from relax.distributions import softplus


class NoPathThroughZTilde(rx.Bernoulli):
    """z~ as a constant: the first bug that users of the authors' code found."""

    def pull_z_tilde(self, grad: Tensor, b: Tensor, z_tilde: Tensor) -> Tensor:
        return torch.zeros_like(grad)


class SwappedTheta(rx.Bernoulli):
    """1 - theta where theta belongs in the conditional noise."""

    def condition(self, b: Tensor, noise: Tensor) -> Tensor:
        s = 2 * b - 1
        return s * softplus(noise + softplus(-s * self.theta))


class Unconditioned(rx.Bernoulli):
    """z~ from p(z|theta) instead of p(z|b, theta): unbiased, and blind to b."""

    def condition(self, b: Tensor, noise: Tensor) -> Tensor:
        return self.theta + (2 * b - 1) * noise

    def pull_z_tilde(self, grad: Tensor, b: Tensor, z_tilde: Tensor) -> Tensor:
        return grad


def backward_leaking_into_theta(est: rx.Estimate, phi: Iterable[Tensor]) -> None:
    """The variance objective through a backward pass, which reaches theta too."""
    del phi
    theta = est.theta
    (est.grad * theta / theta.detach()).square().sum().backward(retain_graph=True)
    est.surrogate().backward()


def objective_of_rows(est: rx.Estimate, params: Sequence[Tensor], groups: Tensor) -> Tensor:
    """Squares of each row's gradient summed over a group, where the group's total is meant."""
    return rx.variance_objective(est, variance_of=params) * len(groups) / (groups.max() + 1)


def backward_layer_by_layer(estimates: Sequence[rx.Estimate]) -> None:
    """One backward pass a layer: the shared value is differentiated once per layer."""
    for est in estimates:
        est.surrogate().backward(retain_graph=True)

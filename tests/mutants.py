"""Mistakes that others have made, each written out, to show that a named test catches it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

import relax as rx
from relax.distributions import softplus
from tests import reference
from tests.reference import Function


class NoPathThroughZTilde(rx.Bernoulli):
    """z~ as a constant: the first bug that users of the authors' code found."""

    def vjp_z_tilde(self, grad: Tensor, b: Tensor, z_tilde: Tensor, v=None) -> Tensor:
        return torch.zeros_like(grad)


class SwappedTheta(rx.Bernoulli):
    """1 - theta where theta belongs in the conditional noise."""

    def _z_tilde(self, b: Tensor, noise: Tensor) -> Tensor:
        s = 2 * b - 1
        return s * softplus(noise + softplus(-s * self.theta))


class Unconditioned(rx.Bernoulli):
    """z~ from p(z|theta) instead of p(z|b, theta): unbiased, and blind to b."""

    def _z_tilde(self, b: Tensor, noise: Tensor) -> Tensor:
        return self.theta + (2 * b - 1) * noise

    def vjp_z_tilde(self, grad: Tensor, b: Tensor, z_tilde: Tensor, v=None) -> Tensor:
        return grad


def backward_leaking_into_theta(f: Function, draw: rx.Draw, c: Function) -> None:
    """The variance objective through a backward pass, which reaches theta as well as phi."""
    grad = reference.relax(f(draw.b), draw, c)
    (grad.square().flatten(1).sum(-1).mean()).backward(retain_graph=True)
    ((grad.detach() * draw.dist.theta).sum() / len(grad)).backward()


def backward_layer_by_layer(estimates: Sequence[rx.Estimate]) -> None:
    """One backward pass a layer: the shared value is differentiated once per layer."""
    for est in estimates:
        (est.theta * est.grad.detach() / est.rows).sum().backward(retain_graph=True)
        est.value.mean().backward(retain_graph=True)

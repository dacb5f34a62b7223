"""c(z), c(z~) and their derivatives in theta, for every estimator that has a surrogate.

The derivative is taken at a detached z and pulled back to theta in closed form
(`Distribution.pull_z`), so that nothing but phi stands behind it. z and z~ go through c together;
coupled noise makes them equal in value, and then once is enough. A direct dependence of c on theta
is left out of d/dtheta c(z) and of d/dtheta c(z~) alike, where the two have the same mean.
`relax.reference` keeps the estimators as the paper writes them, and the tests hold the two equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from relax.distributions import Draw
from relax.estimators.estimate import discrete, same_shape

Surrogate = Callable[[Tensor], Tensor]


class ControlVariate(NamedTuple):
    """c_zt [(K,) *batch]; dc_z and dc_zt [(K,) *shape of theta]; all attached to phi."""

    c_zt: Tensor
    dc_z: Tensor
    dc_zt: Tensor


def control_variate(name: str, c: Surrogate, draw: Draw, shape: torch.Size) -> ControlVariate:
    """c(z~), d/dtheta c(z) and d/dtheta c(z~); `shape` is that of f(b)."""
    dist = discrete(name, draw.dist)
    z = draw.z.detach()
    if draw.coupled:
        c_z, dc = value_and_grad(name, c, z, shape)
        return ControlVariate(c_z, dist.pull_z(dc, z), dist.pull_z_tilde(dc, draw.b, z))
    z_tilde = draw.z_tilde.detach()
    both = torch.stack([z, z_tilde])
    (_, c_zt), (dc_z, dc_zt) = value_and_grad(name, c, both, torch.Size((2, *shape)))
    return ControlVariate(c_zt, dist.pull_z(dc_z, z), dist.pull_z_tilde(dc_zt, draw.b, z_tilde))


def value_and_grad(name: str, c: Surrogate, z: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """c(z) of the given shape and dc/dz like z, both attached to phi.

    A surrogate that offers `value_and_grad(z)` is asked for both at once, which saves the second
    derivative in z; autograd does it for any other.
    """
    if hasattr(c, "value_and_grad"):
        c_z, dc = c.value_and_grad(z)
        same_shape(name, "c(z)", c_z, shape)
        return c_z, dc
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        c_z = c(z)
        same_shape(name, "c(z)", c_z, shape)
        if not c_z.requires_grad:  # a constant
            return c_z, torch.zeros_like(z)
        (dc,) = torch.autograd.grad(c_z.sum(), z, create_graph=True, materialize_grads=True)
    return c_z, dc

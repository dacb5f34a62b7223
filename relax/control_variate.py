"""c(z), c(z~) and their derivatives in theta, for every estimator that has a surrogate.

dc/dz is taken at a detached z and multiplied by dz/dtheta (`Draw.vjp_z`), so that the result is
attached to phi alone. z and z~ go through c in one call; with coupled noise they are equal in
value, and one of them is enough. A direct dependence of c on theta is left out of both
d/dtheta c(z) and d/dtheta c(z~), where it has the same mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from relax.distributions import Distribution, Draw

Surrogate = Callable[[Tensor], Tensor]

NOT_CONNECTED = (
    "c(z) is not connected to z by autograd: d/dtheta c(z) cannot be taken, and the estimate would "
    "be biased. Compute c from z by differentiable torch operations: not under no_grad or "
    "inference_mode, not in NumPy, not from H(z). What does not depend on z is a baseline "
    "(rx.reinforce, rx.nvil)"
)


class ControlVariate(NamedTuple):
    """c_zt [(K,) *batch]; dc_z and dc_zt [(K,) *shape of theta]; all attached to phi.

    For estimators without z~, c_zt is c(z) and dc_zt is None. learnable: whether c has a phi.
    """

    c_zt: Tensor
    dc_z: Tensor
    dc_zt: Tensor | None = None
    learnable: bool = True


def control_variate(c: Surrogate, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
    """c(z~), d/dtheta c(z) and d/dtheta c(z~)."""
    z = draw.z.detach()
    if draw.coupled:
        c_z, dc = value_and_grad(c, z, draw.value_shape)
        return c_z, draw.vjp_z(dc), draw.vjp_z_tilde(dc, z)
    z_tilde = draw.z_tilde.detach()
    both = torch.stack([z, z_tilde])
    (_, c_zt), (dc_z, dc_zt) = value_and_grad(c, both, torch.Size((2, *draw.value_shape)))
    return c_zt, draw.vjp_z(dc_z), draw.vjp_z_tilde(dc_zt, z_tilde)


def value_and_grad(c: Surrogate, z: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """c(z) of the given shape and dc/dz like z, both attached to phi; c gets a z of its own.

    A surrogate with the method `value_and_grad(z)` returns both at once, which saves the second
    derivative in z; for any other, autograd computes dc/dz.

    Raises:
        ValueError: c(z) has another shape, or is not connected to z.
    """
    if in_closed_form(c):
        c_z, dc = c.value_and_grad(z.clone())  # type: ignore[attr-defined]
        check_rows(c_z, shape)
        return c_z, dc
    with torch.enable_grad():
        leaf = z.detach().requires_grad_()
        try:
            c_z = c(leaf.clone())
        except RuntimeError as error:
            error.add_note(f"c was called with z of shape {list(z.shape)}: see rx.relax about c")
            raise
        check_rows(c_z, shape)
        if not c_z.requires_grad:
            raise ValueError(NOT_CONNECTED)
        c_z = c_z if c_z.dtype == z.dtype else c_z.to(z.dtype)
        (dc,) = torch.autograd.grad(c_z.sum(), leaf, create_graph=True, allow_unused=True)
        if dc is None:
            raise ValueError(NOT_CONNECTED)
    return c_z, dc


def in_closed_form(c: Surrogate) -> bool:
    """Whether c has the method `value_and_grad`, and that method is of the same function as c.

    It is not where a subclass of an `mlp` overrides `forward` alone, or where hooks change c(z).
    """
    if not hasattr(c, "value_and_grad"):
        return False
    if not isinstance(c, nn.Module):
        return bool(getattr(c, "has_closed_form", True))
    first = next(k for k in type(c).__mro__ if {"forward", "value_and_grad"} & {*vars(k)})
    return "value_and_grad" in vars(first) and not (c._forward_hooks or c._forward_pre_hooks)


def check_axes(c: object, dist: Distribution) -> None:
    """Refuse a batch with fewer axes than c needs: the axis of z and z~ would count as one of them.

    An `mlp` says how many it needs, in `batch_ndim`: two with replicas, [R, B].
    """
    needed, shape = getattr(c, "batch_ndim", 0), dist.batch_shape
    if needed > len(shape):
        raise ValueError(
            f"c needs {needed} batch axes (replicas and rows, or those of its context x), and the "
            f"distribution's batch is {list(shape)}: give theta an axis of rows"
        )


def check_rows(x: Tensor, shape: torch.Size, what: str = "c(z)") -> None:
    """Refuse what would broadcast silently, such as c(z) of [B, 1] against f(b) of [B]."""
    if x.shape != shape:
        raise ValueError(
            f"{what} has shape {list(x.shape)} where one number per row is needed, {list(shape)} "
            f"(remove a last axis of 1 by .squeeze(-1))"
        )

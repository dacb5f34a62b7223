"""Derivatives of f itself, for the estimators that differentiate it."""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions import Draw
from relax.estimators.estimate import Function, evaluate


def slope(name: str, f: Function, x: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """f(x), attached to f's own weights, and the constant df/dx at the point x.

    Raises TypeError where f refuses x or carries no gradient there.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        try:
            f_x = evaluate(name, f, x, draw)
        except RuntimeError as error:
            raise TypeError(f"{name} {NEEDS_GRADIENT}; f failed there: {error}") from error
        if not f_x.requires_grad:
            raise TypeError(f"{name} {NEEDS_GRADIENT}; f carried no gradient there")
        (df,) = torch.autograd.grad(f_x.sum(), x, retain_graph=True, materialize_grads=True)
    return f_x, df


NEEDS_GRADIENT = (
    "differentiates f, also at relaxed inputs between the outcomes of b (use reinforce, or relax "
    "with a surrogate of z, for an f that cannot be)"
)

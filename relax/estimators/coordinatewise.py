"""f with one coordinate of b at a time put to another value."""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions import Categorical, Draw
from relax.estimators.estimate import Function, evaluate_each

CHUNK = 2**25  # numbers of b in one call of f


def coordinatewise(name: str, f: Function, draw: Draw, other: Tensor, batch_ndim: int) -> Tensor:
    """f(b with b_d = other_d) for every coordinate d, a constant that broadcasts against b.

    batch_ndim: how many axes f(b) has, samples included.
    """
    class_axes = int(isinstance(draw.dist, Categorical))
    sites = draw.b.shape[batch_ndim : draw.b.ndim - class_axes]
    one_site = torch.eye(sites.numel(), device=other.device) > 0
    one_site = one_site.reshape(-1, *(1,) * batch_ndim, *sites, *(1,) * class_axes)
    with torch.no_grad():
        values = [
            evaluate_each(name, f, torch.where(mask, other, draw.b), draw)
            for mask in one_site.split(max(1, CHUNK // other.numel()))
        ]
    f_other = torch.cat(values).movedim(0, -1)
    return f_other.reshape(*f_other.shape[:-1], *sites, *(1,) * class_axes)

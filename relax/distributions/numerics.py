"""Elementary functions and raw random numbers that every distribution uses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from relax.replicas import Streams

RandomSource = torch.Generator | Streams | None

# torch.sigmoid and torch.logit round the last few numbers of a tensor differently from the others,
# so that a replica would not equal the run alone bit for bit.


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return 0.5 * torch.tanh(0.5 * x) + 0.5


def logit(u: Tensor) -> Tensor:
    """log u - log(1 - u); 1 - u is exact where u is near 1."""
    return torch.log(u / (1 - u))


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x); torch's own switches to x above 20, which is off by 2e-9 in float64."""
    return -logsigmoid(-x)


def open_interval(u: Tensor) -> Tensor:
    """u moved off 0 and 1, as far as its type resolves the interval."""
    eps = torch.finfo(u.dtype).eps
    return u.clamp(eps / 4, 1 - eps / 2)


def random(
    kind: str, shape: torch.Size, samples: int, like: Tensor, generator: RandomSource
) -> Tensor:
    """Raw `rand` or `randn` numbers, [(K,) *shape], from one generator or a stream per replica."""
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    if isinstance(generator, Streams):
        rows = shape[1:] if samples == 1 else (samples, *shape[1:])
        drawn = getattr(generator, kind)(*rows).to(like.dtype)
        if len(drawn) != shape[0]:
            raise ValueError(f"{len(drawn)} streams for a first axis of {shape[0]} replicas")
        return drawn if samples == 1 else drawn.movedim(1, 0)
    full = shape if samples == 1 else (samples, *shape)
    make = torch.rand if kind == "rand" else torch.randn
    return make(full, generator=generator, dtype=like.dtype, device=like.device)

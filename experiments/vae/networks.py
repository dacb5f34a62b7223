"""Stacks of linear layers over replicas."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from relax.replicas import Linear, matmul
from relax.surrogates import ACTIVATIONS


class Network(nn.Module):
    """Linear layers of the given sizes with `activation` between: [..., R, B, in] -> [.., out]."""

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str,
        replicas: int,
        generators: Sequence[torch.Generator],
    ):
        super().__init__()
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        self.layers = nn.ModuleList(Linear(i, o, replicas, generator=generators) for i, o in pairs)
        self.activate = ACTIVATIONS[activation][0]

    def forward(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        """The output; `offset` is added to the first layer's, what other inputs contribute."""
        for i, linear in enumerate(self.layers):
            x = matmul(x if i == 0 else self.activate(x), linear.weight) + linear.bias
            if i == 0 and offset is not None:
                x = x + offset
        return x

"""Stacks of linear layers over replicas, with the derivative in their input in closed form."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
        self.activate, self.slope = ACTIVATIONS[activation]

    def forward(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        """The output; `offset` is added to the first layer's, what other inputs contribute."""
        return self.with_pullback(x, offset)[0]

    def with_pullback(
        self, x: Tensor, offset: Tensor | None = None, constant: bool = False
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The output y and the map dy -> dx, both attached to the weights unless `constant`.

        Closed form instead of autograd, so that a loss on the derivative needs one backward pass.
        """
        hidden = []
        weights = [
            (w.weight.detach(), w.bias.detach()) if constant else (w.weight, w.bias)
            for w in self.layers
        ]
        for i, (weight, bias) in enumerate(weights):
            if i > 0:
                x = self.activate(x)
                hidden.append(x)
            x = matmul(x, weight) + bias
            if i == 0 and offset is not None:
                x = x + offset

        def pull(grad: Tensor) -> Tensor:
            for i in reversed(range(len(weights))):
                grad = matmul(grad, weights[i][0].mT)
                if i > 0:
                    grad = self.slope(grad, hidden[i - 1])
            return grad

        return x, pull

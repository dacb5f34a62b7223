"""Linear layers and multilayer perceptrons for R replicas, with the VJP in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

Generators = torch.Generator | Sequence[torch.Generator] | None  # one, or one per replica
Init = Callable[[int, int, torch.Generator | None], Tensor]  # (in, out, generator) -> [in, out]


def glorot(features_in: int, features_out: int, generator: torch.Generator | None) -> Tensor:
    """Glorot-uniform weights [in, out]."""
    bound = math.sqrt(6 / (features_in + features_out))
    return (2 * torch.rand(features_in, features_out, generator=generator) - 1) * bound


def zeros(features_in: int, features_out: int, generator: torch.Generator | None) -> Tensor:
    """Weights [in, out] that are all zero."""
    return torch.zeros(features_in, features_out)


class Activation(NamedTuple):
    """An elementwise y = h(x) and its VJP as a function of y."""

    function: Callable[[Tensor], Tensor]
    vjp: Callable[[Tensor, Tensor], Tensor]  # (grad, y) -> grad h'(x)


LEAK = 0.3  # slope of leaky_relu below 0


def leaky_relu(x: Tensor) -> Tensor:
    return nn.functional.leaky_relu(x, LEAK)


def tanh_vjp(grad: Tensor, y: Tensor) -> Tensor:
    return cast(Tensor, torch.ops.aten.tanh_backward(grad.expand_as(y), y))


def relu_vjp(grad: Tensor, y: Tensor) -> Tensor:
    return grad * (y > 0)


def leaky_relu_vjp(grad: Tensor, y: Tensor) -> Tensor:
    return grad * torch.where(y > 0, 1.0, LEAK)


def elu_vjp(grad: Tensor, y: Tensor) -> Tensor:
    return grad * torch.where(y > 0, 1.0, y + 1)


ACTIVATIONS = {  # functions of this module, so that a network can be pickled
    "tanh": Activation(torch.tanh, tanh_vjp),
    "relu": Activation(torch.relu, relu_vjp),
    "leaky_relu": Activation(leaky_relu, leaky_relu_vjp),
    "elu": Activation(nn.functional.elu, elu_vjp),
}


class Linear(nn.Module):
    """x W + b for every replica: x [..., (R,) B, in] -> [..., (R,) B, out].

    Args:
        features_in, features_out: of x and of the result.
        replicas: R; 0 means that there is no replica axis.
        init: makes one replica's weight, (in, out, generator) -> [in, out].
        generator: one torch.Generator, or one per replica, which makes a replica's weights the same
            however many replicas there are.

    Attributes:
        weight: [(R,) in, out]. bias: [(R,) 1, out], zero at the start.
    """

    def __init__(
        self,
        features_in: int,
        features_out: int,
        replicas: int = 0,
        init: Init = glorot,
        generator: Generators = None,
    ) -> None:
        super().__init__()
        if generator is None or isinstance(generator, torch.Generator):
            generators = [generator] * max(replicas, 1)
        else:
            generators = list(generator)
            if len(generators) != replicas:
                raise ValueError(f"{len(generators)} generators for {replicas} replicas")
        weight = torch.stack([init(features_in, features_out, g) for g in generators])
        lead = (replicas,) if replicas else ()
        self.weight = nn.Parameter(weight if replicas else weight[0])
        self.bias = nn.Parameter(torch.zeros(*lead, 1, features_out))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 3 and self.weight.ndim == 3 and 1 not in self.weight.shape[1:]:
            return torch.baddbmm(self.bias, x, self.weight)  # in one pass
        return matmul(x, self.weight) + self.bias


class MLP(nn.Module):
    """A multilayer perceptron per replica: linear layers with an activation between them.

    The VJP is written out instead of left to autograd. It stays attached to the weights, so that a
    loss on a derivative of the network takes one backward pass and no second-order graph.

    Args:
        sizes: features of the input, of every hidden layer, and of the output.
        activation: "tanh", "relu", "leaky_relu" or "elu", or an `Activation`.
        replicas: R; 0 means that there is no replica axis.
        generator: one torch.Generator, or one per replica. Layers are made in order, first to last.
        init: makes one replica's weight, (in, out, generator) -> [in, out].
        init_last: the same for the last layer; `init` by default.

    Attributes:
        layers: the `Linear` layers. `parameters()` lists W_1, b_1, W_2, b_2, ...
        activation: the `Activation`.

    Raises:
        ValueError: an unknown activation.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Activation = "tanh",
        replicas: int = 0,
        generator: Generators = None,
        init: Init = glorot,
        init_last: Init | None = None,
    ) -> None:
        super().__init__()
        if isinstance(activation, str):
            if activation not in ACTIVATIONS:
                known = ", ".join(ACTIVATIONS)
                raise ValueError(f"activation must be one of {known}, got {activation!r}")
            activation = ACTIVATIONS[activation]
        self.activation = activation
        inits = [init] * (len(sizes) - 2) + [init_last or init]
        self.layers = nn.ModuleList(
            Linear(features_in, features_out, replicas, layer_init, generator)
            for features_in, features_out, layer_init in zip(
                sizes[:-1], sizes[1:], inits, strict=True
            )
        )

    def forward(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        """The output [..., (R,) B, out] at x [..., (R,) B, in]; for `offset` see `activations`."""
        return self.activations(x, offset)[-1]

    def activations(
        self, x: Tensor, offset: Tensor | None = None, constant: bool = False
    ) -> list[Tensor]:
        """The input of every layer, then the output: [x, h_1, h_2, ..., y].

        Args:
            x: [..., (R,) B, in].
            offset: [..., (R,) B, sizes[1]], added to the first layer's result: the contribution of
                further inputs.
            constant: whether the weights are taken as constants.
        """
        weights = self._weights(constant)
        activations = [x]
        for index, (weight, bias) in enumerate(weights):
            # Not `layer(h)`: its fused kernel rounds sums of more than 384 inputs differently.
            h = matmul(activations[-1], weight) + bias
            if index == 0 and offset is not None:
                h = h + offset
            is_last = index == len(weights) - 1
            activations.append(h if is_last else self.activation.function(h))
        return activations

    def layer_vjps(
        self, activations: Sequence[Tensor], grad: Tensor, constant: bool = False
    ) -> list[Tensor]:
        """The VJP at every layer, for a gradient `grad` in the output.

        Args:
            activations: what `activations` returned.
            grad: [..., (R,) B, out], or anything that broadcasts to it.
            constant: as in `activations`.

        Returns:
            [dx, da_1, da_2, ..., grad]: the gradients in the input x and in what each layer
            computes before its activation. The gradient of layer k's weight is h_{k-1}^T da_k.
        """
        weights = [weight for weight, _ in self._weights(constant)]
        grads = [grad]
        for index in reversed(range(len(weights))):
            grad = matmul(grad, weights[index].mT)
            if index > 0:
                grad = self.activation.vjp(grad, activations[index])
            grads.append(grad)
        return grads[::-1]

    def with_vjp(
        self, x: Tensor, offset: Tensor | None = None, constant: bool = False
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The output y, and the function from a gradient in y to the gradient in x."""
        activations = self.activations(x, offset, constant)

        def vjp(grad: Tensor) -> Tensor:
            return self.layer_vjps(activations, grad, constant)[0]

        return activations[-1], vjp

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return cast(Linear, self.layers[0]).weight.dtype

    def _weights(self, constant: bool) -> list[tuple[Tensor, Tensor]]:
        layers = cast(list[Linear], list(self.layers))
        if constant:
            return [(layer.weight.detach(), layer.bias.detach()) for layer in layers]
        return [(layer.weight, layer.bias) for layer in layers]


FEW = 16  # inputs of a sum that a compiler fuses; more are a matrix product


def matmul(x: Tensor, weight: Tensor) -> Tensor:
    """x [..., (R,) B, in] times weight [(R,) in, out].

    Leading axes of x are folded into its rows: broadcasting the weight over them would copy it.
    """
    if weight.shape[-2] == 1:
        return x * weight
    if weight.shape[-1] == 1 and weight.shape[-2] <= FEW and torch.compiler.is_compiling():
        return (x * weight.mT).sum(-1, keepdim=True)  # fused with what surrounds it
    if weight.ndim == 3 and x.ndim == 3:
        if len(weight) == 1 and weight.shape[-1] == 1:
            # A duplicate of the replica: torch sums one column of one replica in another order than
            # that of several, which would break equality bit for bit.
            return torch.bmm(x.expand(2, -1, -1), weight.expand(2, -1, -1))[:1]
        return torch.bmm(x, weight)  # the same as @, without its four views
    if weight.ndim == 2 or x.ndim < 3:
        return x @ weight
    lead, (replicas, rows, features) = x.shape[:-3], x.shape[-3:]
    folded = x.reshape(-1, replicas, rows, features).movedim(0, 1).flatten(1, 2)
    out = (folded @ weight).unflatten(1, (-1, rows)).movedim(1, 0)
    return out.reshape(*lead, replicas, rows, weight.shape[-1])

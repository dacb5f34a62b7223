"""The nets of all replicas: policy, state value V(s), surrogate c(z, s) or c(a, s).

Every parameter has a replica axis R first and rows of states stand behind it, x [..., R, N, in].
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

import relax as rx
from relax.replicas import matmul

# activation(x), its slope from its own output, and the NumPy form that the rollout uses
ACTIVATIONS: dict[str, tuple[Callable, Callable, Callable]] = {
    "relu": (torch.relu, lambda h: (h > 0).to(h.dtype), lambda x: np.maximum(x, 0)),
    "tanh": (torch.tanh, lambda h: 1 - h * h, np.tanh),
    "elu": (nn.functional.elu, lambda h: h.clamp(max=0) + 1, None),
}


class Network(nn.Module):
    """A multilayer perceptron per replica: sizes (in, hidden, ..., out), the last layer linear."""

    def __init__(self, sizes: list[int], activation: str, weights: list[Tensor]) -> None:
        super().__init__()
        self.sizes, self.activation = sizes, activation
        self.act, self.slope, _ = ACTIVATIONS[activation]
        self.weights = nn.ParameterList(weights)
        self.biases = nn.ParameterList(w.new_zeros(len(w), 1, w.shape[-1]) for w in weights)

    @property
    def layers(self) -> list[Tensor]:
        """W_1, b_1, W_2, b_2, ..."""
        return [p for pair in zip(self.weights, self.biases, strict=True) for p in pair]

    def hidden(self, x: Tensor) -> list[Tensor]:
        """The input of every layer and the output: [x, h_1, h_2, ..., out]."""
        layers = self.layers
        outputs = [x]
        for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
            outputs.append(self.act(matmul(outputs[-1], weight) + bias))
        return [*outputs, matmul(outputs[-1], layers[-2]) + layers[-1]]

    def forward(self, x: Tensor) -> Tensor:
        return self.hidden(x)[-1]

    def jacobian(self, outputs: list[Tensor], signal: Tensor) -> list[Tensor]:
        """`signal` (a gradient of the output) carried back to every layer's pre-activation and to
        the input.

        In closed form, so that the result stays differentiable in the weights at the price of a
        forward pass. Returned in the order of `outputs`: [at the input, at layer 1, ..., at the
        output = signal].
        """
        signals = [signal]
        for weight, h in zip(reversed(self.weights), reversed(outputs[:-1]), strict=True):
            back = matmul(signals[0], weight.mT)
            signals.insert(0, back * self.slope(h) if h is not outputs[0] else back)
        return signals


def orthogonal(
    sizes: list[int], generators: list[torch.Generator], last: float = 1.0
) -> list[Tensor]:
    """Orthogonal weights, gain sqrt(2) in hidden layers and `last` in the last one."""

    def one(generator, rows, columns):
        normal = torch.randn(max(rows, columns), min(rows, columns), generator=generator)
        q, r = torch.linalg.qr(normal)
        q = q * r.diagonal().sign()
        return q if rows >= columns else q.T

    gains = [math.sqrt(2)] * (len(sizes) - 2) + [last]
    return _stack(sizes, generators, lambda g, i, o, layer: gains[layer] * one(g, i, o))


def normed_columns(
    sizes: list[int], generators: list[torch.Generator], last: float
) -> list[Tensor]:
    """Normal weights with columns of length 1 in hidden layers and `last` in the last one."""
    gains = [1.0] * (len(sizes) - 2) + [last]

    def one(generator, rows, columns, layer):
        weight = torch.randn(rows, columns, generator=generator)
        return gains[layer] * weight / weight.norm(dim=0)

    return _stack(sizes, generators, one)


def glorot(sizes: list[int], generators: list[torch.Generator]) -> list[Tensor]:
    """Glorot-uniform weights."""

    def one(generator, rows, columns, layer):
        bound = math.sqrt(6 / (rows + columns))
        return bound * (2 * torch.rand(rows, columns, generator=generator) - 1)

    return _stack(sizes, generators, one)


def _stack(sizes: list[int], generators: list[torch.Generator], one: Callable) -> list[Tensor]:
    shapes = list(zip(sizes[:-1], sizes[1:], strict=True))
    per_replica = [[one(g, i, o, layer) for layer, (i, o) in enumerate(shapes)] for g in generators]
    return [torch.stack(weights) for weights in zip(*per_replica, strict=True)]


class DiscreteSurrogate(nn.Module):
    """c(z, s) = scale * net([s, softmax(z / lambda)]), lambda and scale learned from 1."""

    def __init__(self, net: Network, states: int) -> None:
        super().__init__()
        self.net, self.states = net, states
        replicas = len(net.weights[0])
        self.log_lambda = nn.Parameter(torch.zeros(replicas, 1, 1))
        self.scale = nn.Parameter(torch.ones(replicas, 1, 1))

    def at(self, state: Tensor) -> _AtStates:
        """c(., s) at given states [R, N, O], as the estimators take it."""
        return _AtStates(self, state)

    def value_and_grad(self, state: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """c [..., R, N] and dc/dz [..., R, N, C], attached to phi."""
        lambda_ = self.log_lambda.exp()
        soft = torch.softmax(z / lambda_, -1)
        outputs = self.net.hidden(torch.cat([state.expand(*z.shape[:-1], -1), soft], -1))
        signal = self.scale.expand(outputs[-1].shape)
        grad = self.net.jacobian(outputs, signal)[0][..., self.states :]
        through = soft * (grad - (grad * soft).sum(-1, keepdim=True)) / lambda_
        return (self.scale * outputs[-1]).squeeze(-1), through


class ContinuousSurrogate(nn.Module):
    """c(a, s) = net([s, a])."""

    def __init__(self, net: Network, states: int) -> None:
        super().__init__()
        self.net, self.states = net, states

    def at(self, state: Tensor) -> _AtStates:
        """c(., s) at given states [R, N, X], as the estimators take it."""
        return _AtStates(self, state)

    def value_and_grad(self, state: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """c [R, N] and dc/da [R, N, D], attached to phi."""
        outputs = self.net.hidden(torch.cat([state, z], -1))
        signals = self.net.jacobian(outputs, torch.ones_like(outputs[-1]))
        return outputs[-1].squeeze(-1), signals[0][..., self.states :]


class _AtStates:
    """A surrogate with its states filled in: c(z), and its value and gradient at once."""

    def __init__(self, surrogate: nn.Module, state: Tensor) -> None:
        self.surrogate, self.state = surrogate, state

    def __call__(self, z: Tensor) -> Tensor:
        return self.surrogate.value_and_grad(self.state, z)[0]

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.surrogate.value_and_grad(self.state, z)


class Actor:
    """The policy in NumPy, for one small step at a time over the replicas that still play.

    It shares the torch weights' memory and picks the action that the replayed noise stands for.
    noise [R, T, ...] as `dist.noise` makes it: u of the Categorical or of the Normal.
    """

    def __init__(self, policy: Network, noise: rx.Noise, log_std: Tensor | None = None) -> None:
        self.layers = [p.detach().numpy() for p in policy.layers]
        self.act = ACTIVATIONS[policy.activation][2]
        self.log_std = None if log_std is None else log_std.detach().numpy()
        u = noise.u.numpy()
        self.noise = u if self.log_std is not None else -np.log(-np.log(u))

    def focus(self, rows: np.ndarray) -> None:
        """Act for these rows from now on."""
        everyone = len(rows) == len(self.noise)
        self.now = self.layers if everyone else [layer[rows] for layer in self.layers]
        self.rows = slice(None) if everyone else rows
        if self.log_std is not None:
            self.std = np.exp(self.log_std[self.rows, 0])

    def __call__(self, x: np.ndarray, t: int) -> np.ndarray:
        """Actions [rows] or [rows, D] at inputs [rows, in]."""
        h = x[:, None]
        for weight, bias in zip(self.now[:-2:2], self.now[1:-2:2], strict=True):
            h = self.act(np.matmul(h, weight) + bias)
        out = (np.matmul(h, self.now[-2]) + self.now[-1])[:, 0]
        noise = self.noise[self.rows, t]
        return (out + noise).argmax(-1) if self.log_std is None else out + self.std * noise

"""The policy in NumPy, which chooses the actions while episodes are played.

A step of a rollout evaluates a small network on one observation per replica, where the overhead of
torch's operators dominates. With torch in its place, an update with its rollout takes 1.5 to 2
times as long on CartPole and 1.3 times as long on LunarLander. The tests compare the actions with
those of the torch policy.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import relax as rx
from relax.replicas import MLP

ACTIVATIONS = {torch.relu: lambda x: np.maximum(x, 0), torch.tanh: np.tanh}


class Actor:
    """Chooses an action for every replica that is still playing.

    Args:
        policy: the network of the logits, or of the mean; its weights' memory is shared.
        noise: of the distribution's draws, u [R, T, ...].
        log_std: of a Gaussian policy, [R, 1, D]; None for a categorical one.
    """

    def __init__(self, policy: MLP, noise: rx.Noise, log_std: Tensor | None = None) -> None:
        self.weights = [layer.weight.detach().numpy() for layer in policy.layers]
        self.biases = [layer.bias.detach().numpy() for layer in policy.layers]
        self.activation = ACTIVATIONS[policy.activation.function]
        self.log_std = None if log_std is None else log_std.detach().numpy()
        u = noise.u.numpy()
        self.noise = -np.log(-np.log(u)) if self.log_std is None else u

    def select(self, rows: np.ndarray) -> None:
        """Act for these replicas from now on."""
        everyone = len(rows) == len(self.noise)
        self.rows = slice(None) if everyone else rows  # a slice makes no copy
        self.layers = [
            (weight[self.rows], bias[self.rows])
            for weight, bias in zip(self.weights, self.biases, strict=True)
        ]
        if self.log_std is not None:
            self.std = np.exp(self.log_std[self.rows, 0])

    def __call__(self, x: np.ndarray, t: int) -> np.ndarray:
        """Actions [rows] or [rows, D] at step t for inputs x [rows, in]."""
        *hidden, (weight, bias) = self.layers
        h = x[:, None]
        for hidden_weight, hidden_bias in hidden:
            h = self.activation(np.matmul(h, hidden_weight) + hidden_bias)
        output = (np.matmul(h, weight) + bias)[:, 0]
        noise = self.noise[self.rows, t]
        if self.log_std is None:
            return (output + noise).argmax(-1)
        return output + self.std * noise

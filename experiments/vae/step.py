"""One training step: the gradients of the model and of phi, and their optimisers."""

from __future__ import annotations

from torch import Tensor

import relax as rx
from experiments.run import accelerate
from experiments.vae.method import Method, Noises
from relax.replicas import Adam


class Step:
    """Trains the model on the estimate and phi on its objective, each with its own Adam.

    Args:
        lr: the model's learning rates, [R].
        beta2: of both Adams; the authors use .99999.
        compiled: use torch.compile for the forward and backward pass.
    """

    def __init__(self, method: Method, lr: Tensor, beta2: float = 0.99999, compiled: bool = False):
        self.method, betas = method, (0.9, beta2)
        self.model = Adam(method.vae.parameters(), lr, betas)
        phi = method.phi()
        self.phi = Adam(phi, lr * method.settings.lr_factor, betas) if phi else None
        self.differentiate = accelerate.compiled(self.backward) if compiled else self.backward

    def __call__(self, x: Tensor, noise: Noises, train_model: bool = True) -> Tensor:
        """Update both (phi alone with train_model=False); the batch's mean of f(b), [R]."""
        mean_f = self.differentiate(x, noise)
        self.method.add_weight_decay(x.shape[1])
        if train_model:
            self.model.step()
        if self.phi is not None:
            self.phi.step()
        self.zero_grad()
        return mean_f

    def backward(self, x: Tensor, noise: Noises) -> Tensor:
        """Fill .grad of the model and of phi; the mean of f(b), [R]."""
        estimates = self.method.estimates(x, noise)
        rx.backward(estimates, self.method.phi())
        return estimates[0].value.detach().mean(-1)

    def zero_grad(self) -> None:
        self.model.zero_grad()
        if self.phi is not None:
            self.phi.zero_grad()

    def state_dict(self) -> dict:
        state = {"model": self.model.state_dict()}
        return state if self.phi is None else state | {"phi": self.phi.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        if self.phi is not None:
            self.phi.load_state_dict(state["phi"])

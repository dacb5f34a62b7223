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
        beta2, eps: of both Adams; the authors use a beta2 of .99999.
        compiled: use torch.compile for the forward and backward pass.
    """

    def __init__(
        self,
        method: Method,
        lr: Tensor,
        beta2: float = 0.99999,
        eps: float = 1e-8,
        compiled: bool = False,
    ):
        self.method, settings = method, method.settings
        self.optimizers = {"model": Adam(method.vae.parameters(), lr, (0.9, beta2), eps)}
        if phi := method.phi():
            betas = (getattr(settings, "beta1", 0.9), beta2)
            self.optimizers["phi"] = Adam(phi, lr * settings.lr_factor, betas, eps)
        self.differentiate = accelerate.compiled(self.backward) if compiled else self.backward

    def __call__(self, x: Tensor, noise: Noises, train_model: bool = True) -> Tensor:
        """Update both (phi alone with train_model=False); the batch's mean of f(b), [R]."""
        mean_f = self.differentiate(x, noise)
        self.method.add_weight_decay(x.shape[1])
        for name, optimizer in self.optimizers.items():
            if train_model or name == "phi":
                optimizer.step()
            optimizer.zero_grad()
        return mean_f

    def backward(self, x: Tensor, noise: Noises) -> Tensor:
        """Fill .grad of the model and of phi; the mean of f(b), [R]."""
        estimates = self.method.estimates(x, noise)
        rx.backward(estimates, self.method.phi())
        value = estimates[0].value.detach()
        return (value.mean(0) if estimates[0].draw.sampled else value).mean(-1)

    def state_dict(self) -> dict:
        return {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}

    def load_state_dict(self, state: dict) -> None:
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])

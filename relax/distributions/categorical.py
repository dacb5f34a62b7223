"""One-hot choices among classes."""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions.discrete import Logits


class Categorical(Logits):
    """One-hot choices with logits theta [*batch, *event], normalised over the last axis.

    z = log p + Gumbel noise, H(z) = one_hot(argmax z), sigma_lambda(z) = softmax(z / lambda).
    In log space, with E = log(-log v): z_tilde_b = -E_b, and z_tilde_i =
    -logaddexp(E_i - log p_i, E_b) for the classes not chosen. Float32 noise resolves probabilities
    down to about 6e-8; float64 logits have no such limit.

    Args:
        logits: unnormalised log-probabilities; or give probs. The class axis is part of the event.
        event_ndim: 1 for one choice per row, 2 for D choices that f takes together, [.., D, C].
        replicas, masked, validate: as in `rx.Discrete`.

    Source: Grathwohl et al. (2018), appendix B.2; Maddison et al. (2017) for z.
    """

    coordinate_ndim = 1

    @staticmethod
    def logits_of(probs: Tensor, validate: bool) -> Tensor:
        if validate and not bool((probs >= 0).all()):
            raise ValueError("Categorical: probs must not be negative")
        return probs.clamp(min=torch.finfo(probs.dtype).tiny).log()

    def check_mask(self, mask: Tensor) -> None:
        if bool((self.theta == torch.inf).any() | mask.all(-1).any()):
            raise ValueError("Categorical: a logit of +inf, or a row in which no class is allowed")

    @property
    def log_p(self) -> Tensor:
        """Normalised log-probabilities, differentiable in theta; -inf where masked."""
        return torch.log_softmax(self.theta, dim=-1)

    def reparameterize(self, u: Tensor) -> Tensor:
        return self.fill(self.log_p - torch.log(-torch.log(u)))

    def hard(self, z: Tensor) -> Tensor:
        best = self.fill(z, -torch.inf).argmax(dim=-1, keepdim=True)
        return (torch.arange(z.shape[-1], device=z.device) == best).to(z.dtype)

    def log_prob(self, b: Tensor) -> Tensor:
        log_p = self.log_p
        if self.mask is not None:  # 0 log 0 = 0
            log_p = log_p.masked_fill(self.mask & (b == 0), 0.0)
        return (b * log_p).sum(-1)

    def score(self, b: Tensor) -> Tensor:
        return b - self.p

    def condition(self, b: Tensor, v: Tensor) -> Tensor:
        return self._z_tilde(b, torch.log(-torch.log(v)))

    def recover(self, b: Tensor, z: Tensor) -> Tensor:
        z_b = (b * z).sum(-1, keepdim=True)
        losers = self.log_p.detach() - z + torch.log(-torch.expm1(z - z_b))
        return self._z_tilde(b, torch.where(b > 0, -z, self.fill(losers)))

    def _z_tilde(self, b: Tensor, noise: Tensor) -> Tensor:
        noise_b = torch.where(b > 0, noise, 0).sum(-1, keepdim=True)
        losers = -torch.logaddexp(noise - self.fill(self.log_p), noise_b)
        return self.fill(torch.where(b > 0, -noise, losers))

    def vjp_z(self, grad: Tensor, z: Tensor, u: Tensor | None = None) -> Tensor:
        return self._vjp_log_p(grad)

    def vjp_z_tilde(
        self, grad: Tensor, b: Tensor, z_tilde: Tensor, v: Tensor | None = None
    ) -> Tensor:
        # dz_tilde_i/dlog p_i = 1 - exp(z_tilde_i - z_tilde_b), which is 0 for the class chosen.
        z_tilde_b = (b * z_tilde).sum(-1, keepdim=True)
        return self._vjp_log_p(grad * -torch.expm1(z_tilde - z_tilde_b))

    def log_prob_z(self, z: Tensor) -> Tensor:
        x = self.fill(self.log_p - z)  # minus the Gumbel noise
        return x - x.exp()

    def score_z(self, z: Tensor) -> Tensor:
        return self._vjp_log_p(1 - torch.exp(self.log_p.detach() - z))

    def mean(self) -> Tensor:
        return torch.softmax(self.theta, dim=-1)

    def vjp_mean(self, grad: Tensor, p: Tensor | None = None) -> Tensor:
        p = self.p if p is None else p
        grad = self.fill(grad)
        return p * (grad - (p * grad).sum(-1, keepdim=True))

    def relaxed(self, z: Tensor, lambda_: Tensor | float) -> Tensor:
        return torch.softmax(self.fill(z / lambda_, -torch.inf), dim=-1)

    def support(self) -> Tensor:
        classes = torch.eye(self.theta.shape[-1], dtype=self.dtype, device=self.theta.device)
        return self.enumerate(classes)

    def alternatives(self, b: Tensor) -> list[tuple[Tensor, Tensor]]:
        # f(b) cancels in the normalisation, so that another class moves its own p alone
        return [(other, other) for other in (b.roll(k, -1) for k in range(1, b.shape[-1]))]

    def _vjp_log_p(self, grad: Tensor) -> Tensor:
        """grad dlog p/dtheta, through the normalisation."""
        grad = self.fill(grad)
        return grad - self.p * grad.sum(-1, keepdim=True)

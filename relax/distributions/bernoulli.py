"""Independent bits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from relax.distributions.discrete import Logits
from relax.distributions.numerics import logit, sigmoid, softplus


class Bernoulli(Logits):
    """Independent bits with logits theta [*batch, *event], b in {0, 1} of the same shape.

    z = theta + logit(u) is logistic, H(z) = [z > 0], sigma_lambda(z) = sigmoid(z / lambda).

    Everything is kept in log space: the textbook form v' = v theta + (1 - theta) of the conditional
    noise rounds to 1 in float32 and takes the logarithm of 0. With s = 2b - 1 and
    k = s logit(v) + softplus(s theta), z_tilde = s softplus(k) has the same law. Float32 noise
    resolves probabilities down to about 6e-8 (|logit| = 16); float64 logits have no such limit.

    Args:
        logits: log-odds of b = 1; or give probs, the probability of b = 1.
        event_ndim, replicas, masked, validate: as in `rx.Discrete`.

    Source: Grathwohl et al. (2018), appendix B.1; Maddison et al. (2017) for z.
    """

    bits = True

    @staticmethod
    def logits_of(probs: Tensor, validate: bool) -> Tensor:
        """log p - log(1 - p), finite also at 0 and 1."""
        if validate and not bool(((probs >= 0) & (probs <= 1)).all()):
            raise ValueError("Bernoulli: probs must lie between 0 and 1")
        info = torch.finfo(probs.dtype)
        return probs.clamp(min=info.tiny).log() - torch.log1p(-probs.clamp(max=1 - info.eps / 2))

    def reparameterize(self, u: Tensor) -> Tensor:
        return self.fill(self.theta + logit(u))

    def hard(self, z: Tensor) -> Tensor:
        return self._forced(z > 0).to(z.dtype)

    def log_prob(self, b: Tensor) -> Tensor:
        theta = self.fill(self.theta)
        log_p = b * theta + logsigmoid(-theta)
        if self.mask is None:
            return log_p
        return torch.where(self.mask, torch.where(b == self._certain(b), 0.0, -torch.inf), log_p)

    def score(self, b: Tensor) -> Tensor:
        return b - self.p

    def condition(self, b: Tensor, v: Tensor) -> Tensor:
        return self._z_tilde(b, (2 * b - 1) * logit(v))

    def recover(self, b: Tensor, z: Tensor) -> Tensor:
        s, size = 2 * b - 1, z.abs()
        log_expm1 = size + torch.log(-torch.expm1(-size))
        return self._z_tilde(b, log_expm1 - softplus(s * self.fill(self.theta.detach())))

    def _z_tilde(self, b: Tensor, noise: Tensor) -> Tensor:
        s = 2 * b - 1
        return self.fill(s * softplus(noise + softplus(s * self.fill(self.theta))))

    def vjp_z(self, grad: Tensor, z: Tensor, u: Tensor | None = None) -> Tensor:
        return self.fill(grad)

    def vjp_z_tilde(
        self, grad: Tensor, b: Tensor, z_tilde: Tensor, v: Tensor | None = None
    ) -> Tensor:
        # dz_tilde/dtheta = sigmoid(k) sigmoid(s theta), where sigmoid(k) = 1 - exp(-|z_tilde|) and
        # sigmoid(s theta) = p(b|theta) = 1 - |score|.
        derivative = torch.expm1(-z_tilde.abs()) * (self.score(b).abs() - 1)
        return self.fill(grad * derivative)

    def log_prob_z(self, z: Tensor) -> Tensor:
        x = z - self.fill(self.theta)
        return self.fill(logsigmoid(x) + logsigmoid(-x))

    def score_z(self, z: Tensor) -> Tensor:
        return self.fill(torch.tanh((z - self.theta.detach()) / 2))

    def mean(self) -> Tensor:
        return sigmoid(self.theta)

    def vjp_mean(self, grad: Tensor, p: Tensor | None = None) -> Tensor:
        p = self.p if p is None else p
        return self.fill(grad * p * (1 - p))

    def relaxed(self, z: Tensor, lambda_: Tensor | float) -> Tensor:
        return self._forced(sigmoid(z / lambda_))

    def support(self) -> Tensor:
        return self.enumerate(self.theta.new_tensor([0.0, 1.0]).to(self.dtype))

    def alternatives(self, b: Tensor) -> list[tuple[Tensor, Tensor]]:
        return [(1 - b, 1 - 2 * b)]

    def _forced(self, x: Tensor) -> Tensor:
        """x with the certain value of every masked bit."""
        return x if self.mask is None else torch.where(self.mask, self._certain(x), x)

    def _certain(self, like: Tensor) -> Tensor:
        return (self.theta > 0).to(like.dtype)

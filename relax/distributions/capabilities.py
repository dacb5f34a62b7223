"""What a distribution may offer beyond b = H(z); the estimators ask for it by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

CAPABILITIES = {  # name -> what an estimator that needs it asks for
    "condition": "a discrete distribution with condition(b, v), which draws z given b",
    "recover": "a discrete distribution with recover(b, z), the coupled z given b",
    "relaxed": "a discrete distribution with relaxed(z, lambda_), a continuous H",
    "mean": "a discrete distribution with mean(), E[b]",
    "vjp_mean": "a discrete distribution with a closed form of vjp_mean(grad, p)",
    "vjp_z": "a discrete distribution with a closed form of vjp_z(grad, z, u)",
    "log_prob_z": "a discrete distribution with log_prob_z(z), the density of z",
    "support": "a discrete distribution with support(), which lists all outcomes",
    "alternatives": "a discrete distribution with alternatives(b)",
    "continuous": "a continuous distribution, b = z",
    "bits": "a Bernoulli, independent bits with logits theta",
    "log_p": "a Categorical, one choice with log-probabilities log_p",
    "mean_and_std": "a Normal, with mean_and_std()",
}
TYPES = ("continuous", "bits", "log_p", "mean_and_std")  # cannot be added by defining a method


class Capabilities:
    """The signatures of what a subclass of `Distribution` may define."""

    if TYPE_CHECKING:  # undefined when the program runs, unless a subclass defines it

        def condition(self, b: Tensor, v: Tensor) -> Tensor:
            """z_tilde ~ p(z|b, theta) from uniform noise v, differentiable in theta."""

        def recover(self, b: Tensor, z: Tensor) -> Tensor:
            """z_tilde from that noise at which it equals z in value, differentiable in theta."""

        def relaxed(self, z: Tensor, lambda_: Tensor | float) -> Tensor:
            """sigma_lambda(z): H made continuous at temperature lambda."""

        def mean(self) -> Tensor:
            """E[b]."""

        def log_prob_z(self, z: Tensor) -> Tensor:
            """log p(z|theta), of every coordinate or of the joint event."""

        def support(self) -> Tensor:
            """All outcomes of the joint event on a new first axis, [S, *shape of b]."""

        def alternatives(self, b: Tensor) -> list[tuple[Tensor, Tensor]]:
            """Every other value of every coordinate, and how its p enters E[b]."""

        def mean_and_std(self) -> tuple[Tensor, Tensor]:
            """Mean and standard deviation of independent Gaussians."""

        @property
        def log_p(self) -> Tensor:
            """Normalised log-probabilities of the classes."""

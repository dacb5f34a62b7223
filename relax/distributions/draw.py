"""A draw: b with the noise that made it, and the z and z~ that go with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from relax.distributions.base import Distribution

INDEPENDENT = "independent"
WITHOUT_REPLACEMENT = "without replacement"
STICKS = "antithetic sticks"
TOLERATED = 1e-3  # rows in which rounding may decide b otherwise; relative error of a continuous b


class Noise(NamedTuple):
    """The random numbers behind a draw.

    u: noise of z, uniform on the open interval (Normal: standard normal), [(K,) *shape of b].
    v: noise of z_tilde, the same shape. None couples it to u: v is recovered from u through the
       inverse conditional, so that z_tilde equals z in value and differs in derivative only.
    """

    u: Tensor
    v: Tensor | None = None


class Draw:
    """One coupled draw of b, z and z_tilde, as an estimator takes it.

    Made by `dist.draw()`, or by `rx.NAME.draw(dist)` for an estimator whose samples are not
    independent of each other. The constructor takes noise of your own.

    Args:
        dist: the distribution that was drawn from.
        noise: the random numbers, u and perhaps v, [(K,) *shape of b].
        b: what was drawn, H(z) of this noise; computed by default.
        kind: how the samples depend on each other; an estimator refuses a draw of another kind.

    Attributes:
        b: H(z), a constant, [(K,) *shape of b]; a discrete b has the dtype of theta as it was
            given.
        z: differentiable in theta, the same shape.
        z_tilde: differentiable in theta, H(z_tilde) = b; computed when asked for.
    """

    def __init__(
        self,
        dist: Distribution,
        noise: Noise,
        b: Tensor | None = None,
        kind: str = INDEPENDENT,
    ) -> None:
        shape, given = dist.sample_shape, noise.u.shape
        if given[len(given) - len(shape) :] != shape or len(given) > len(shape) + 1:
            raise ValueError(
                f"noise of shape {list(given)} for draws of shape {list(shape)}: the noise must "
                f"have the shape of b, with at most one axis of samples before it"
            )
        self.dist, self.noise, self.kind = dist, noise, kind
        self._z: Tensor | None = None
        self.b = self._harden() if b is None else b.detach()

    def _harden(self) -> Tensor:
        z = self.z
        b = self.dist.hard(z)
        if b is z:
            return z.detach()
        b = b.detach()
        return b if b.dtype == self.dist.dtype else b.to(self.dist.dtype)

    @property
    def z(self) -> Tensor:
        if self._z is None:
            self._z = self.dist.reparameterize(self.noise.u)
        return self._z

    @property
    def z_tilde(self) -> Tensor:
        dist, v = self.dist, self.noise.v
        return dist.recover(self.b, self.z.detach()) if v is None else dist.condition(self.b, v)

    @property
    def coupled(self) -> bool:
        """Whether z_tilde equals z in value."""
        return self.noise.v is None

    @property
    def sampled(self) -> bool:
        """Whether the first axis of b counts samples."""
        return self.b.ndim > len(self.dist.sample_shape)

    @property
    def samples(self) -> int:
        """K; 1 where there is no axis of samples."""
        return len(self.b) if self.sampled else 1

    @property
    def value_shape(self) -> torch.Size:
        """The shape of f(b), [(K,) *batch]."""
        return self.b.shape[: self.b.ndim - self.dist.event_ndim]

    @property
    def score(self) -> Tensor:
        """d log p(b|theta)/dtheta, [(K,) *shape of theta]."""
        return self.dist.score(self.b)

    def vjp_z(self, grad: Tensor) -> Tensor:
        """grad dz/dtheta, [(K,) *shape of theta]; attached to what grad is attached to."""
        return self.dist.vjp_z(grad, self.z.detach(), self.noise.u)

    def vjp_z_tilde(self, grad: Tensor, z_tilde: Tensor) -> Tensor:
        """grad dz_tilde/dtheta, the same."""
        return self.dist.vjp_z_tilde(grad, self.b, z_tilde, self.noise.v)

    def at(self, dist: Any) -> Draw:
        """The same b and noise on other parameters, for example the current ones with their graph.

        What was played under no_grad is replayed under the logits that the policy gives for the
        same inputs with a graph. The parameters must be equal in value to those that drew b.

        Raises:
            ValueError: these parameters draw another b from this noise (unless the distribution
                was made with validate=False).
        """
        from relax.distributions.interop import as_distribution  # which imports this file

        dist = as_distribution(dist)
        draw = Draw(dist, self.noise, self.b, self.kind)
        if dist.validate:
            draw.check()
        return draw

    def check(self) -> None:
        """Raise ValueError where b is not what its noise draws from the parameters."""
        if self.kind in (WITHOUT_REPLACEMENT, STICKS):  # b is not H(z)
            return
        with torch.no_grad():
            z = self.dist.reparameterize(self.noise.u)
            b = self.dist.hard(z)
            same = (b - self.b).abs() <= (TOLERATED * (1 + z.abs()) if b is z else 0)
            wrong = ~same.flatten(len(self.value_shape)).all(-1)
        if float(wrong.double().mean()) > TOLERATED:
            raise ValueError(
                f"b is not what its noise draws from these parameters, in {int(wrong.sum())} of "
                f"{wrong.numel()} rows: either b was changed in place after it was drawn, or the "
                f"parameters are not those that drew it"
            )

    def __repr__(self) -> str:
        v = "" if self.coupled else ", with v"
        return f"Draw(b: {list(self.b.shape)}, {self.kind}{v}, of {self.dist!r})"

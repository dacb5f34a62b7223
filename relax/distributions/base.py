"""What a distribution is: a map from explicit noise to b, its log-probability, and what it may add.

    b = H(z),   z = T(theta, u) ~ p(z|theta),   z_tilde ~ p(z|b, theta)

Three methods make a distribution: `reparameterize`, `hard` and `log_prob`. Everything else is
either derived from them by autograd (scores and VJPs, which may be overridden for speed), or an
additional capability that some estimators ask for (CAPABILITIES).

Shapes: R replicas, K samples, B batch, D event, C classes. K is absent when one sample is drawn.
Source: Grathwohl et al., "Backpropagation through the Void" (ICLR 2018), section 3.3, appendix B.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from relax.distributions.capabilities import CAPABILITIES, TYPES, Capabilities
from relax.distributions.draw import Draw, Noise
from relax.distributions.numerics import RandomSource, open_interval, random

HALF = (torch.float16, torch.bfloat16)


def version(x: Tensor) -> int | None:
    """How often a tensor has been changed in place; None where torch does not count."""
    return None if torch.compiler.is_compiling() or x.is_inference() else x._version


class Distribution(Capabilities, ABC):
    """A distribution over b with parameter theta, [*batch, *event] as a rule.

    For a distribution of your own, define `reparameterize(u)`, `hard(z)` and `log_prob(b)` in a
    subclass, and run `rx.bias_test` on it. Compute what depends on theta from `self.theta` in these
    methods and not in `__init__`, because copies get another theta. `condition(b, v)` in addition
    gives RELAX, `support()` exact gradients.

    Where theta has another shape than b, define `sample_shape` too. With two numbers for each of D
    coordinates, theta is [*batch, D, 2] and

        @property
        def sample_shape(self):
            return self.theta.shape[:-1]

    Args:
        theta: floating-point parameters. Half precision is converted to float32 here, so that the
            noise, z, z_tilde and the gradient have the resolution they need.
        event_ndim: how many trailing axes of b are one joint event; f returns one number for each.
        replicas: how many leading batch axes are replicas, which are summed over, not averaged.
        validate: check values: NaN raises (in theta and in f(b)), infinite logits are masked, and
            replayed draws are compared with their noise. These checks synchronise with the GPU,
            which torch.compile, CUDA graphs and vmap do not allow.

    Raises:
        ValueError: theta is not floating point, has too few axes, or holds a NaN.
    """

    bits = False
    coordinate_ndim = 0  # trailing axes of b that are one coordinate: 1 for one-hot classes

    def __init__(
        self, theta: Tensor, *, event_ndim: int = 1, replicas: int = 0, validate: bool = True
    ) -> None:
        name = type(self).__name__
        if not theta.is_floating_point():
            raise ValueError(f"{name} needs floating-point parameters, got {theta.dtype}")
        self.dtype = theta.dtype  # of a discrete b as f gets it
        self.theta = theta.float() if theta.dtype in HALF else theta
        self.event_ndim, self.replicas, self.validate = event_ndim, replicas, validate
        self.made_from(theta)
        self.mask: Tensor | None = None  # where theta is infinite; see Discrete
        if event_ndim < 1 or len(self.sample_shape) < event_ndim + replicas:
            raise ValueError(
                f"{name}: parameters of shape {list(theta.shape)} have too few axes for "
                f"{replicas} replica axes and an event of {event_ndim} axes (at least 1)"
            )
        # The sum is quick to check; only where it is not finite are all parameters looked at.
        self.finite = (
            not validate or math.isfinite(theta.detach().sum()) or bool(theta.isfinite().all())
        )
        if not self.finite and bool(theta.isnan().any()):
            raise ValueError(f"{name}: the parameters contain NaN")

    @abstractmethod
    def reparameterize(self, u: Tensor) -> Tensor:
        """z as a differentiable function of theta and noise u."""

    @abstractmethod
    def hard(self, z: Tensor) -> Tensor:
        """b = H(z), of z's shape; z itself for a continuous distribution."""

    @abstractmethod
    def log_prob(self, b: Tensor) -> Tensor:
        """log p(b|theta), of every coordinate or of the joint event."""

    # ---- the parameters that it was made from ----

    def made_from(self, *parameters: Any) -> None:
        """Remember these tensors and their versions, for `check_unchanged`."""
        self._made_from = [(x, version(x)) for x in parameters if isinstance(x, Tensor)]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy has tensors of its own, whose versions count from 0."""
        self.__dict__.update(state)
        self.made_from(*(x for x, _ in self._made_from))

    def check_unchanged(self) -> None:
        """Raise ValueError where a parameter has been changed in place since this was made.

        What is computed from the parameters is kept (E[b], for one), so that an estimate after a
        step of an optimizer would mix the old parameters with the new ones.
        """
        now_and_before = [(version(x), before) for x, before in self._made_from]
        if any(None not in pair and pair[0] != pair[1] for pair in now_and_before):
            raise ValueError(
                f"the parameters of this {type(self).__name__} were changed in place, for example "
                f"by optimizer.step(), after it was made: make a new one for every step"
            )

    # ---- shapes and copies ----

    @property
    def sample_shape(self) -> torch.Size:
        """Shape of one draw of z and b; that of theta unless a subclass says otherwise."""
        return self.theta.shape

    @property
    def batch_shape(self) -> torch.Size:
        """Shape of f(b) for one draw: replica axes first, then the rows that are averaged."""
        shape = self.sample_shape
        return shape[: len(shape) - self.event_ndim]

    def expand(self, n: int) -> Self:
        """n independent copies on a new first batch axis, sharing theta, without replicas."""
        return self.with_theta(self.theta.expand(n, *self.theta.shape))

    def with_theta(self, theta: Tensor) -> Self:
        """A copy at other parameters, without replicas; all other attributes are kept."""
        self.check_unchanged()
        other = copy.copy(self)
        other.theta, other.replicas = theta, 0
        other.made_from(theta)
        return other

    def fill(self, x: Tensor, value: float = 0.0) -> Tensor:
        """x with `value` where theta is masked, and no gradient there."""
        return x if self.mask is None else x.masked_fill(self.mask, value)

    # ---- draws ----

    def draw(
        self, samples: int = 1, *, coupled: bool = False, generator: RandomSource = None
    ) -> Draw:
        """Independent draws of b with the noise behind them.

        Args:
            samples: K, on a new first axis of b; a single sample has no such axis.
            coupled: recover v from u instead of drawing it, so that z_tilde = z in value.
            generator: a torch.Generator, or rx.replicas.Streams for a stream per replica.
        """
        return Draw(self, self.noise(samples, generator, coupled))

    def sample(self, samples: int = 1, *, generator: RandomSource = None) -> Tensor:
        """b alone, [(K,) *shape of b]."""
        return self.draw(samples, coupled=True, generator=generator).b

    def noise(
        self, samples: int = 1, generator: RandomSource = None, coupled: bool = False
    ) -> Noise:
        """Noise for `samples` draws, uniform on the open interval; `coupled` leaves v out."""
        u = self._uniform(samples, generator)
        return Noise(u, None if coupled else self._uniform(samples, generator))

    def _uniform(self, samples: int, generator: RandomSource) -> Tensor:
        return open_interval(random("rand", self.sample_shape, samples, self.theta, generator))

    # ---- derivatives: defaults by autograd, one copy of theta per sample ----

    def score(self, b: Tensor) -> Tensor:
        """d log p(b|theta)/dtheta, [(K,) *shape of theta]."""
        return self._vjp("log_prob", lambda dist: dist.log_prob(b), b)

    def score_z(self, z: Tensor) -> Tensor:
        """d log p(z|theta)/dtheta at a constant z, [(K,) *shape of theta]."""
        return self._vjp("log_prob_z", lambda dist: dist.log_prob_z(z), z)

    def vjp_z(self, grad: Tensor, z: Tensor, u: Tensor) -> Tensor:
        """grad dz/dtheta for z = T(theta, u)."""
        return self._vjp("reparameterize", lambda dist: dist.reparameterize(u), z, grad)

    def vjp_z_tilde(self, grad: Tensor, b: Tensor, z_tilde: Tensor, v: Tensor | None) -> Tensor:
        """grad dz_tilde/dtheta; without v the noise is that which `recover` computes."""

        def conditioned(dist: Distribution) -> Tensor:
            return dist.recover(b, z_tilde) if v is None else dist.condition(b, v)

        return self._vjp("condition", conditioned, z_tilde, grad)

    def vjp_mean(self, grad: Tensor, p: Tensor | None = None) -> Tensor:
        """grad dE[b]/dtheta; closed forms also take another mean p at which to evaluate it."""
        return self._vjp("mean", lambda dist: dist.mean().expand_as(grad), grad, grad)

    def _vjp(
        self,
        name: str,
        output: Callable[[Distribution], Tensor],
        like: Tensor,
        grad: Tensor | None = None,
    ) -> Tensor:
        """grad d output/dtheta of every sample; `like` has the samples' leading axes."""
        lead = like.shape[: like.ndim - len(self.sample_shape)]
        with torch.enable_grad():
            theta = self.theta.detach().expand(*lead, *self.theta.shape).requires_grad_()
            y = output(self.with_theta(theta))
            if not y.requires_grad:
                raise ValueError(
                    f"{type(self).__name__}.{name} is not connected to self.theta by autograd"
                )
            attached = grad is not None and grad.requires_grad
            y = y.sum() if grad is None else y
            return torch.autograd.grad(y, theta, grad, create_graph=attached)[0]

    # ---- capabilities ----

    @property
    def continuous(self) -> bool:
        """Whether b = z: `hard` returns what it gets."""
        z = self.theta.detach().new_zeros(()).expand(self.sample_shape)
        return self.hard(z) is z

    def supports(self, need: str) -> bool:
        """Whether this distribution has a capability, or a closed form of a derivative."""
        if need in ("continuous", "bits"):
            return bool(getattr(self, need))
        method = getattr(type(self), need, None)
        return method is not None and method is not getattr(Distribution, need, None)

    def require(self, name: str, need: str, instead: str) -> None:
        """Raise TypeError where `name` needs a capability that this distribution lacks.

        instead: what to do without it, for the message.
        """
        if self.supports(need):
            return
        kind = type(self).__name__
        if need in TYPES or self.continuous:
            why = f"{kind} is {'continuous' if self.continuous else 'discrete'}"
            if need in TYPES[1:]:
                why = f"got a {kind}"
        else:
            why, instead = f"{kind} does not define {need}", f"define it, or {instead}"
        raise TypeError(f"{name} needs {CAPABILITIES[need]}; {why}: {instead}")

    def joint_log_prob(self, b: Tensor) -> Tensor:
        """log p(b|theta) of the whole event, [..., *batch]."""
        log_p, rows = self.log_prob(b), b.ndim - self.event_ndim
        return log_p if log_p.ndim == rows else log_p.flatten(rows).sum(-1)

    def __repr__(self) -> str:
        replicas = f", replicas={self.replicas}" if self.replicas else ""
        shape = f"{list(self.theta.shape)}, event_ndim={self.event_ndim}{replicas}"
        return f"{type(self).__name__}(theta: {shape})"

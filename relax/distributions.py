r"""Distributions as maps from explicit noise to coupled draws.

    b = H(z),   z ~ p(z|theta),   z_tilde ~ p(z|b, theta)

Both z and z_tilde are reparameterized, so they stay differentiable functions of theta; b is a
constant. Everything is kept in log space: the textbook form v' = v theta + (1 - theta) of the
conditional noise rounds to 1 in float32 and takes the logarithm of 0.

Shapes: R replicas, K samples, B batch, D event, C classes. K is absent when one sample is drawn.

Source: Grathwohl et al., "Backpropagation through the Void" (ICLR 2018), section 3.3, appendix B;
Maddison et al., "The Concrete Distribution" (ICLR 2017), for z.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot

from relax.replicas import Streams

RandomSource = torch.Generator | Streams | None


class Noise(NamedTuple):
    """What makes a draw a pure function of theta.

    u: noise of z, uniform on the open interval (Normal: standard normal), [(K,) *shape of b].
    v: noise of z_tilde, the same shape. None couples it to u: v is recovered from u through the
       inverse conditional, so that z_tilde equals z in value and differs in derivative only.
    """

    u: Tensor
    v: Tensor | None = None


class Draw:
    """One coupled draw of b, z and z_tilde, made by `Distribution.draw`.

    b:        H(z), a constant, [(K,) *shape of b].
    z:        differentiable in theta, the same shape.
    z_tilde:  differentiable in theta, H(z_tilde) = b; computed when asked for.
    """

    def __init__(self, dist: Distribution, noise: Noise, b: Tensor | None = None) -> None:
        self.dist, self.noise = dist, noise
        self.z = dist.reparameterize(noise.u)
        self.b = (dist.hard(self.z) if b is None else b).detach()

    @property
    def z_tilde(self) -> Tensor:
        dist, v = self.dist, self.noise.v
        if not isinstance(dist, Discrete):
            raise TypeError(f"{type(dist).__name__} has no z_tilde: b = z")
        noise = dist.recover(self.b, self.z.detach()) if v is None else dist.transform(self.b, v)
        return dist.condition(self.b, noise)

    @property
    def coupled(self) -> bool:
        return self.noise.v is None

    @property
    def sampled(self) -> bool:
        """Whether the first axis of b counts samples."""
        return self.b.ndim > len(self.dist.sample_shape)


class Distribution(ABC):
    """A distribution over b with parameter theta; the first `replicas` batch axes are replicas.

    Raises ValueError for a theta that is not floating point, has no axis, or holds a NaN
    (`validate=False` skips that last look, which costs a synchronisation on a GPU).
    """

    event_axes = 1  # the fewest trailing axes of theta that belong to one joint event

    def __init__(self, theta: Tensor, replicas: int = 0, validate: bool = True) -> None:
        name = type(self).__name__
        if not theta.is_floating_point():
            raise ValueError(f"{name} needs floating-point parameters, got {theta.dtype}")
        if theta.ndim < self.event_axes + replicas:
            raise ValueError(
                f"{name}: parameters of shape {list(theta.shape)} have too few axes for "
                f"{replicas} replica axes and an event"
            )
        if validate and bool(theta.isnan().any()):
            raise ValueError(f"{name}: the parameters contain NaN")
        self.theta, self.replicas = theta, replicas

    @property
    def sample_shape(self) -> torch.Size:
        """Shape of one draw of b."""
        return self.theta.shape

    def expand(self, n: int) -> Distribution:
        """n independent copies on a new first batch axis, sharing theta."""
        theta = self.theta.expand(n, *self.theta.shape)
        return self.with_theta(theta)

    def with_theta(self, theta: Tensor) -> Distribution:
        """The same family at other parameters, without replicas."""
        copy = object.__new__(type(self))
        Distribution.__init__(copy, theta, validate=False)
        return copy

    def noise(
        self, samples: int = 1, generator: RandomSource = None, coupled: bool = False
    ) -> Noise:
        """Noise for `samples` draws; `coupled` leaves v out."""
        u = self._uniform(samples, generator)
        return Noise(u, None if coupled else self._uniform(samples, generator))

    def draw(self, noise: Noise, b: Tensor | None = None) -> Draw:
        """The draw that `noise` stands for; a given b (a replayed action) takes H(z)'s place."""
        return Draw(self, noise, b)

    def sample(self, noise: Noise) -> Tensor:
        """b = H(z), detached."""
        return self.hard(self.reparameterize(noise.u).detach())

    def _uniform(self, samples: int, generator: RandomSource) -> Tensor:
        u = random("rand", self.sample_shape, samples, self.theta, generator)
        eps = torch.finfo(u.dtype).eps
        return u.clamp_(eps / 4, 1 - eps / 2)  # the open interval, as far as the type resolves it

    @abstractmethod
    def reparameterize(self, u: Tensor) -> Tensor:
        """z as a function of theta and noise."""

    @abstractmethod
    def hard(self, z: Tensor) -> Tensor:
        """b = H(z)."""

    @abstractmethod
    def log_prob(self, b: Tensor) -> Tensor:
        """log p(b|theta) of every coordinate; the caller sums over the event."""

    @abstractmethod
    def score(self, b: Tensor) -> Tensor:
        """d log p(b|theta) / d theta, [(K,) *shape of theta]."""

    @abstractmethod
    def pull_z(self, grad: Tensor, z: Tensor) -> Tensor:
        """grad dz/dtheta, the chain rule from z to theta in closed form."""


class Discrete(Distribution):
    """What the Bernoulli and the Categorical share: a relaxation z behind b = H(z)."""

    _p: Tensor | None = None

    @property
    def p(self) -> Tensor:
        """E[b] as a constant, computed once (by hand: a cached_property does not compile)."""
        if self._p is None:
            self._p = self.mean().detach()
        return self._p

    @abstractmethod
    def transform(self, b: Tensor, v: Tensor) -> Tensor:
        """The noise of z_tilde from v, in the form that `condition` takes."""

    @abstractmethod
    def recover(self, b: Tensor, z: Tensor) -> Tensor:
        """The detached noise of z_tilde at which z_tilde = z in value (coupled noise)."""

    @abstractmethod
    def condition(self, b: Tensor, noise: Tensor) -> Tensor:
        """z_tilde ~ p(z|b, theta), differentiable in theta."""

    @abstractmethod
    def pull_z_tilde(self, grad: Tensor, b: Tensor, z_tilde: Tensor) -> Tensor:
        """grad dz_tilde/dtheta in closed form; it depends on the noise through z_tilde only."""

    @abstractmethod
    def score_z(self, z: Tensor) -> Tensor:
        """d log p(z|theta) / d theta, [(K,) *shape of theta]."""

    @abstractmethod
    def mean(self) -> Tensor:
        """E[b]."""

    @abstractmethod
    def pull_mean(self, grad: Tensor) -> Tensor:
        """grad dE[b]/dtheta."""

    @abstractmethod
    def relaxed(self, z: Tensor, lambda_: Tensor | float) -> Tensor:
        """sigma_lambda(z): H made continuous at temperature lambda."""

    @abstractmethod
    def support(self, batch_ndim: int) -> Tensor:
        """All outcomes of the joint event behind `batch_ndim` batch axes, on a new first axis."""

    def _enumerate(self, batch_ndim: int, sites: torch.Size, values: Tensor) -> Tensor:
        """Every assignment of `values` [V, ...] to the sites that are not batch axes."""
        batch, event = sites[:batch_ndim], sites[batch_ndim:]
        count = len(values) ** math.prod(event)
        if count > 2**20:
            raise ValueError(f"enumeration of {count} outcomes: the event {list(event)} is too big")
        index = torch.tensor(list(product(range(len(values)), repeat=math.prod(event))))
        outcomes = values[index].reshape(count, *(1,) * batch_ndim, *event, *values.shape[1:])
        return outcomes.expand(count, *batch, *event, *values.shape[1:])


class Bernoulli(Discrete):
    """Independent bits with logits theta [..., D], b in {0, 1} of the same shape.

    z = theta + logit(u) is logistic, H(z) = [z > 0], sigma_lambda(z) = sigmoid(z / lambda).
    Source: Grathwohl et al. (2018), appendix B.1; log-space form of z_tilde: with s = 2b - 1 and
    k = s logit(v) + softplus(s theta), z_tilde = s softplus(k), the same law as the textbook's.
    """

    def __init__(self, logits: Tensor, replicas: int = 0, validate: bool = True) -> None:
        super().__init__(logits, replicas, validate)

    def reparameterize(self, u: Tensor) -> Tensor:
        return self.theta + logit(u)

    def hard(self, z: Tensor) -> Tensor:
        return (z > 0).to(z.dtype)

    def log_prob(self, b: Tensor) -> Tensor:
        return b * self.theta + logsigmoid(-self.theta)

    def score(self, b: Tensor) -> Tensor:
        return b - self.p

    def transform(self, b: Tensor, v: Tensor) -> Tensor:
        return (2 * b - 1) * logit(v)

    def recover(self, b: Tensor, z: Tensor) -> Tensor:
        s, size = 2 * b - 1, z.abs()
        log_expm1 = size + torch.log(-torch.expm1(-size))
        return log_expm1 - softplus(s * self.theta.detach())

    def condition(self, b: Tensor, noise: Tensor) -> Tensor:
        s = 2 * b - 1
        return s * softplus(noise + softplus(s * self.theta))

    def pull_z(self, grad: Tensor, z: Tensor) -> Tensor:
        return grad

    def pull_z_tilde(self, grad: Tensor, b: Tensor, z_tilde: Tensor) -> Tensor:
        # dz_tilde/dtheta = sigmoid(k) sigmoid(s theta), where sigmoid(k) = 1 - exp(-|z_tilde|) and
        # sigmoid(s theta) = p(b|theta) = 1 - |score|.
        slope = torch.expm1(-z_tilde.abs()) * (self.score(b).abs() - 1)
        return grad * slope

    def score_z(self, z: Tensor) -> Tensor:
        return torch.tanh((z - self.theta.detach()) / 2)

    def mean(self) -> Tensor:
        return sigmoid(self.theta)

    def pull_mean(self, grad: Tensor) -> Tensor:
        return grad * self.p * (1 - self.p)

    def relaxed(self, z: Tensor, lambda_: Tensor | float) -> Tensor:
        return sigmoid(z / lambda_)

    def support(self, batch_ndim: int) -> Tensor:
        return self._enumerate(batch_ndim, self.theta.shape, self.theta.new_tensor([0.0, 1.0]))


class Categorical(Discrete):
    """One-hot choices with logits theta [..., C] or [..., D, C], normalised inside.

    z = log p + Gumbel noise, H(z) = one_hot(argmax z), sigma_lambda(z) = softmax(z / lambda).
    Source: Grathwohl et al. (2018), appendix B.2; in log space, with E = log(-log v):
    z_tilde_b = -E_b, and z_tilde_i = -logaddexp(E_i - log p_i, E_b) for the classes not chosen.
    """

    def __init__(self, logits: Tensor, replicas: int = 0, validate: bool = True) -> None:
        super().__init__(logits, replicas, validate)

    @property
    def log_p(self) -> Tensor:
        """Normalised log-probabilities, differentiable in theta."""
        return torch.log_softmax(self.theta, dim=-1)

    def reparameterize(self, u: Tensor) -> Tensor:
        return self.log_p - torch.log(-torch.log(u))

    def hard(self, z: Tensor) -> Tensor:
        return one_hot(z.argmax(dim=-1), z.shape[-1]).to(z.dtype)

    def log_prob(self, b: Tensor) -> Tensor:
        return (b * self.log_p).sum(-1)

    def score(self, b: Tensor) -> Tensor:
        return b - self.p

    def transform(self, b: Tensor, v: Tensor) -> Tensor:
        return torch.log(-torch.log(v))

    def recover(self, b: Tensor, z: Tensor) -> Tensor:
        z_b = (b * z).sum(-1, keepdim=True)
        losers = self.log_p.detach() - z + torch.log(-torch.expm1(z - z_b))
        return torch.where(b > 0, -z, losers)

    def condition(self, b: Tensor, noise: Tensor) -> Tensor:
        noise_b = torch.where(b > 0, noise, 0).sum(-1, keepdim=True)
        return torch.where(b > 0, -noise, -torch.logaddexp(noise - self.log_p, noise_b))

    def pull_z(self, grad: Tensor, z: Tensor) -> Tensor:
        return self._pull_log_p(grad)

    def pull_z_tilde(self, grad: Tensor, b: Tensor, z_tilde: Tensor) -> Tensor:
        # dz_tilde_i/dlog p_i = 1 - exp(z_tilde_i - z_tilde_b), which is 0 for the class chosen.
        z_tilde_b = (b * z_tilde).sum(-1, keepdim=True)
        return self._pull_log_p(grad * -torch.expm1(z_tilde - z_tilde_b))

    def score_z(self, z: Tensor) -> Tensor:
        return self._pull_log_p(1 - torch.exp(self.log_p.detach() - z))

    def mean(self) -> Tensor:
        return torch.softmax(self.theta, dim=-1)

    def pull_mean(self, grad: Tensor) -> Tensor:
        return self._pull_log_p(grad * self.p)

    def relaxed(self, z: Tensor, lambda_: Tensor | float) -> Tensor:
        return torch.softmax(z / lambda_, dim=-1)

    def support(self, batch_ndim: int) -> Tensor:
        classes = torch.eye(self.theta.shape[-1], dtype=self.theta.dtype, device=self.theta.device)
        return self._enumerate(batch_ndim, self.theta.shape[:-1], classes)

    def _pull_log_p(self, grad: Tensor) -> Tensor:
        """grad dlog p/dtheta, through the normalisation."""
        return grad - self.p * grad.sum(-1, keepdim=True)


class Normal(Distribution):
    """Independent Gaussians; theta stacks mean and log_std [..., D] on a last axis, [..., D, 2].

    H is the identity: b = z = mean + std u, with u standard normal.
    """

    event_axes = 2

    def __init__(
        self, mean: Tensor, log_std: Tensor, replicas: int = 0, validate: bool = True
    ) -> None:
        mean, log_std = torch.broadcast_tensors(mean, log_std)
        super().__init__(torch.stack([mean, log_std], dim=-1), replicas, validate)

    @property
    def sample_shape(self) -> torch.Size:
        return self.theta.shape[:-1]

    def noise(
        self, samples: int = 1, generator: RandomSource = None, coupled: bool = False
    ) -> Noise:
        return Noise(random("randn", self.sample_shape, samples, self.theta, generator))

    def reparameterize(self, u: Tensor) -> Tensor:
        mean, log_std = self.theta.unbind(-1)
        return mean + log_std.exp() * u

    def hard(self, z: Tensor) -> Tensor:
        return z

    def log_prob(self, b: Tensor) -> Tensor:
        mean, log_std = self.theta.unbind(-1)
        u = (b - mean) * torch.exp(-log_std)
        return -0.5 * u * u - log_std - 0.5 * math.log(2 * math.pi)

    def score(self, b: Tensor) -> Tensor:
        mean, log_std = self.theta.detach().unbind(-1)
        u = (b - mean) * torch.exp(-log_std)
        return torch.stack([u * torch.exp(-log_std), u * u - 1], dim=-1)

    def pull_z(self, grad: Tensor, z: Tensor) -> Tensor:
        mean = self.theta.detach()[..., 0]
        return torch.stack([grad, grad * (z - mean)], dim=-1)


# torch's own sigmoid and logit round the last few numbers of a tensor in another way than the rest,
# and a replica would not equal the run alone bit for bit.


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return 0.5 * torch.tanh(0.5 * x) + 0.5


def logit(u: Tensor) -> Tensor:
    """log u - log(1 - u); 1 - u is exact where u is near 1."""
    return torch.log(u / (1 - u))


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x); torch's own switches to x above 20, which is off by 2e-9 in float64."""
    return -logsigmoid(-x)


def random(
    kind: str, shape: torch.Size, samples: int, like: Tensor, generator: RandomSource
) -> Tensor:
    """Raw `rand` or `randn` numbers, [(K,) *shape], from one generator or a stream per replica."""
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    if isinstance(generator, Streams):
        rows = shape[1:] if samples == 1 else (samples, *shape[1:])
        drawn = getattr(generator, kind)(*rows).to(like.dtype)
        if len(drawn) != shape[0]:
            raise ValueError(f"{len(drawn)} streams for a first axis of {shape[0]} replicas")
        return drawn if samples == 1 else drawn.movedim(1, 0)
    full = shape if samples == 1 else (samples, *shape)
    make = torch.rand if kind == "rand" else torch.randn
    return make(full, generator=generator, dtype=like.dtype, device=like.device)

"""Surrogates c_phi: small networks of z, the relaxed objective of REBAR, and their scales.

Every surrogate is a callable c(z), z [..., *batch, *event] -> [..., *batch], and must accept
leading axes, because z and z~ go through it together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from relax.control_variate import in_closed_form
from relax.distributions import Distribution
from relax.replicas import ACTIVATIONS, MLP, Linear

REFUSED = (
    "{} evaluates f at relaxed inputs sigma(z / lambda) and differentiates it; {}. Use relax with "
    "a surrogate of z for an f that cannot be relaxed"
)


class MLPSurrogate(nn.Module):
    """A network c(z), z [..., (R,) B, *event], in any floating-point type; B may be absent where
    there are neither replicas nor a context.

    Args:
        event: the shape of one event: 8 for eight bits, (3, 10) for three choices of ten classes.
        hidden, layers: units of each hidden layer, and how many there are; the output is linear.
        activation: "tanh", "relu", "leaky_relu" or "elu".
        lambda_: feeds 2 sigmoid(z / lambda) - 1 instead of z, with lambda learned from this start.
            z is an unbounded logit, so its scale matters more than the size of the network.
        zero_scale: multiply the output by a learned scalar that starts at 0, so that RELAX starts
            as REINFORCE and not with a random c.
        context: features of an input x, [..., (R,) B, context], on which c may depend as well:
            `c=net.given(x)`; through a wrapper for several GPUs `c=lambda z: wrapper(z, x)`.
        replicas: R networks side by side; `generator` one, or one per replica.

    Raises:
        ValueError: an unknown activation; when called, z or x of another shape.
    """

    def __init__(
        self,
        event: int | Sequence[int],
        hidden: int = 32,
        layers: int = 1,
        activation: str = "tanh",
        lambda_: float | None = None,
        zero_scale: bool = True,
        context: int = 0,
        replicas: int = 0,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
    ) -> None:
        super().__init__()
        self.event = (event,) if isinstance(event, int) else tuple(event)
        sizes = [math.prod(self.event), *[hidden] * layers, 1]
        self.net = MLP(sizes, activation, replicas, generator)
        self.context = Linear(context, sizes[1], replicas, generator=generator) if context else None
        lead = (replicas,) if replicas else ()
        start = None if lambda_ is None else torch.full(lead, math.log(lambda_))
        self.log_lambda = None if start is None else nn.Parameter(start)
        self.scale = nn.Parameter(torch.zeros(lead)) if zero_scale else None

    @property
    def batch_ndim(self) -> int:
        """How many batch axes z must have."""
        return 2 if cast(Linear, self.net.layers[0]).weight.ndim == 3 else 0

    def forward(self, z: Tensor, x: Tensor | None = None, with_grad: bool = False) -> Any:
        """c(z), or c(z, x) with a context x; `with_grad` as `value_and_grad`."""
        if with_grad:
            return self.value_and_grad(z, x)
        flat = self._flat(z)
        y = self.net(self._inputs(flat, self._sharpness(flat)), self._offset(x, flat))
        return self._value(y, z)

    def given(self, x: Tensor) -> Bound:
        """c(., x): a surrogate of z alone, at a context that does not depend on z."""
        return Bound(self, x)

    def value_and_grad(self, z: Tensor, x: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """c(z) and dc/dz in closed form, both attached to phi."""
        flat = self._flat(z)
        sharpness = self._sharpness(flat)
        inputs = self._inputs(flat, sharpness)
        y, vjp = self.net.with_vjp(inputs, self._offset(x, flat))
        one = y.new_ones(1, 1)  # dc/dy, the same for every row
        grad = vjp(one if self.scale is None else self.scale[..., None, None])
        if sharpness is not None:
            grad = ACTIVATIONS["tanh"].vjp(grad, inputs) * sharpness
        grad = grad.to(z.dtype).expand_as(flat)
        return self._value(y, z), _shaped(grad, z.shape)

    def _flat(self, z: Tensor) -> Tensor:
        """z with a batch, and the event on one last axis."""
        axes = len(self.event)
        if z.shape[z.ndim - axes :] != self.event:
            raise ValueError(
                f"mlp was made for events of shape {list(self.event)} and got z of shape "
                f"{list(z.shape)}: the event must be z's last axes"
            )
        z = z if axes == 1 else z.flatten(-axes)
        return z if z.ndim > 1 else z.unsqueeze(0)  # without a batch

    def _sharpness(self, z: Tensor) -> Tensor | float | None:
        """1 / (2 lambda): tanh(z / (2 lambda)) = 2 sigmoid(z / lambda) - 1."""
        if self.log_lambda is None:
            return None
        return lift(0.5 * torch.exp(-self.log_lambda), z, z.ndim - 3)

    def _inputs(self, z: Tensor, sharpness: Tensor | float | None) -> Tensor:
        """What the network sees of z."""
        z = z.to(self.net.dtype)
        return z if sharpness is None else torch.tanh(z * sharpness)

    def _offset(self, x: Tensor | None, z: Tensor) -> Tensor | None:
        """What the context adds to the first layer."""
        if x is not None and self.context is None:
            raise ValueError("this mlp takes no context: make it by mlp(..., context=features)")
        if x is None and self.context is not None:
            raise ValueError("this mlp was made with a context x: use c=net.given(x)")
        if x is None or self.context is None:
            return None
        features, rows = self.context.weight.shape[-2], z.shape[max(0, z.ndim - x.ndim) : -1]
        fits = len(rows) == x.ndim - 1 and all(
            n in (1, rows_of_z) for n, rows_of_z in zip(x.shape[:-1], rows, strict=True)
        )
        if x.shape[-1] != features or not fits:
            raise ValueError(
                f"the context has shape {list(x.shape)} where z has {list(z.shape)}: it needs "
                f"{features} features for each of z's rows, [..., B, {features}]"
            )
        return cast(Tensor, self.context(x.to(self.net.dtype)))

    def _value(self, y: Tensor, z: Tensor) -> Tensor:
        """c(z) in z's batch shape and type, from the network's output y [..., (R,) B, 1]."""
        if self.scale is not None:
            y = y * lift(self.scale, y, y.ndim - 3)
        return _shaped(y.squeeze(-1).to(z.dtype), z.shape[: z.ndim - len(self.event)])


mlp = MLPSurrogate


class Bound:
    """An `mlp` as the estimators take it, c(z), at a fixed context x and perhaps other parameters.

    `parameters()` lists the parameters in use, so that `rx.backward(est, phi=c.given(x))` works.
    """

    def __init__(
        self, net: MLPSurrogate, x: Tensor | None = None, params: dict[str, Tensor] | None = None
    ) -> None:
        self.net, self.x, self.params = net, x, params

    @property
    def batch_ndim(self) -> int:
        """How many batch axes z must have."""
        return max(self.net.batch_ndim, 0 if self.x is None else self.x.ndim - 1)

    @property
    def has_closed_form(self) -> bool:
        return in_closed_form(self.net)

    def __call__(self, z: Tensor, with_grad: bool = False) -> Any:
        if self.params is None:
            return self.net(z, self.x, with_grad)
        return torch.func.functional_call(self.net, self.params, (z, self.x, with_grad))

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return cast(tuple[Tensor, Tensor], self(z, with_grad=True))

    def parameters(self) -> Iterator[Tensor]:
        return self.net.parameters() if self.params is None else iter(self.params.values())


def functional(net: MLPSurrogate, params: dict[str, Tensor], x: Tensor | None = None) -> Bound:
    """c(z) of an `mlp` at given parameters, such as `dict(net.named_parameters())`, for vmap."""
    return Bound(net, x, params)


class Scales(nn.Module):
    """Learned scalars of REBAR, eta and lambda > 0; one of each per replica, [R], or scalars.

    gamma: where to start a third one, for `unbiased_reinmax`; None leaves it out.
    """

    def __init__(
        self,
        eta: float = 1.0,
        lambda_: float = 0.5,
        replicas: int = 0,
        gamma: float | None = None,
    ) -> None:
        super().__init__()
        if not lambda_ > 0:
            raise ValueError(f"the temperature lambda must be above 0, got {lambda_}")
        lead = (replicas,) if replicas else ()
        self.eta = nn.Parameter(torch.full(lead, float(eta)))
        self.log_lambda = nn.Parameter(torch.full(lead, math.log(lambda_)))
        self.gamma = None if gamma is None else nn.Parameter(torch.full(lead, float(gamma)))

    @property
    def lambda_(self) -> Tensor:
        return self.log_lambda.exp()


def relaxed(
    f: Callable[[Tensor], Tensor],
    dist: Distribution,
    eta: Tensor | float = 1.0,
    lambda_: Tensor | float = 0.5,
    relaxation: str = "sigmoid",
    name: str = "relaxed",
) -> Callable[[Tensor], Tensor]:
    """c(z) = eta f(sigma_lambda(z)), REBAR's surrogate (Grathwohl et al., 2018, section 3.3).

    Args:
        f: [..., *batch, *event] -> [..., *batch], differentiable between the outcomes.
        dist: the distribution, which has `relaxed`.
        eta, lambda_: numbers, or tensors of the shape of the first batch axes (the replicas).
        relaxation: "sigmoid" or "tucker", as in `relax.rebar`.
        name: of the estimator, for messages.
    """
    if relaxation not in ("sigmoid", "tucker"):
        raise ValueError(f"relaxation must be 'sigmoid' or 'tucker', got {relaxation!r}")
    if relaxation == "tucker":
        dist.require(f"{name} with relaxation='tucker'", "bits", "use relaxation='sigmoid'")
    lambda_, sites = positive(lambda_, dist), len(dist.sample_shape)

    def c(z: Tensor) -> Tensor:
        leading = z.ndim - sites
        temperature = lift(lambda_, z, leading)
        if relaxation == "tucker":
            shift = dist.fill(dist.theta.detach()) * temperature * temperature / (temperature + 1)
            z = z + shift  # sigma((z + shift) / lambda) = sigma(z / lambda + theta l / (l + 1))
        soft = dist.relaxed(z, temperature)
        try:
            f_z = f(soft.to(dist.dtype, copy=True))
        except RuntimeError as error:
            raise TypeError(REFUSED.format(name, f"it failed there: {error}")) from error
        if not (isinstance(f_z, Tensor) and f_z.requires_grad):
            raise TypeError(REFUSED.format(name, "it carried no gradient there"))
        return lift(eta, f_z, leading) * f_z

    return c


def positive(lambda_: Tensor | float, dist: Distribution) -> Tensor | float:
    """lambda_, which must be above 0; a tensor is checked where dist validates."""
    if isinstance(lambda_, Tensor):
        wrong = dist.validate and bool((lambda_ <= 0).any())
    else:
        wrong = not lambda_ > 0
    if wrong:
        raise ValueError(f"the temperature lambda_ must be above 0, got {lambda_}")
    return lambda_


def lift(x: Tensor | float, like: Tensor, leading: int) -> Tensor | float:
    """x [*replicas] shaped to multiply `like` [*leading, *replicas, ...]; numbers are unchanged.

    x is expanded over a replica's axes first, and over the leading ones by the product, so that its
    gradient is summed in the same order whatever the number of replicas.
    """
    if not isinstance(x, Tensor) or x.ndim == 0:
        return x
    shape = like.shape[leading:]
    x = x.reshape(x.shape + (1,) * (len(shape) - x.ndim))
    return x if x.shape == shape else x.expand(shape)


def _shaped(x: Tensor, shape: torch.Size) -> Tensor:
    return x if x.shape == shape else x.reshape(shape)

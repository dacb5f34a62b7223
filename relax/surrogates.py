"""Surrogates c_phi: small networks of z, the relaxed objective of REBAR, and their scales.

Every surrogate is a callable c(z), z [..., *batch, *event] -> [..., *batch], and must accept
leading axes, because z and z~ go through it together. It may also offer
`value_and_grad(z) -> (c, dc/dz)`, both attached to phi, which saves the second derivative in z.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from relax.distributions import Bernoulli, Discrete
from relax.replicas import Linear, matmul

ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    # name: (y = h(x), grad h'(x) from grad and y)
    "tanh": (torch.tanh, lambda grad, y: torch.ops.aten.tanh_backward(grad.expand_as(y), y)),
    "relu": (torch.relu, lambda grad, y: grad * (y > 0)),
    "elu": (torch.nn.functional.elu, lambda grad, y: grad * torch.where(y > 0, 1.0, y + 1)),
}


class MLP(nn.Module):
    """A network of z, [..., (R,) B, D] -> [..., (R,) B]; made by `mlp`."""

    def __init__(
        self,
        features: int,
        hidden: int,
        layers: int,
        activation: str,
        lambda_: float | None,
        zero_scale: bool,
        replicas: int,
        generator: torch.Generator | Sequence[torch.Generator] | None,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"activation must be one of {known}, got {activation!r}")
        sizes = [features, *[hidden] * layers, 1]
        self.linears = nn.ModuleList(
            Linear(i, o, replicas, generator=generator)
            for i, o in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.activation, self.replicas = activation, replicas
        lead = (replicas,) if replicas else ()
        self.log_lambda = (
            None if lambda_ is None else nn.Parameter(torch.full(lead, math.log(lambda_)))
        )
        self.scale = nn.Parameter(torch.zeros(lead)) if zero_scale else None

    def forward(self, z: Tensor) -> Tensor:
        return self._evaluate(z, self._sharpness(z))[0]

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """c(z) and dc/dz by the chain rule written out, last layer first."""
        sharpness = self._sharpness(z)
        c, x, hidden = self._evaluate(z, sharpness)
        *inner, last = self._linears
        slope = ACTIVATIONS[self.activation][1]
        grad = last.weight.transpose(-1, -2)  # [(R,) 1, hidden], the same for every row
        if self.scale is not None:
            grad = grad * lift(self.scale, grad, 0)
        for linear, y in zip(reversed(inner), reversed(hidden), strict=True):
            grad = matmul(slope(grad, y), linear.weight.transpose(-1, -2))
        if sharpness is not None:
            grad = ACTIVATIONS["tanh"][1](grad, x) * sharpness
        return c, grad.expand_as(z)

    @property
    def _linears(self) -> list[Linear]:
        return cast(list[Linear], list(self.linears))

    def _sharpness(self, z: Tensor) -> Tensor | float | None:
        """1 / (2 lambda): tanh(z / (2 lambda)) = 2 sigmoid(z / lambda) - 1."""
        if self.log_lambda is None:
            return None
        return lift(0.5 * torch.exp(-self.log_lambda), z, z.ndim - 3)

    def _evaluate(
        self, z: Tensor, sharpness: Tensor | float | None
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """c(z), the network's input and the values of its hidden layers."""
        x = z if sharpness is None else torch.tanh(z * sharpness)
        act = ACTIVATIONS[self.activation][0]
        hidden = [x]
        *inner, last = self._linears
        for linear in inner:
            hidden.append(act(linear(hidden[-1])))
        c = last(hidden[-1])
        if self.scale is not None:
            c = c * lift(self.scale, c, c.ndim - 3)
        return c.squeeze(-1), x, hidden[1:]


def mlp(
    features: int,
    hidden: int = 32,
    layers: int = 1,
    activation: str = "tanh",
    lambda_: float | None = None,
    zero_scale: bool = False,
    replicas: int = 0,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
) -> MLP:
    """A network c(z) of z [..., (R,) B, D] with D = features, for an event of one axis.

    layers: hidden layers of `hidden` units ("tanh", "relu" or "elu"); the output is linear.
    lambda_: feeds 2 sigmoid(z / lambda) - 1 instead of z, with lambda learned from this start. z is
        an unbounded logit, so its scale matters more than the size of the network.
    zero_scale: the output times a learned scalar that starts at 0, so that RELAX starts as
        REINFORCE.
    replicas: R networks side by side; `generator` one, or one per replica.
    """
    return MLP(features, hidden, layers, activation, lambda_, zero_scale, replicas, generator)


class Scales(nn.Module):
    """REBAR's learned eta and lambda > 0, one of each per replica, [R], or scalars."""

    def __init__(self, eta: float = 1.0, lambda_: float = 0.5, replicas: int = 0) -> None:
        super().__init__()
        if not lambda_ > 0:
            raise ValueError(f"the temperature lambda must be above 0, got {lambda_}")
        lead = (replicas,) if replicas else ()
        self.eta = nn.Parameter(torch.full(lead, float(eta)))
        self.log_lambda = nn.Parameter(torch.full(lead, math.log(lambda_)))

    @property
    def lambda_(self) -> Tensor:
        return self.log_lambda.exp()


def relaxed(
    f: Callable[[Tensor], Tensor],
    dist: Discrete,
    eta: Tensor | float = 1.0,
    lambda_: Tensor | float = 0.5,
    relaxation: str = "sigmoid",
    name: str = "relaxed",
) -> Callable[[Tensor], Tensor]:
    """c(z) = eta f(sigma_lambda(z)), REBAR's surrogate (Grathwohl et al., 2018, section 3.3).

    eta, lambda_: numbers, or tensors of the shape of the first batch axes (the replicas).
    relaxation: "sigmoid" or "tucker", as in `relax.rebar`.
    """
    if relaxation not in ("sigmoid", "tucker"):
        raise ValueError(f"relaxation must be 'sigmoid' or 'tucker', got {relaxation!r}")
    if relaxation == "tucker" and not isinstance(dist, Bernoulli):
        raise TypeError(f"the relaxation of Tucker et al. is for a Bernoulli, not {type(dist)}")
    sites = len(dist.sample_shape)

    def c(z: Tensor) -> Tensor:
        leading = z.ndim - sites
        temperature = lift(lambda_, z, leading)
        if relaxation == "tucker":
            shift = dist.theta.detach() * temperature * temperature / (temperature + 1)
            z = z + shift  # sigma((z + shift) / lambda) = sigma(z / lambda + theta l / (l + 1))
        try:
            f_z = f(dist.relaxed(z, temperature))
        except RuntimeError as error:
            raise TypeError(_refused(name, f"it failed there: {error}")) from error
        if not (isinstance(f_z, Tensor) and f_z.requires_grad):
            raise TypeError(_refused(name, "it carried no gradient there"))
        return lift(eta, f_z, leading) * f_z

    return c


def lift(x: Tensor | float, like: Tensor, leading: int) -> Tensor | float:
    """x [*replicas] spread to multiply `like` [*leading axes, *replicas, ...]; a number stays one.

    It is spread over a replica's own axes first and over the leading ones by the product, so that
    its gradient is summed in the same order whatever the number of replicas.
    """
    if not isinstance(x, Tensor) or x.ndim == 0:
        return x
    own = like.shape[leading:]
    x = x.reshape(x.shape + (1,) * (len(own) - x.ndim))
    return x if x.shape == own else x.expand(own)


def _refused(name: str, why: str) -> str:
    return (
        f"{name} evaluates f at relaxed inputs sigma(z / lambda) and differentiates it; {why}. "
        f"Use relax with a surrogate of z for an f that cannot be relaxed"
    )

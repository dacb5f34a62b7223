"""What every estimator takes and returns: draws, evaluations of f, and the checks between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from relax.distributions import (
    Bernoulli,
    Discrete,
    Distribution,
    Draw,
    Noise,
    Normal,
    RandomSource,
)

Function = Callable[[Tensor], Any]


@dataclass(frozen=True)
class Estimate:
    """A gradient estimate and what is needed to train with it.

    theta: the distribution's parameter, [*batch, *event].
    grad: the estimate of dE[f]/dtheta of every row, shape of theta, still attached to phi.
    value: f(b), [(K,) *batch], still attached to f's own weights.
    draw: the draw it was made from.
    objective: what phi minimises, [*batch] per row, where the method has an objective of its own
        (NVIL, MuProp); None stands for the variance of grad.
    """

    theta: Tensor
    grad: Tensor
    value: Tensor
    draw: Draw = field(repr=False)
    objective: Tensor | None = None

    @property
    def replicas(self) -> int:
        """How many leading batch axes are replicas."""
        return self.draw.dist.replicas

    @property
    def batch_shape(self) -> torch.Size:
        """Shape of f(b) without samples: replica axes first, then the rows that are averaged."""
        return self.value.shape[1:] if self.draw.sampled else self.value.shape

    @property
    def rows(self) -> int:
        """How many rows are averaged, the same in every replica."""
        return self.batch_shape[self.replicas :].numel()

    def surrogate(self) -> Tensor:
        """A scalar whose gradient is what `relax.backward` gives to theta and f's weights.

        For those who want to call `.backward()` themselves; its value means nothing.
        """
        return surrogate([self])


def surrogate(layers: Sequence[Estimate]) -> Tensor:
    """`Estimate.surrogate` of several layers, with the value that they share counted once."""
    pairs = weighted(layers)
    if not pairs:
        raise ValueError("nothing to differentiate: neither theta nor f(b) requires a gradient")
    return total([(tensor * weight).sum() for tensor, weight in pairs])


def weighted(layers: Sequence[Estimate]) -> list[tuple[Tensor, Tensor]]:
    """What to differentiate and the gradient to send into it: every theta, and one value.

    What has no graph is left out: a black-box value, a constant theta. Mean over the batch, sum
    over replicas. Raises ValueError where layers carry different values.
    """
    first = layers[0]
    if any(e.value is not first.value for e in layers):
        raise ValueError(
            "the layers carry different values: evaluate f once and give every layer "
            "f=lambda b: value, or the gradient of f's own weights is counted once per layer"
        )
    pairs = [(e.theta, _per_row(e)) for e in layers if e.theta.requires_grad]
    if first.value.requires_grad:
        samples = first.value.numel() // first.batch_shape.numel()
        share = torch.full_like(first.value, 1 / (first.rows * samples), requires_grad=False)
        pairs.append((first.value, share))
    return pairs


def _per_row(est: Estimate) -> Tensor:
    """The estimate as a constant, divided by the rows that are averaged."""
    grad = est.grad.detach()
    return grad / est.rows if est.rows > 1 else grad.clone()


def total(scalars: list[Tensor]) -> Tensor:
    """The sum of scalars, one at least."""
    return scalars[0] if len(scalars) == 1 else torch.stack(scalars).sum()


def make_draw(
    name: str,
    dist: Distribution,
    samples: int,
    noise: Noise | None,
    generator: RandomSource,
    b: Tensor | None = None,
    coupled: bool = False,
) -> Draw:
    """The draw an estimator works on; `coupled` drops the second noise of a given `noise` too."""
    if noise is None:
        noise = dist.noise(samples, generator, coupled)
    elif noise.u.shape[-len(dist.sample_shape) :] != dist.sample_shape:
        raise ValueError(
            f"{name}: noise of shape {list(noise.u.shape)} for draws of shape "
            f"{list(dist.sample_shape)}"
        )
    return dist.draw(Noise(noise.u) if coupled else noise, b)


def make_estimate(
    dist: Distribution, draw: Draw, grad: Tensor, value: Tensor, objective: Tensor | None = None
) -> Estimate:
    """Average the samples' gradients and keep the rest."""
    return Estimate(dist.theta, average(grad, draw), value, draw, objective)


def average(x: Tensor, draw: Draw) -> Tensor:
    """The mean over samples, where there is a sample axis."""
    return x.mean(0) if draw.sampled else x


def evaluate(name: str, f: Function, b: Tensor, draw: Draw) -> Tensor:
    """f(b) as a tensor [(K,) *batch]; its shape must be a strict prefix of b's."""
    value = f(b)
    if not isinstance(value, Tensor):
        value = torch.as_tensor(value, dtype=b.dtype, device=b.device)
    fits = draw.sampled <= value.ndim < b.ndim and value.shape == b.shape[: value.ndim]
    if not fits:
        raise ValueError(
            f"{name}: f(b) has shape {list(value.shape)} where b has {list(b.shape)}: f must "
            f"return one number per row, a shape that begins b's and leaves out the event"
        )
    if value.ndim - draw.sampled < draw.dist.replicas:
        raise ValueError(
            f"{name}: f(b) has shape {list(value.shape)}, which lacks the "
            f"{draw.dist.replicas} replica axes"
        )
    return value


def same_shape(name: str, what: str, x: Tensor, shape: torch.Size) -> None:
    """Refuse what would broadcast silently, such as c(z) of [B, 1] against f(b) of [B]."""
    if x.shape != shape:
        raise ValueError(
            f"{name}: {what} has shape {list(x.shape)} where f(b) asks for {list(shape)} "
            f"(a last axis of 1 goes with .squeeze(-1))"
        )


def weigh(weight: Tensor, score: Tensor) -> Tensor:
    """weight [(K,) *batch] times score [(K,) *batch, *event]: one weight for the joint event."""
    return weight.reshape(weight.shape + (1,) * (score.ndim - weight.ndim)) * score


def discrete(name: str, dist: Distribution) -> Discrete:
    """dist, which must be discrete for this estimator to have a meaning."""
    if not isinstance(dist, Discrete):
        raise TypeError(
            f"{name} needs a discrete distribution (Bernoulli, Categorical), not "
            f"{type(dist).__name__}: use lax or pathwise there"
        )
    return dist


def normal(name: str, dist: Distribution) -> Normal:
    """dist, which must be continuous for this estimator to have a meaning."""
    if not isinstance(dist, Normal):
        raise TypeError(
            f"{name} needs a continuous distribution (Normal), not {type(dist).__name__}: "
            f"use relax, or dlax for the form without conditioning"
        )
    return dist


def bernoulli(name: str, dist: Distribution) -> Bernoulli:
    """dist, which must be made of bits for this estimator to have a meaning."""
    if not isinstance(dist, Bernoulli):
        raise TypeError(f"{name} needs a Bernoulli, not {type(dist).__name__}: use rloo there")
    return dist


def several(name: str, draw: Draw) -> int:
    """K, which must be at least 2 for an estimator that compares samples with each other."""
    if not draw.sampled or len(draw.b) < 2:
        raise ValueError(f"{name} compares samples with each other: it needs samples=2 or more")
    return len(draw.b)


def evaluate_each(name: str, f: Function, outcomes: Tensor, draw: Draw) -> Tensor:
    """f of several versions of b, [S, (K,) *batch, *event] -> [S, (K,) *batch], in one call."""
    merged = outcomes.flatten(0, 1) if draw.sampled else outcomes
    value = f(merged)
    if not isinstance(value, Tensor):
        value = torch.as_tensor(value, dtype=merged.dtype, device=merged.device)
    if not value.shape or len(value) != len(merged):
        raise ValueError(
            f"{name}: f of {list(merged.shape)} has shape {list(value.shape)}: f must accept a "
            f"first axis of samples"
        )
    return value.unflatten(0, outcomes.shape[:2]) if draw.sampled else value

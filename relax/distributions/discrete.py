"""What discrete distributions share."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Self

import torch
from torch import Tensor

from relax.distributions.base import Distribution

LARGEST_SUPPORT = 2**20


class Discrete(Distribution):
    """A base for discrete distributions: masked parameters, a cached E[b], enumeration of outcomes.

    A logit of -inf (a masked action; for a Bernoulli +inf as well) is an outcome that never
    happens. It is 0 in z and z_tilde, keeps its probability in `relaxed`, and gets a gradient of 0.

    Args:
        masked: whether logits may be infinite. By default they are looked at, or taken as finite
            where validate=False: pass masked=True there.
    """

    _p: Tensor | None = None
    continuous = False

    def __init__(
        self,
        theta: Tensor,
        *,
        event_ndim: int = 1,
        replicas: int = 0,
        masked: bool | None = None,
        validate: bool = True,
    ) -> None:
        super().__init__(theta, event_ndim=event_ndim, replicas=replicas, validate=validate)
        if masked or (masked is None and not self.finite):
            self.mask = self.theta.isinf()

    @property
    def p(self) -> Tensor:
        """E[b] as a constant, computed once (by hand: a cached_property does not compile)."""
        if self._p is None:
            self._p = self.mean().detach()
        return self._p

    def with_theta(self, theta: Tensor) -> Self:
        other = super().with_theta(theta)
        other._p = None
        other.mask = None if self.mask is None else theta.isinf()
        return other

    def enumerate(self, values: Tensor) -> Tensor:
        """Every assignment of `values` [V, ...] to the coordinates of the event, for `support`."""
        sites = self.sample_shape[: len(self.sample_shape) - self.coordinate_ndim]
        batch = self.batch_shape
        event = sites[len(batch) :]
        count = len(values) ** math.prod(event)
        if count > LARGEST_SUPPORT:
            raise ValueError(f"enumeration of {count} outcomes: the event {list(event)} is too big")
        each = [torch.arange(len(values))] * math.prod(event)
        index = torch.cartesian_prod(*each).reshape(count, len(each))
        outcomes = values[index].reshape(count, *(1,) * len(batch), *event, *values.shape[1:])
        return outcomes.expand(count, *batch, *event, *values.shape[1:])


class Logits(Discrete):
    """A discrete distribution that is given by its logits or by its probabilities."""

    def __init__(
        self,
        logits: Tensor | None = None,
        *,
        probs: Tensor | None = None,
        event_ndim: int = 1,
        replicas: int = 0,
        masked: bool | None = None,
        validate: bool = True,
    ) -> None:
        given = logits if probs is None else probs
        if probs is not None and logits is None:
            logits = self.logits_of(probs, validate)
        elif logits is None or probs is not None:
            raise ValueError(f"{type(self).__name__} takes either logits or probs")
        super().__init__(
            logits, event_ndim=event_ndim, replicas=replicas, masked=masked, validate=validate
        )
        self.made_from(given)
        if validate and self.mask is not None:
            self.check_mask(self.mask)

    def check_mask(self, mask: Tensor) -> None:
        """Raise ValueError where infinite logits leave no outcome."""

    @staticmethod
    @abstractmethod
    def logits_of(probs: Tensor, validate: bool) -> Tensor:
        """The logits of these probabilities, finite also where one is 0."""

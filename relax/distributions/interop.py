"""torch.distributions objects where a distribution of this library is expected."""

from __future__ import annotations

from typing import Any

from torch import distributions as torch_distributions

from relax.distributions.base import Distribution
from relax.distributions.bernoulli import Bernoulli
from relax.distributions.categorical import Categorical
from relax.distributions.normal import Normal


def as_distribution(dist: Any) -> Distribution:
    """dist itself, or the counterpart of a torch distribution, attached to its parameters.

    torch's Bernoulli, OneHotCategorical and Normal take their last axis as the event; Independent
    says how many axes are one event.

    Raises:
        TypeError: another kind of object.
    """
    if isinstance(dist, Distribution):
        return dist
    if type(dist) is torch_distributions.Independent:
        base = as_distribution(dist.base_dist)
        events = dist.reinterpreted_batch_ndims + len(dist.base_dist.event_shape)
        if not 1 <= events <= len(base.sample_shape):
            raise TypeError(f"{dist}: at least one axis must be the event")
        base.event_ndim = events
        return base
    validate = bool(getattr(dist, "_validate_args", True))
    if type(dist) is torch_distributions.Bernoulli:
        return Bernoulli(dist.logits, validate=validate)
    if type(dist) is torch_distributions.OneHotCategorical:
        return Categorical(dist.logits, validate=validate)
    if type(dist) is torch_distributions.Normal:
        return Normal(dist.loc, dist.scale.log(), validate=validate)
    raise TypeError(
        f"a distribution is needed, not {type(dist).__name__}: rx.Bernoulli, rx.Categorical, "
        f"rx.Normal, a subclass of rx.Distribution, or Bernoulli, OneHotCategorical, Normal and "
        f"Independent of torch.distributions"
    )

"""What an equation returns, and what an estimator makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from relax.control_variate import ControlVariate
from relax.distributions import Draw


@dataclass(frozen=True)
class Estimate:
    """A gradient estimate and what is needed to train with it.

    Attributes:
        theta: the distribution's parameter, [*batch, *event].
        grad: the estimate of d/dtheta E[f(b)] of every row, shape of theta, attached to phi. A
            direct dependence of f on theta is not in it: it comes through `value`.
        value: f(b) as f returned it, [(K,) *batch], attached to f's own weights.
        draw: the draw that it was made from.
        objective: what phi minimises, [*batch], where the method has an objective of its own (NVIL,
            MuProp); None means the variance of grad.
        control: c(z~) and its derivatives, where there is a surrogate.
    """

    theta: Tensor
    grad: Tensor
    value: Tensor
    draw: Draw = field(repr=False)
    objective: Tensor | None = field(default=None, repr=False)
    control: ControlVariate | None = field(default=None, repr=False)

    @property
    def replicas(self) -> int:
        """How many leading batch axes are replicas."""
        return self.draw.dist.replicas

    @property
    def batch_shape(self) -> torch.Size:
        """Shape of f(b) without samples: replica axes first, then the rows that are averaged."""
        return self.draw.dist.batch_shape

    @property
    def rows(self) -> int:
        """How many rows are averaged, the same in every replica."""
        return self.batch_shape[self.replicas :].numel()

    @property
    def c(self) -> Tensor:
        """c(z~) of every row as a constant (c(z) where the method has no z~), [(K,) *batch]."""
        return self._control.c_zt.detach()

    @property
    def correlation(self) -> Tensor:
        """The correlation of f(b) and c(z~) over rows and samples; nan while either is constant."""
        both = torch.stack([self.value.detach().to(self.c.dtype).flatten(), self.c.flatten()])
        return torch.corrcoef(both)[0, 1]

    @property
    def terms(self) -> dict[str, Tensor]:
        """The estimate's three terms as constants like theta; they add up to grad.

        f_score: f(b) d/dtheta log p(b|theta). c_score: the score term of c, which is subtracted.
        c_path: d/dtheta c(z) - d/dtheta c(z~).
        """
        control, draw = self._control, self.draw
        path = control.dc_z if control.dc_zt is None else control.dc_z - control.dc_zt
        score = draw.score
        f_score = weigh(self.value.detach().to(score.dtype), score)
        f_score, path = (average(x.detach(), draw) for x in (f_score, path))
        return {
            "f_score": f_score,
            "c_score": self.grad.detach() - f_score - path,
            "c_path": path,
        }

    @property
    def _control(self) -> ControlVariate:
        if self.control is None:
            raise AttributeError("this estimator has no surrogate c")
        return self.control


class Result(NamedTuple):
    """What an equation returns if it returns more than the gradient, [(K,) *shape of theta]."""

    grad: Tensor
    objective: Tensor | None = None
    control: ControlVariate | None = None


def average(x: Tensor, draw: Draw) -> Tensor:
    """The mean over samples, where there is a sample axis."""
    return x.mean(0) if draw.sampled else x


def weigh(weight: Tensor, score: Tensor) -> Tensor:
    """weight [(K,) *batch] times score [(K,) *batch, *event]: one weight for the joint event."""
    return weight.reshape(weight.shape + (1,) * (score.ndim - weight.ndim)) * score

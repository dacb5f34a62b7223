"""ReinMax with an exact correction at one other outcome, chosen at random."""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions import Draw
from relax.estimate import estimator
from relax.estimators.reinmax import from_derivative
from relax.function import Function
from relax.surrogates import lift


@estimator(
    unbiased=True,
    evaluations=2,
    differentiable=True,
    needs=("mean", "vjp_mean"),
    draws="independent with v alone",
)
def debiased_reinmax(f: Function, draw: Draw, *, gamma: Tensor | float = 1.0) -> Tensor:
    """ReinMax plus what its linear extrapolation misses at one other outcome.

        g = gamma ReinMax + Q/2 (b - b') [f(b) - f(b') - gamma f'(b) . (b - b')]

        b' = b with one coordinate d changed to another value k,
        (d, k) ~ P(b_d = k) / Q over all k other than b_d,   Q = sum_d P(b_d is another value)

    Unbiased. Given the other coordinates let b'_d be a second, independent draw of b_d alone. The
    two-sample leave-one-out estimate 1/2 (b_d - b'_d) [f(b) - f(b')] has the exact gradient as its
    mean, and ReinMax is its mean over b'_d where f is replaced by its tangent at b. The second term
    above estimates the difference of the two for all coordinates by one (d, k), weighted by the
    inverse of its probability; its linear part cancels the first term in the mean for every gamma.

    Where f is linear in each coordinate it is ReinMax, without a jump. Otherwise the jump has a
    weight of Q, about the number of undecided coordinates: this is for an f that is nearly linear.
    It is the categorical form of `unbiased_reinmax`, and f is evaluated at outcomes alone.

    Args:
        f: b [(K,) *batch, *event] -> [(K,) *batch], differentiable at b.
        dist: a Bernoulli or a Categorical, or a Draw by `rx.debiased_reinmax.draw`.
        gamma: a number or a tensor [*replicas], phi where it requires a gradient.
        samples: K. generator: of the samples.

    Source: this repository; ReinMax as a tangent is due to Liu et al. (2023).
    """
    f_b, df = f.value_and_grad(draw.b)
    other, total = change_one(draw)
    change = draw.b - other  # b - b'
    event = tuple(range(f_b.ndim, change.ndim))
    linear = (df * change).sum(event)  # f'(b) . (b - b')
    jump = total / 2 * change
    gamma = lift(gamma, df, int(draw.sampled))
    exact = jump * rows_like(f_b - f(other), change)
    return exact + gamma * (from_derivative(df, draw) - jump * rows_like(linear, change))


def change_one(draw: Draw) -> tuple[Tensor, Tensor]:
    """b with one coordinate changed, and Q [(K,) *batch, 1 ..]; Gumbel noise of v chooses."""
    b, v, p = draw.b, draw.noise.v, draw.dist.mean().detach()
    assert v is not None
    bits = draw.dist.coordinate_ndim == 0
    chance = (b - p).abs() if bits else p * (1 - b)  # of every other value
    rows = len(draw.value_shape)
    score = chance.log() - torch.log(-torch.log(v))
    best = score.flatten(rows).argmax(-1, keepdim=True)
    places = torch.arange(score[(0,) * rows].numel(), device=b.device)
    chosen = (places == best).reshape(score.shape)
    total = rows_like(chance.flatten(rows).sum(-1), b)
    if bits:
        return torch.where(chosen, 1 - b, b), total
    return torch.where(chosen.any(-1, keepdim=True), chosen.to(b.dtype), b), total


def rows_like(x: Tensor, like: Tensor) -> Tensor:
    """x [(K,) *batch] with axes of 1 to multiply `like`."""
    return x.reshape(x.shape + (1,) * (like.ndim - x.ndim))

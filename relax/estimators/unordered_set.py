"""Unordered set: K classes drawn without replacement and weighted whatever their order."""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions import Draw
from relax.estimate import estimator, weigh
from relax.function import Function


@estimator(
    unbiased=True,
    evaluations=2,
    differentiable=False,
    needs=("log_p",),
    samples=2,
    draws="without replacement",
)
def unordered_set(f: Function, draw: Draw) -> Tensor:
    """The unordered-set estimator of an event of one choice, theta [*batch, C].

        g = sum_s p(s) R(S, s) [f(s) - sum_s' p(s') R(S, s, s') f(s')] d/dtheta log p(s|theta)

        R(S, s) = P(S | s came first) / P(S),   R(S, s, s') = the same once s is out of the domain

    Unbiased; exact when K is the number of classes. K evaluations of f, all at different classes.
    The estimate's `value` is f(b) times K p(s) R(S, s), so that its mean over samples estimates
    E[f].

    Args:
        f: b [K, *batch, C] -> [K, *batch], any Python; or the value f(b).
        dist: a Categorical of one choice, or a Draw by `rx.unordered_set.draw`.
        samples: K, from 2 to C; the work grows as 3^K. generator: of the samples.

    Source: Kool, van Hoof and Welling, "Estimating gradients for discrete random variables by
    sampling without replacement" (2020).
    """
    if draw.dist.event_ndim != 1:
        raise ValueError("unordered_set: the event must be a single choice, theta [*batch, C]")
    f_b, k = f(draw.b), draw.samples
    p_r, p_r_other = weights(draw.dist.log_p.detach(), draw.b)
    change = f_b.unsqueeze(1) - f_b  # f(s) - f(s'), [K, K, *batch]
    # p(s) R(S, s) [f(s) - sum_s' p(s') R(S, s, s') f(s')], whose inner weights sum to 1
    signal = p_r * (p_r_other * change).sum(1)
    assert f.value is not None
    f.value = k * p_r * f.value
    return k * weigh(signal, draw.score)


def weights(log_p: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """p(s) R(S, s) [K, *batch], and p(s') R(S, s, s') [K, K, *batch] with 0 where s' = s."""
    log_ps = torch.where(b > 0, log_p, 0).sum(-1)
    chosen = frozenset(range(len(b)))

    def drawn_next(left: frozenset[int], taken: frozenset[int]) -> Tensor:
        """log P(the classes `left` come next, in any order, once `taken` are out)."""
        if not left:
            return torch.zeros_like(log_ps[0])
        is_out = sum((b[s] for s in taken), torch.zeros_like(log_p)) > 0
        log_rest = log_p.masked_fill(is_out, -torch.inf).logsumexp(-1)
        orders = [log_ps[s] - log_rest + drawn_next(left - {s}, taken | {s}) for s in left]
        return torch.stack(orders).logsumexp(0)

    first = {s: drawn_next(chosen - {s}, frozenset({s})) for s in chosen}
    p_r = torch.stack([log_ps[s] + first[s] for s in chosen]).softmax(0)
    p_r_other = torch.zeros(len(b), *log_ps.shape, dtype=log_p.dtype, device=log_p.device)
    for s in chosen:
        for other in chosen - {s}:
            both = drawn_next(chosen - {s, other}, frozenset({s, other}))
            p_r_other[s, other] = (log_ps[other] + both - first[s]).exp()
    return p_r, p_r_other

"""Unordered set: K classes drawn without replacement and weighted whatever their order.

    g = sum_s p(s) R(S, s) [f(s) - sum_s' p(s') R(S, s, s') f(s')] d/dtheta log p(s|theta)

    R(S, s) = P(S | s came first) / P(S),   R(S, s, s') = the same once s is out of the domain

Unbiased; exact when K is the number of classes. K evaluations of f, all at different classes.
Source: Kool, van Hoof and Welling, "Estimating gradients for discrete random variables by sampling
without replacement" (2020).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from relax.distributions import Categorical, Distribution, Noise, RandomSource
from relax.estimators.estimate import Estimate, Function, evaluate, make_estimate, weigh


def unordered_set(
    f: Function,
    dist: Categorical,
    *,
    samples: int = 2,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """The unordered-set estimator of an event of one choice, theta [*batch, C].

    f: b [K, *batch, C] -> [K, *batch], any Python. samples: K, from 2 to C; the work grows as 3^K.
    value: f(b) times K p(s) R(S, s), so that its mean over samples estimates E[f].
    noise: u of one sample's shape; b are the classes of the K largest z.
    """
    if not isinstance(dist, Categorical):
        raise TypeError(f"unordered_set needs a Categorical, not {type(dist).__name__}")
    if not 2 <= samples <= dist.theta.shape[-1]:
        raise ValueError(f"samples={samples}: from 2 to {dist.theta.shape[-1]} classes are drawn")
    noise = one_noise(dist, samples, generator, True) if noise is None else noise
    if b is None:
        first = dist.reparameterize(noise.u).detach().topk(samples).indices
        b = one_hot(first, dist.theta.shape[-1]).to(noise.u.dtype).movedim(-2, 0)
    draw = dist.draw(Noise(noise.u.expand_as(b)), b)
    f_b = evaluate("unordered_set", f, draw.b, draw)
    if f_b.ndim != b.ndim - 1:
        raise ValueError("unordered_set: the event must be a single choice, theta [*batch, C]")
    p_r, p_r_other = weights(dist.log_p.detach(), draw.b)
    change = f_b.detach().unsqueeze(1) - f_b.detach()  # f(s) - f(s'), [K, K, *batch]
    # p(s) R(S, s) [f(s) - sum_s' p(s') R(S, s, s') f(s')], whose inner weights sum to 1
    signal = p_r * (p_r_other * change).sum(1)
    grad = len(b) * weigh(signal, dist.score(draw.b))
    return make_estimate(dist, draw, grad, len(b) * p_r * f_b)


def one_noise(dist: Distribution, samples: int, generator: RandomSource, coupled: bool) -> Noise:
    """One u, whatever the number of classes drawn with it."""
    return dist.noise(1, generator, coupled=True)


def weights(log_p: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """p(s) R(S, s) [K, *batch], and p(s') R(S, s, s') [K, K, *batch] with 0 where s' = s."""
    log_ps = (b * log_p).sum(-1)
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

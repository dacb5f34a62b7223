"""CARMS: K mutually antithetic categorical samples, with leave-one-out among them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from relax.distributions import Draw
from relax.estimate import estimator
from relax.function import Function
from relax.sampling import sticks


@estimator(
    unbiased=True,
    evaluations=3,
    differentiable=False,
    needs=("log_p",),
    samples=3,
    draws="antithetic sticks",
)
def carms(f: Function, draw: Draw) -> Tensor:
    """CARMS, with the stick-breaking copula.

        g = mean over k != j of 1/2 r(b_k, b_j) [f(b_k) - f(b_j)] (b_k - b_j)

        r(i, j) = p_i p_j / P(b_k = i, b_j = j)

    Unbiased, and ARMS for two classes. A choice breaks sticks: from the least likely class upwards,
    each is taken with its probability among those that are left, by a uniform number that is
    antithetic to that of the other samples. So r is a product: while neither sample has chosen,
    (1 - pi)^2 / P(neither takes), and where the first one chooses, pi (1 - pi) / P(one takes).

    Args:
        f: b [K, *batch, *event] -> [K, *batch], any Python; or the value f(b).
        dist: a Categorical, or a Draw by `rx.carms.draw` (`relax.sampling.break_sticks`).
        samples: K, at least 2. generator: of the samples.

    Source: Dimitriev and Zhou, "CARMS" (2021), arXiv 2110.14002.
    """
    f_b, b, k = f(draw.b), draw.b.to(draw.dist.theta.dtype), draw.samples
    r = ratio(draw.dist.log_p.detach(), b)  # [K, K, *batch, ..]
    df = f_b.unsqueeze(1) - f_b  # f(b_k) - f(b_j), [K, K, *batch]
    df = df.reshape(df.shape + (1,) * (r.ndim - df.ndim))
    moved = b.unsqueeze(1) - b  # b_k - b_j
    return (r * df).unsqueeze(-1).mul(moved).sum(1) / (2 * (k - 1))


def ratio(log_p: Tensor, b: Tensor) -> Tensor:
    """r of every pair of samples, [K, K, *batch, ..]; 0 where both chose the same class."""
    order, pi = sticks(log_p)
    n = len(b) - 1
    both = (2 * pi ** (1 / n) - 1).clamp(min=0) ** n  # P(both take this class)
    neither = 2 * (1 - pi).log() - (1 - 2 * pi + both).log()
    before = pad(neither.cumsum(-1)[..., :-1], (1, 0))  # of the classes before this one
    one = ((1 - pi) * pi / (pi - both)).log()
    log_r = torch.where(pi > 0, before + one, 0)
    chosen = b.gather(-1, order.expand_as(b)).argmax(-1)  # the place in the order of each choice
    first = torch.minimum(chosen.unsqueeze(1), chosen)
    log_r = log_r.expand(*first.shape, log_r.shape[-1]).gather(-1, first.unsqueeze(-1)).squeeze(-1)
    return torch.where(chosen.unsqueeze(1) == chosen, 0, log_r.exp())

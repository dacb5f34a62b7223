"""RODEO: leave-one-out REINFORCE with control variates from a discrete Stein operator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from relax.distributions import Draw
from relax.estimate import estimator, weigh
from relax.estimators.rloo import leave_one_out
from relax.function import Function


class Stein(nn.Module):
    """phi of `rx.rodeo`: (linearisation, mean f) [...] each -> (alpha h, beta h') [...] each."""

    def __init__(self, hidden: int = 100) -> None:
        super().__init__()
        self.inputs = nn.Linear(2, hidden)
        self.outputs = nn.Linear(hidden, 2)
        self.scales = nn.Parameter(torch.zeros(2))  # alpha and beta

    def forward(self, linear: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.stack(torch.broadcast_tensors(linear, mean), dim=-1)
        hidden = nn.functional.leaky_relu(self.inputs(both), 0.3)
        alpha_h, beta_h = (self.outputs(hidden) * self.scales).unbind(-1)
        return alpha_h, beta_h


@estimator(
    unbiased=True,
    evaluations=2,
    differentiable=True,
    needs=("bits",),
    samples=2,
    draws="several independent",
)
def rodeo(
    f: Function, draw: Draw, *, stein: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
) -> Tensor:
    """RODEO.

        g = mean_k { f_k - mean_{j != k} [f_j + alpha (A h_j)(b_j)] } (b_k - p)
            + beta mean_k (A [h'_k (b - p)])(b_k)

        (A h)(b) = mean_i P(b_i flipped) [h(b with b_i flipped) - h(b)],   E[A h] = 0

    h_k and h'_k are two outputs of one small net of the OTHER samples' mean f and linearisation
    mean_{j != k} G_j (b - b_j), G_j = df/db at b_j: they never look at b_k. Unbiased for every net,
    alpha and beta. K evaluations of f and of its derivative, K D of the net.

    Args:
        f: b [K, *batch, *event] -> [K, *batch], differentiable at b.
        dist: a Bernoulli, or a Draw of several independent samples.
        stein: phi, `rx.Stein()` or any map of its form.
        samples: K, at least 2. generator: of the samples.

    Source: Shi et al., "Gradient estimation with discrete Stein operators" (2022).
    """
    f_b, df = f.value_and_grad(draw.b)
    lead = f_b.ndim
    b, p = draw.b.flatten(lead), torch.sigmoid(draw.dist.theta.detach()).flatten(lead - 1)
    df, others = df.flatten(lead), leave_one_out(f_b)
    # the linearisation at b_k, and what flipping bit i adds to it
    at_zero = leave_one_out((df * b).sum(-1))
    df = leave_one_out(df)
    linear = (df * b).sum(-1) - at_zero
    flips = linear.unsqueeze(-1) + df * (1 - 2 * b)
    h, h_score = stein(linear, others)
    h_flip, h_score_flip = stein(flips, others.unsqueeze(-1))
    w = torch.where(b > 0, 1 - p, p) / b.shape[-1]  # P(b_i flipped), averaged over i
    a_h = (w * (h_flip - h.unsqueeze(-1))).sum(-1)  # alpha A h
    change = (w * (h_score_flip - h_score.unsqueeze(-1))).sum(-1)
    a_score = (  # beta A [h' (b - p)]: the change of h', and of b - p where bit i is its own
        weigh(change, b - p) + w * h_score_flip * (1 - 2 * b)
    )
    signal = f_b - leave_one_out(f_b + a_h)
    return (weigh(signal, b - p) + a_score).reshape(draw.b.shape)

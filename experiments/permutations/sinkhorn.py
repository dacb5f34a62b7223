"""Gumbel-Sinkhorn: relaxed matchings by row and column normalisation, and the hard ones.

Source: Mena et al., "Learning latent permutations with Gumbel-Sinkhorn networks" (2018).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def sinkhorn(scores: Tensor, iterations: int) -> Tensor:
    """exp(scores) [..., n, n] with rows and columns normalised in turn, in log space.

    Tends to a doubly stochastic matrix; the columns sum to 1 exactly.
    """
    for _ in range(iterations):
        scores = scores.log_softmax(-1).log_softmax(-2)
    return scores.exp()


def gumbel_sinkhorn(scores: Tensor, u: Tensor, lambda_: float, iterations: int) -> Tensor:
    """A relaxed sample: Sinkhorn of (scores + Gumbel noise) / lambda, with uniform u."""
    return sinkhorn((scores - torch.log(-torch.log(u))) / lambda_, iterations)


def matching(scores: Tensor) -> Tensor:
    """The matching of the highest total score: for every row of [..., n, n] its column, [..., n].

    With Gumbel noise added to the scores this is a sample of Gumbel-Matching.
    """
    n = scores.shape[-1]
    flat = scores.detach().cpu().double().numpy().reshape(-1, n, n)
    columns = np.stack([linear_sum_assignment(one, maximize=True)[1] for one in flat])
    return torch.from_numpy(columns).reshape(scores.shape[:-1])

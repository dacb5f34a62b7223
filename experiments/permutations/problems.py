"""What is minimised over orders: the toy of Gadetsky et al. (2020), and the score of a DAG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from experiments.permutations.dag import Graphs
from experiments.permutations.orders import Orders, most_probable

EXCESS = 0.05  # of the target's diagonal


class Matching:
    """f(b) = ||b - T||_F^2, with T = 1/n plus EXCESS on the diagonal, and rows that sum to 1.

    The best order is the identity. One problem for all seeds; f can be relaxed.

    Source: Gadetsky et al. (2020), section 5.1.
    """

    relaxable = True

    def __init__(self, n: int, seeds: Sequence[int], observations: int, device: torch.device):
        off = torch.full((n, n), 1 / n - EXCESS / (n - 1), dtype=torch.float64)
        self.target = off.fill_diagonal_(1 / n + EXCESS).to(device)
        self.orders = Orders(n, device)
        # ||b - T||^2 is a sum over rows, and row k of b is that of the item in place k.
        rows = (torch.eye(n, device=device) - self.target.unsqueeze(1)).square().sum(-1)
        self.cost = rows[self.orders.members.sum(-1).clamp(max=n - 1)]

    def f(self, b: Tensor) -> Tensor:
        return (b - self.target).square().sum((-2, -1))

    def readings(self, theta: Tensor) -> dict[str, Tensor]:
        return {}


class Structure:
    """f(b): the BIC of the best DAG whose edges agree with the order b, in nats, lower is better.

    Every seed has a linear-Gaussian DAG and data of its own. f is a black box of b, less its value
    at the order in which the variables happen to be numbered.
    """

    relaxable = False

    def __init__(self, n: int, seeds: Sequence[int], observations: int, device: torch.device):
        self.orders, self.graphs = Orders(n, device), Graphs(n, seeds, observations)
        cost = torch.from_numpy(-self.graphs.scores).to(device)
        first = self.orders.value(torch.eye(n, device=device).expand(len(cost), n, n), cost)
        self.cost = (cost - first[:, None, None] / n).unsqueeze(1)  # [R, 1, 2^n, n]

    def f(self, b: Tensor) -> Tensor:
        return self.orders.value(b, self.cost)

    def readings(self, theta: Tensor) -> dict[str, Tensor]:
        """The structural Hamming distance of the most probable order's best DAG."""
        orders = most_probable(theta.squeeze(1)).argmax(-1).tolist()
        distances = [self.graphs.distance(seed, order) for seed, order in enumerate(orders)]
        return {"distance": torch.tensor(np.array(distances, dtype=np.float64))}


PROBLEMS = {"matching": Matching, "structure": Structure}

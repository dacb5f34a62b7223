"""What is minimised over orders: the toy of Gadetsky et al. (2020), and the score of a DAG."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from experiments.permutations.dag import Graphs
from experiments.permutations.orders import Orders, value

EXCESS = 0.05  # of the target's diagonal


class Matching:
    """f(b) = ||b - T||_F^2, with T = 1/n plus EXCESS on the diagonal, and rows that sum to 1.

    The best order is the identity. One problem for all seeds; f can be relaxed.

    Source: Gadetsky et al. (2020), section 5.1.
    """

    relaxable, metrics = True, ()

    def __init__(self, n: int, seeds: Sequence[int], observations: int, device: torch.device):
        off = torch.full((n, n), 1 / n - EXCESS / (n - 1), dtype=torch.float64, device=device)
        self.target, self.orders = off.fill_diagonal_(1 / n + EXCESS), Orders(n, device)
        # ||b - T||^2 is a sum over rows, and row k of b is that of the item in place k.
        rows = (torch.eye(n, device=device) - self.target.unsqueeze(1)).square().sum(-1)
        self.cost = rows[self.orders.sizes.clamp(max=n - 1)]
        self.best = self.orders.best(self.cost)

    def f(self, b: Tensor) -> Tensor:
        return (b - self.target).square().sum((-2, -1))

    def readings(self, items: Tensor) -> dict[str, Tensor]:
        return {}


class Structure:
    """f(b): -BIC of the best DAG whose edges agree with the order b, in nats.

    Every seed has a linear-Gaussian DAG and data of its own. f is a black box of b, less its value
    at the order in which the variables happen to be numbered.
    """

    relaxable, metrics = False, ("distance", "best_distance")

    def __init__(self, n: int, seeds: Sequence[int], observations: int, device: torch.device):
        self.orders, self.graphs = Orders(n, device), Graphs(n, seeds, observations)
        cost = torch.from_numpy(-self.graphs.scores).to(device)
        first = value(torch.arange(n, device=device), cost)
        self.cost = (cost - first[:, None, None] / n).unsqueeze(1)  # [R, 1, 2^n, n]
        self.best = self.orders.best(self.cost)
        self.best_distance = self.distance(self.best)

    def f(self, b: Tensor) -> Tensor:
        return value(b.argmax(-1), self.cost)

    def distance(self, items: Tensor) -> Tensor:
        """The structural Hamming distance of the best DAG under every seed's order [R, 1, n]."""
        orders = items.squeeze(1).tolist()
        found = [self.graphs.distance(row, order) for row, order in enumerate(orders)]
        return torch.tensor(found, dtype=torch.float64)

    def readings(self, items: Tensor) -> dict[str, Tensor]:
        return {"distance": self.distance(items), "best_distance": self.best_distance}


PROBLEMS = {"matching": Matching, "structure": Structure}

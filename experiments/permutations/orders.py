"""Exact expectations over orders, by dynamic programming over the sets of items placed so far.

An objective f(b) = sum_k cost[S_k, i_k] charges item i_k, in place k, for the set S_k of the items
before it. A set is a bit mask: bit i says whether item i is in it. There are 2^n sets and n!
orders, so that n = 8 takes 256 terms in the place of 40 320.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Orders:
    """The orders of n items."""

    def __init__(self, n: int, device: torch.device | str = "cpu") -> None:
        masks = torch.arange(2**n)
        self.n, self.items = n, 2 ** torch.arange(n, device=device)
        members = (masks[:, None] & self.items.cpu()) > 0
        self.members = members.to(device)
        sizes = members.sum(-1)
        self.sets = [masks[sizes == size].to(device) for size in range(n)]
        self.ways = [self._ways(members, sizes, size).to(device) for size in range(n)]

    @staticmethod
    def _ways(members: Tensor, sizes: Tensor, size: int) -> Tensor:
        """How each set of size + 1 arises, [sets, size + 1]: places in [sets of `size`, n]."""
        row = torch.cumsum(sizes == size, 0) - 1
        larger = (sizes == size + 1).nonzero()[:, 0]
        last = members[larger].nonzero()[:, 1].reshape(-1, size + 1)  # the item placed last
        return row[larger[:, None] - 2**last] * members.shape[1] + last

    def expected(self, theta: Tensor, cost: Tensor) -> Tensor:
        """E[f(b)] for b ~ PlackettLuce(theta), differentiable in theta.

        Args:
            theta: log-scores [..., n].
            cost: [..., 2^n, n].

        Returns:
            [...]
        """
        reached, total = torch.ones_like(theta[..., :1]), torch.zeros_like(theta[..., 0])
        for sets, ways in zip(self.sets, self.ways, strict=True):
            left = theta.unsqueeze(-2).masked_fill(self.members[sets], -torch.inf)
            flow = reached.unsqueeze(-1) * left.softmax(-1)  # P(the set comes first, then the item)
            total = total + (flow * cost[..., sets, :]).sum((-2, -1))
            reached = flow.flatten(-2)[..., ways].sum(-1)
        return total

    def lowest(self, cost: Tensor) -> Tensor:
        """The smallest f(b), for cost [..., 2^n, n]."""
        best = torch.zeros_like(cost[..., :1, 0])
        for sets, ways in zip(self.sets, self.ways, strict=True):
            best = (best.unsqueeze(-1) + cost[..., sets, :]).flatten(-2)[..., ways].amin(-1)
        return best.squeeze(-1)

    def value(self, b: Tensor, cost: Tensor) -> Tensor:
        """f(b) for permutation matrices [..., n, n] and a cost [..., 2^n, n] that broadcasts."""
        item = b.argmax(-1)
        mask = self.items[item]
        index = (mask.cumsum(-1) - mask) * self.n + item
        table = cost.flatten(-2)
        return table.expand(*index.shape[:-1], table.shape[-1]).gather(-1, index).sum(-1)


def most_probable(theta: Tensor) -> Tensor:
    """The order with the highest probability, [..., n, n]: items by falling score."""
    order = theta.argsort(dim=-1, descending=True, stable=True)
    return torch.eye(theta.shape[-1], dtype=theta.dtype, device=theta.device)[order]

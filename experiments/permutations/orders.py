"""Exact expectations over orders, by dynamic programming over the sets of items placed so far.

An objective f = sum_k cost[S_k, i_k] charges item i_k in place k for the set S_k of the items
before it. A set is a bit mask: bit i says whether item i is in it. There are 2^n sets and n!
orders: 256 and 40 320 for n = 8.
"""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor


class Orders:
    """The orders of n items; a cost is [..., 2^n, n]."""

    def __init__(self, n: int, device: torch.device) -> None:
        masks, items = torch.arange(2**n), torch.arange(n)
        members = masks[:, None] >> items & 1 > 0
        self.sizes, self.members = members.sum(-1).to(device), members.to(device)
        self.sets = [masks[members.sum(-1) == size].to(device) for size in range(n)]
        self.ways = [ways(members, size).to(device) for size in range(n)]
        self.all = torch.tensor(list(permutations(range(n))), device=device)

    def expected(self, theta: Tensor, cost: Tensor) -> Tensor:
        """E[f] for log-scores theta [..., n] of PlackettLuce, [...]; differentiable in theta."""
        reached, total = torch.ones_like(theta[..., :1]), torch.zeros_like(theta[..., 0])
        for sets, arises in zip(self.sets, self.ways, strict=True):
            left = theta.unsqueeze(-2).masked_fill(self.members[sets], -torch.inf)
            flow = reached.unsqueeze(-1) * left.softmax(-1)  # P(the set comes first, then the item)
            total = total + (flow * cost[..., sets, :]).sum((-2, -1))
            reached = flow.flatten(-2)[..., arises].sum(-1)
        return total

    def best(self, cost: Tensor) -> Tensor:
        """The order with the smallest f, by enumeration: the items by place, [..., n]."""
        return self.all[value(self.all, cost.unsqueeze(-3)).argmin(-1)]


def ways(members: Tensor, size: int) -> Tensor:
    """How each set of size + 1 arises from one of `size`: indices into [sets of `size`, n]."""
    sizes, n = members.sum(-1), members.shape[1]
    row = torch.cumsum(sizes == size, 0) - 1
    larger = (sizes == size + 1).nonzero()[:, 0]
    last = members[larger].nonzero()[:, 1].reshape(-1, size + 1)  # the item that is placed last
    return row[larger[:, None] - 2**last] * n + last


def value(items: Tensor, cost: Tensor) -> Tensor:
    """f of orders, given as the items by place [..., n], at a cost that broadcasts, [...]."""
    bits = 2**items
    index = (bits.cumsum(-1) - bits) * cost.shape[-1] + items
    table = cost.flatten(-2)
    rows = torch.broadcast_shapes(table.shape[:-1], index.shape[:-1])
    return table.expand(*rows, -1).gather(-1, index.expand(*rows, -1)).sum(-1)

"""Gradients of whole episodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.rl.batch import Batch


def squared_norm(gradients: Iterable[Tensor]) -> Tensor:
    """|g|^2 over all parameters, one number per leading index (replica or episode)."""
    return sum(g.square().flatten(1).sum(1) for g in gradients)


def clipped(gradients: Iterable[Tensor], norm: float) -> list[Tensor]:
    """The gradients [R, ...] of each parameter, scaled down in the replicas whose norm over all
    parameters exceeds `norm`; unchanged if `norm` is 0."""
    gradients = list(gradients)
    if not norm:
        return gradients
    factor = (norm / squared_norm(gradients).sqrt().clamp(min=norm)).detach()
    return [g * factor.reshape(-1, *[1] * (g.ndim - 1)) for g in gradients]


@dataclass
class Episodes:
    """E episodes of similar length, padded to T steps.

    replica  whose episode it is, [E]
    index    the steps' positions in a flattened batch [R * N], [E, T]
    real     whether a step is not padding, [E, T]
    weight   1 / (number of the replica's episodes), [E]
    """

    replica: Tensor
    index: Tensor
    real: Tensor
    weight: Tensor

    def take(self, x: Tensor) -> Tensor:
        """The episodes' steps of x [R, N, ...], [E, T, ...], zero in the padding."""
        steps = x.flatten(0, 1)[self.index]
        return steps * self.real.reshape(*self.real.shape, *[1] * (steps.ndim - 2))


def episodes_by_length(batch: Batch) -> list[Episodes]:
    """All replicas' episodes in groups; a group's longest is at most twice as long as its shortest,
    which limits the padding."""
    groups: dict[int, list[tuple[int, int, int, float]]] = {}
    for replica, episodes in enumerate(batch.episodes()):
        for start, end in episodes:
            episode = (replica, start, end - start, 1 / len(episodes))
            groups.setdefault((end - start - 1).bit_length(), []).append(episode)
    steps = batch.reward.shape[1]
    return [_padded(group, steps) for _, group in sorted(groups.items())]


def _padded(group: list[tuple[int, int, int, float]], steps_per_replica: int) -> Episodes:
    replica, start, length, weight = map(torch.tensor, zip(*group, strict=True))
    step = torch.arange(int(length.max()))
    real = step < length[:, None]
    first = (replica * steps_per_replica + start)[:, None]
    return Episodes(replica, torch.where(real, first + step, 0), real, weight)

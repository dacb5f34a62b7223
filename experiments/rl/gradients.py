"""From the estimate at the policy's output to the gradient of its weights, one per replica or one
per episode.

The core's estimate is a gradient of every step's distribution parameter, attached to the
surrogate's phi. The chain rule through the policy is written out (`Network.jacobian`), so that a
whole episode's gradient stays a plain function of phi and its square can be differentiated without
a second-order graph. The tests compare with autograd, one backward pass per episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.rl.networks import Network
from experiments.rl.rollout import Batch


def layer_signals(
    policy: Network, outputs: list[Tensor], signal: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """(input, signal at the pre-activation) of every layer, [R, N, in] and [R, N, out]."""
    return list(zip(outputs[:-1], policy.jacobian(outputs, signal)[1:], strict=True))


def summed(pairs: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Gradients in the order of `Network.layers`, summed over the rows of each leading index."""
    return [g for h, s in pairs for g in (h.mT @ s, s.sum(-2, keepdim=True))]


def squared_norm(gradients: list[Tensor]) -> Tensor:
    """|g|^2 over all the layers, one number per leading index."""
    return sum(g.square().flatten(1).sum(1) for g in gradients)


def descend(optimizer, grads: Sequence[Tensor], lr: Tensor, active: Tensor) -> None:
    """One step against `grads` at rates lr [R]; only `active` replicas move."""
    for p, grad in zip(optimizer.params, grads, strict=True):
        p.grad = grad
    optimizer.set_lr(torch.where(active, lr, 0.0))
    optimizer.step()


@dataclass
class Bucket:
    """Episodes of like length: rows of the flat batch [E, T], which are real, weights [E]."""

    rows: Tensor
    real: Tensor
    weight: Tensor

    def take(self, x: Tensor) -> Tensor:
        """Rows of x [R, N, ...] as [E, T, ...], zero where there is none."""
        return x.flatten(0, 1)[self.rows] * self.real[..., None]


def buckets(batch: Batch) -> list[Bucket]:
    """All replicas' episodes by length, doubling from bucket to bucket, so that little is padded.

    An episode's weight is 1 / (episodes of its replica): the mean over each replica's episodes,
    summed over replicas.
    """
    width, groups = batch.reward.shape[1], {}
    for replica, episodes in enumerate(batch.episodes()):
        for start, end in episodes:
            size = (end - start - 1).bit_length()
            groups.setdefault(size, []).append(
                (replica * width + start, end - start, 1 / len(episodes))
            )
    return [_bucket(*zip(*episodes, strict=True)) for _, episodes in sorted(groups.items())]


def _bucket(
    starts: tuple[int, ...], lengths: tuple[int, ...], weights: tuple[float, ...]
) -> Bucket:
    steps = torch.arange(max(lengths))
    real = steps < torch.tensor(lengths)[:, None]
    rows = torch.where(real, torch.tensor(starts)[:, None] + steps, 0)
    return Bucket(rows, real, torch.tensor(weights))


def mean_squared_norm(
    policy: Network, outputs: list[Tensor], theta_grad: Tensor, batch_buckets: list[Bucket]
) -> Tensor:
    """mean over episodes of |an episode's gradient of the policy|^2, summed over replicas; attached
    to phi.

    theta_grad [R, N, D, 2] is the estimate at (mean, log std); the log std is a parameter of its
    own.
    """
    pairs = layer_signals(policy, outputs, theta_grad[..., 0])
    total = theta_grad.new_zeros(())
    for bucket in batch_buckets:
        norms = squared_norm(summed([(bucket.take(h), bucket.take(s)) for h, s in pairs]))
        norms = norms + bucket.take(theta_grad[..., 1]).sum(1).square().sum(-1)
        total = total + (bucket.weight * norms).sum()
    return total

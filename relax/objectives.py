"""What is minimised: theta and f's weights the expectation of f, phi the variance of the gradient.

The two never mix. E[g] does not depend on phi, so d E[g^2]/dphi is the gradient of the variance
(Grathwohl et al., 2018, section 3.1); it is taken with `autograd.grad` for phi alone, because a
backward pass would also put d g^2/dtheta into theta's gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from relax.estimators.estimate import Estimate, total, weighted


def backward(
    est: Estimate | Sequence[Estimate],
    phi: Iterable[Tensor] = (),
    variance_of: Iterable[Tensor] | None = None,
    groups: Tensor | None = None,
) -> None:
    """Add to .grad: the estimate for theta, d value for f's weights, d objective for phi.

    est: one estimate, or one per stochastic layer; the layers share one value, differentiated once.
    phi: parameters of the surrogate; they get the gradient of `variance_objective`, nothing else.
    variance_of, groups: as in `variance_objective`.

    theta and value are averaged over the batch and summed over replicas.
    Raises ValueError where layers carry different values, or nothing needs a gradient.
    """
    layers = _layers(est)
    phi = list(phi)
    if phi:
        objective = variance_objective(layers, variance_of, groups)
        grads = torch.autograd.grad(objective, phi, allow_unused=True, retain_graph=True)
        for p, grad in zip(phi, grads, strict=True):
            if grad is not None:
                _accumulate(p, grad)
    pairs = weighted(layers)
    if not (pairs or phi):
        raise ValueError("nothing to differentiate: neither theta nor f(b) requires a gradient")
    if all(tensor.is_leaf for tensor, _ in pairs):  # the gradients are there: spare the engine
        for tensor, weight in pairs:
            _accumulate(tensor, weight)
    else:
        torch.autograd.backward([x for x, _ in pairs], [weight for _, weight in pairs])


def _accumulate(p: Tensor, grad: Tensor) -> None:
    p.grad = grad if p.grad is None else p.grad + grad


def variance_objective(
    est: Estimate | Sequence[Estimate],
    variance_of: Iterable[Tensor] | None = None,
    groups: Tensor | None = None,
) -> Tensor:
    """The scalar whose gradient in phi is that of the variance: E[g^2], as phi cannot move E[g].

    By default the mean over the batch of sum_d g_d^2, with g one row's gradient in theta; summed
    over layers and replicas.

    variance_of: parameters behind theta; then the squared norm of the gradient of these, which for
        rows that are not independent (the steps of an episode) must be that of the group's total.
    groups: a group index 0..G-1 for every row, [*batch] or [*batch without replicas]; the mean over
        groups is taken. Without it each row is a group of its own.
    """
    layers = _layers(est)
    if variance_of is not None:
        return _grouped(layers, list(variance_of), groups)
    rows, objective = layers[0].rows, total([_squares(e).sum() for e in layers])
    return objective / rows if rows > 1 else objective


def _squares(est: Estimate) -> Tensor:
    return est.grad * est.grad if est.objective is None else est.objective


def _grouped(layers: list[Estimate], params: list[Tensor], groups: Tensor | None) -> Tensor:
    """Mean over groups of the squared norm of a group's total gradient, summed over replicas."""
    first = layers[0]
    replicas, shape = first.replicas, first.batch_shape
    if groups is None:
        rows = shape[replicas:]
        groups = torch.arange(rows.numel(), device=first.grad.device).reshape(rows)
    groups = groups.expand(shape)
    index = torch.arange(int(groups.max()) + 1, device=groups.device)
    masks = groups == index.reshape(-1, *(1,) * groups.ndim)  # [G, *batch]
    weighted = [
        e.grad * masks.reshape(masks.shape + (1,) * (e.grad.ndim - len(shape))) for e in layers
    ]
    totals = torch.autograd.grad(
        [e.theta for e in layers],
        params,
        grad_outputs=weighted,
        is_grads_batched=True,
        create_graph=True,
        allow_unused=True,
    )
    count = masks.flatten(1 + replicas).any(-1).sum(0)  # groups of every replica, [*replicas]
    squares = sum(
        t.square().flatten(1 + replicas).sum(-1).sum(0) / count for t in totals if t is not None
    )
    return torch.as_tensor(squares).sum()


def _layers(est: Estimate | Sequence[Estimate]) -> list[Estimate]:
    return [est] if isinstance(est, Estimate) else list(est)

"""What is minimised: theta and f's weights the expectation of f, phi the variance of the gradient.

The two never mix. E[g] does not depend on phi, so d E[g^2]/dphi is the gradient of the variance
(Grathwohl et al., 2018, section 3.1); it is sent into phi alone, because a full backward pass would
also put d g^2/dtheta into theta's gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from relax.estimate import Estimate

Phi = nn.Module | Tensor | Iterable[Tensor]


def backward(
    est: Estimate | Sequence[Estimate], phi: Phi = (), *, scale: Tensor | float = 1.0
) -> None:
    """Accumulate gradients, as `loss.backward()` does: the estimate for theta and what is behind
    it, d f(b) for f's own weights, the gradient of the variance for phi.

    theta and value are averaged over the batch and summed over replicas and layers. Gradients
    arrive through autograd's accumulation, so hooks, gradient accumulation, clipping and
    DistributedDataParallel work as usual. The steps of a sequence are not rows of a batch: the mean
    would divide by their number, and phi would minimise the variance of each instead of that of
    their sum. Give every step a Draw of its own, `rx.backward([est_1, est_2, ...])`.

    Args:
        est: one estimate, or one per stochastic layer; the layers share one value, which is
            differentiated once.
        phi: the surrogate's module, parameter or parameters; they get the gradient of
            `variance_objective` and nothing else. Frozen parameters are skipped, and phi is ignored
            where no estimate has a surrogate or another learned part.
        scale: multiplies every gradient once; for a GradScaler
            `scaler.scale(torch.ones((), device=...))`.

    Raises:
        ValueError: no estimates, layers with different values, an empty batch, a theta without a
            graph, or a phi of which no parameter gets a gradient.
    """
    layers = _layers(est)
    for e in layers:
        if not e.theta.requires_grad:
            raise ValueError(
                "theta has no graph, so its gradient has nowhere to go: make the distribution from "
                "parameters that require a gradient (a rollout played under no_grad is replayed by "
                "draw.at(dist)). To train phi alone: rx.variance_objective(est).backward()"
            )
    pairs = weighted(layers)
    if params := _trainable(phi):
        _backward_into(params, layers, scale)
    _send([x for x, _ in pairs], [_scaled(weight, scale) for _, weight in pairs])


def _send(tensors: list[Tensor], weights: list[Tensor]) -> None:
    """One backward pass: hooks and DistributedDataParallel must not see a gradient in parts."""
    if torch.compiler.is_compiling():  # torch.compile traces no other form
        reduce(add, [(x * w).sum() for x, w in zip(tensors, weights, strict=True)]).backward()
    else:
        torch.autograd.backward(tensors, weights)


def _backward_into(phi: list[Tensor], layers: list[Estimate], scale: Tensor | float) -> None:
    objective = variance_objective(layers)
    if not objective.requires_grad and all(e.control is None for e in layers):
        return  # estimators without phi
    compiling = torch.compiler.is_compiling()
    before = None if compiling else [_state(p) for p in phi]
    if objective.requires_grad:
        _scaled(objective, scale).backward(inputs=phi, retain_graph=True)
    if not compiling and before == [_state(p) for p in phi] and not _reaches(objective, phi):
        raise ValueError(
            "no parameter of phi gets a gradient: the estimate does not depend on any of them. "
            "Give the parameters of the surrogate (baseline, scale) it was made with"
        )


def _state(p: Tensor) -> tuple[int, int] | None:
    """Changes when a gradient is accumulated, also in place; unless a hook consumes it at once."""
    return None if p.grad is None else (id(p.grad), p.grad._version)


def _reaches(objective: Tensor, phi: list[Tensor]) -> bool:
    """Whether the graph of objective ends at a parameter of phi."""
    wanted, seen, nodes = {id(p) for p in phi}, set(), [objective.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            if id(getattr(node, "variable", None)) in wanted:
                return True
            nodes += [following for following, _ in node.next_functions]
    return False


def _scaled(x: Tensor, scale: Tensor | float) -> Tensor:
    """x times scale; in float32, because a GradScaler's scale is infinite in float16."""
    if not isinstance(scale, Tensor) and scale == 1:
        return x
    return (x.to(torch.promote_types(x.dtype, torch.float32)) * scale).to(x.dtype)


def gradients(est: Estimate | Sequence[Estimate], params: Iterable[Tensor]) -> list[Tensor]:
    """What `backward` would add to the .grad of parameters behind theta or f, without adding it."""
    tensors, weights = zip(*weighted(_layers(est)), strict=True)
    return list(
        torch.autograd.grad(
            tensors, list(params), weights, retain_graph=True, materialize_grads=True
        )
    )


def variance_objective(est: Estimate | Sequence[Estimate]) -> Tensor:
    """The scalar whose gradient in phi is that of the variance: E[g^2], as phi cannot move E[g].

    The mean over the batch of sum_d g_d^2, with g one row's gradient in theta; summed over layers
    and replicas. An estimator with an objective of its own (NVIL, MuProp) contributes that instead.
    """
    layers = _layers(est)
    rows, objective = layers[0].rows, total([_squares(e).sum() for e in layers])
    return objective / rows if rows > 1 else objective


def weighted(est: Estimate | Sequence[Estimate]) -> list[tuple[Tensor, Tensor]]:
    """What to differentiate and the gradient to send into it: every theta, and one value.

    For steps that take all gradients in one pass. What has no graph is left out: a black-box value,
    a constant theta. Mean over the batch, sum over replicas.

    Raises:
        ValueError: layers with different values, an empty batch, or nothing has a graph.
    """
    layers = _layers(est)
    first = layers[0]
    if any(e.value is not first.value for e in layers):
        raise ValueError(
            "the layers carry different values: evaluate f once and give every layer that value "
            "with its Draw, rx.NAME(value, draw), or the gradient of f's own weights is counted "
            "once per layer"
        )
    if not first.rows:
        raise ValueError(f"the batch is empty: f(b) has shape {list(first.value.shape)}")
    pairs = [(e.theta, _per_row(e)) for e in layers if e.theta.requires_grad]
    if first.value.requires_grad:
        samples = first.value.numel() // first.batch_shape.numel()
        share = torch.full_like(first.value, 1 / (first.rows * samples), requires_grad=False)
        pairs.append((first.value, share))
    if not pairs:
        raise ValueError("nothing to differentiate: neither theta nor f(b) requires a gradient")
    return pairs


def total(scalars: list[Tensor]) -> Tensor:
    """The sum of scalars, one at least."""
    return scalars[0] if len(scalars) == 1 else torch.stack(scalars).sum()


def _squares(est: Estimate) -> Tensor:
    return est.grad * est.grad if est.objective is None else est.objective


def _per_row(est: Estimate) -> Tensor:
    """The estimate as a constant, divided by the rows that are averaged."""
    grad = est.grad.detach()
    return grad / est.rows if est.rows > 1 else grad.clone()


def _layers(est: Estimate | Sequence[Estimate]) -> list[Estimate]:
    layers = [est] if isinstance(est, Estimate) else list(est)
    if not layers:
        raise ValueError("no estimates: give one, or a list with one per stochastic layer")
    return layers


def _trainable(phi: Phi) -> list[Tensor]:
    """The parameters of phi that are trained."""
    if isinstance(phi, nn.Module):
        phi = phi.parameters()
    elif isinstance(phi, Tensor):
        phi = [phi]
    return [p for p in phi if p.requires_grad]

"""Objectives: theta and f's weights minimise E[f(b)], phi minimises the variance of the gradient.

The two never mix. E[g] does not depend on phi, so d E[g^2]/dphi is the gradient of the variance
(Grathwohl et al., 2018, section 3.1). It goes to phi alone: a full backward pass would also add
d E[g^2]/dtheta to theta's gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor, nn

from relax.result import Estimate

Parameters = nn.Module | Tensor | Iterable[Tensor | nn.Module]

FREED = (
    "An earlier backward pass has freed the graph behind theta or f(b). Estimates that share one, "
    "such as the layers of a model, go into one call, rx.backward([est_1, est_2], phi); every "
    "further step needs estimates of its own"
)


def backward(
    est: Estimate | Sequence[Estimate], phi: Parameters = (), *, scale: Tensor | float = 1.0
) -> None:
    """Accumulate gradients, as `loss.backward()` does: the estimate for theta and the parameters it
    was computed from, d f(b) for f's own weights, the gradient of the variance for phi.

    theta and value are averaged over the batch and summed over replicas and layers. Gradients
    arrive through autograd's accumulation, so hooks, gradient accumulation, clipping and
    DistributedDataParallel work as usual. The steps of a sequence are not rows of a batch: the mean
    would divide by their number, and phi would minimise the variance of each instead of that of
    their sum. Give every step a Draw of its own, `rx.backward([est_1, est_2, ...])`.

    Args:
        est: one estimate, or one per stochastic layer; the layers share one value, which is
            differentiated once.
        phi: the surrogate: a module, a parameter, or an iterable of these; `c.given(x)` as well.
            It gets the gradient of `variance_objective` and nothing else. Frozen parameters are
            skipped, and phi is ignored where no estimate has anything to fit.
        scale: multiplies every gradient once; for a GradScaler
            `scaler.scale(torch.ones((), device=...))`.

    Raises:
        TypeError: phi or scale is another kind of object.
        ValueError: no estimates, layers with different values, an empty batch, a theta without a
            graph, a phi of which no parameter gets a gradient, or a parameter of phi that theta or
            f(b) depends on as well.
        RuntimeError: a second backward pass through the same graph.
    """
    if not isinstance(scale, Tensor | float | int):
        raise TypeError(
            f"scale must be a number or a tensor, not {type(scale).__name__}: for a GradScaler "
            f"scale=scaler.scale(torch.ones((), device=...))"
        )
    layers = _layers(est)
    for e in layers:
        if not e.theta.requires_grad:
            raise ValueError(
                "theta has no graph, so its gradient has nowhere to go: make the distribution from "
                "parameters that require a gradient (a rollout played under no_grad is replayed by "
                "draw.at(dist)). To train phi alone: "
                "rx.variance_objective(est).backward(inputs=list(c.parameters()))"
            )
    pairs = _weighted(layers)
    params = [p for p in parameters_of(phi, "phi") if p.requires_grad]
    try:
        if params:
            _backward_into(params, layers, scale)
        _send(params, [x for x, _ in pairs], [_scaled(weight, scale) for _, weight in pairs])
    except RuntimeError as error:
        if "second time" in str(error):
            error.add_note(FREED)
        raise


def _send(phi: list[Tensor], tensors: list[Tensor], weights: list[Tensor]) -> None:
    """One backward pass: hooks and DistributedDataParallel must not see a gradient in parts."""
    if torch.compiler.is_compiling():  # torch.compile traces no other form
        reduce(add, [(x * w).sum() for x, w in zip(tensors, weights, strict=True)]).backward()
        return
    before = [_state(p) for p in phi]
    torch.autograd.backward(tensors, weights)
    if before != [_state(p) for p in phi]:
        raise ValueError(
            "theta or f(b) depends on a parameter of phi, whose .grad is now the sum of two "
            "gradients with different objectives. phi must hold the surrogate's parameters alone, "
            "and the surrogate must see what it shares with the model detached"
        )


def _backward_into(phi: list[Tensor], layers: list[Estimate], scale: Tensor | float) -> None:
    objective = variance_objective(layers)
    fits = any(e.objective is not None or (e.control and e.control.learnable) for e in layers)
    if not objective.requires_grad and not fits:
        return  # nothing to fit
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
    """Changes when a gradient is accumulated, unless a hook consumes the gradient at once."""
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
    """What `backward` would add to the .grad of parameters behind theta or f, without adding it.

    Raises:
        ValueError: neither theta nor f(b) depends on any of the parameters.
    """
    tensors, weights = zip(*_weighted(_layers(est)), strict=True)
    return grads_of(tensors, list(params), weights)


def grads_of(
    tensors: Sequence[Tensor], params: list[Tensor], weights: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """The gradient in every parameter; zero for one that has no influence.

    Raises:
        ValueError: none of the parameters has any.
    """
    grads = torch.autograd.grad(tensors, params, weights, retain_graph=True, allow_unused=True)
    if all(grad is None for grad in grads):
        raise ValueError(
            "neither theta nor f(b) depends on any of these parameters: give those of the network "
            "that makes the distribution's parameters, or of f"
        )
    return [torch.zeros_like(p) if g is None else g for p, g in zip(params, grads, strict=True)]


def variance_objective(est: Estimate | Sequence[Estimate]) -> Tensor:
    """The scalar whose gradient in phi is that of the variance: E[g^2], as phi cannot move E[g].

    The mean over the batch of sum_d g_d^2, with g one row's gradient in theta; summed over layers
    and replicas. An estimator with an objective of its own (NVIL, MuProp) contributes that instead.
    """
    layers = _layers(est)
    rows, sums = layers[0].rows, []
    for e in layers:
        squares = _squares(e).sum()
        sums.append(squares if e.rows == rows else squares * (rows / e.rows))
    objective = sums[0] if len(sums) == 1 else torch.stack(sums).sum()
    return objective / rows if rows > 1 else objective


def _weighted(layers: list[Estimate]) -> list[tuple[Tensor, Tensor]]:
    """What to differentiate and the gradient to send into it: every theta, and one value.

    What has no graph is left out: a black-box value, a constant theta.
    """
    first = layers[0]
    if any(e.value is not first.value for e in layers):
        raise ValueError(
            "the layers carry different values: evaluate f once and give every layer that one "
            "tensor with its Draw, rx.NAME(value, draw), or the gradient of f's own weights is "
            "counted once per layer (make a tensor of numbers or an array first)"
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


def parameters_of(given: Any, argument: str) -> list[Tensor]:
    """The parameters in a module, a parameter, or an iterable of these.

    Raises:
        TypeError: another kind of object, given as `argument`.
    """
    if isinstance(given, Tensor):
        return [given]
    if hasattr(given, "parameters"):
        return list(given.parameters())
    if isinstance(given, Iterable) and not isinstance(given, str | dict):
        parts = list(given)
        others = [p for p in parts if not (isinstance(p, Tensor) or hasattr(p, "parameters"))]
        if not others:
            return [p for part in parts for p in parameters_of(part, argument)]
        given = others[0]
    raise TypeError(
        f"{argument} must be a module, a parameter, or an iterable of modules and parameters, not "
        f"{type(given).__name__}"
    )

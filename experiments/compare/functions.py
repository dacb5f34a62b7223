"""Functions of discrete variables on which estimators are compared, with their exact gradients.

Six of 20 bits and two of categorical choices, each at its starting logits and, `late`, after a
hundred steps of training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

import relax as rx

Function = Callable[[Tensor], Tensor]
BITS, CHOICES, CLASSES = 20, 5, 4
FIT_ROWS = 64  # copies of the problem in a batch that phi is fitted on
STEPS = 100  # of training until `late`


class Exact:
    """A function of one row of bits or choices, as a problem: see `layers.Layer`."""

    smooth, context = True, None

    def __init__(self, f: Function, dist: rx.Discrete) -> None:
        self.f, self.dist = f, dist

    def relaxed(self, h: Tensor, lambda_: Tensor | float = 0.1) -> Tensor:
        return self.f(h)

    def redraw(self) -> None:
        """f has no noise."""

    def exact(self) -> Tensor:
        """The exact gradient."""
        return rx.exact_gradient(self.f, self.dist)

    def stream(self) -> Exact:
        """A batch of copies, to fit phi on."""
        return Exact(self.f, self.dist.expand(FIT_ROWS))


# ---- the functions: each takes a generator for its coefficients ----


def quadratic(generator: torch.Generator) -> Function:
    """The squared distance to a random point, in random axes."""
    axes = torch.randn(BITS, BITS, generator=generator) / BITS**0.5
    point = torch.rand(BITS, generator=generator)
    return lambda b: ((b - point) @ axes).square().sum(-1)


def network(generator: torch.Generator, inputs: int, sharpness: float) -> Function:
    """A random network of one hidden tanh layer; the sharper, the closer to steps."""
    first = sharpness * torch.randn(inputs, 30, generator=generator) / inputs**0.5
    last = torch.randn(30, generator=generator) / 30**0.5
    return lambda b: torch.tanh((2 * b - 1) @ first) @ last


def parities(generator: torch.Generator) -> Function:
    """A sum of 40 parities of three bits: linear in every bit."""
    triples = [torch.randperm(BITS, generator=generator)[:3] for _ in range(40)]
    weight = torch.randn(40, generator=generator) / 40**0.5
    return lambda b: (2 * b - 1)[..., torch.stack(triples)].prod(-1) @ weight


def cosine_parity(generator: torch.Generator) -> Function:
    """The parity of all bits as a cosine: between the outcomes it has nothing to do with them."""
    return lambda b: torch.cos(math.pi * b.sum(-1))


def max_cut(generator: torch.Generator) -> Function:
    """Minus the edges of a random graph that are cut: linear in every bit."""
    edges = (torch.rand(BITS, BITS, generator=generator) < 0.3).float().triu(1)
    return lambda b: -((b @ edges) * (1 - b) + ((1 - b) @ edges) * b).sum(-1)


def knapsack(generator: torch.Generator) -> Function:
    """Minus the value packed, with a squared penalty above the capacity."""
    value, weight = torch.rand(2, BITS, generator=generator)
    capacity = weight.sum() / 3
    return lambda b: 2 * torch.relu(b @ weight - capacity).square() - b @ value


def choices(generator: torch.Generator, sharpness: float) -> Function:
    """The network on choices of classes, [..., CHOICES, CLASSES]."""
    f = network(generator, CHOICES * CLASSES, sharpness)
    return lambda b: f(b.flatten(-2))


FUNCTIONS = {  # name -> the function, and the shape of b
    "quadratic": (quadratic, (BITS,)),
    "sharp_network": (partial(network, inputs=BITS, sharpness=4.0), (BITS,)),
    "parities": (parities, (BITS,)),
    "cosine_parity": (cosine_parity, (BITS,)),
    "max_cut": (max_cut, (BITS,)),
    "knapsack": (knapsack, (BITS,)),
    "smooth_choices": (partial(choices, sharpness=0.5), (CHOICES, CLASSES)),
    "sharp_choices": (partial(choices, sharpness=4.0), (CHOICES, CLASSES)),
}


def problem(name: str, stage: str) -> Exact:
    """A function at its starting logits, or after training."""
    make, event = FUNCTIONS[name]
    generator = torch.Generator().manual_seed(0)
    f, logits = make(generator), 0.5 * torch.randn(1, *event, generator=generator)
    kind = rx.Bernoulli if len(event) == 1 else rx.Categorical
    dist = kind(logits, event_ndim=len(event))
    return Exact(f, dist if stage == "start" else trained(f, dist, generator))


def trained(f: Function, dist: rx.Discrete, generator: torch.Generator) -> rx.Discrete:
    """The distribution after `STEPS` of Adam, by leave-one-out with many samples."""
    logits = torch.nn.Parameter(dist.theta.clone())
    optimiser = torch.optim.Adam([logits], 0.05)
    for _ in range(STEPS):
        many = dist.with_theta(logits).expand(200)
        est = rx.rloo(f, many, samples=4, generator=generator)
        optimiser.zero_grad()
        rx.backward(est)
        optimiser.step()
    return dist.with_theta(logits.detach())

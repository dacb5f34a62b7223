"""Several steps of the toy as one compiled graph, with the optimisers: what long runs use.

The step is the one of train.py, with the same estimators; a test holds the two equal. Four things
make it fast: no work between the steps, no kernel calls for single weights, the replicas on the
last axis in memory, so that a vector register holds the same weight of several seeds, and, where
there are few seeds, tensors on the stack.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import relax as rx
from experiments.run.accelerate import compiled
from experiments.toy.methods import Method

FEW = 20  # replicas up to which allocating tensors takes longer than computing them


class Fast:
    """`steps` training steps per call, on the parameters of a run.

    Args:
        method: the estimator, with phi.
        f: [..., R, B, 1] -> [..., R, B].
        logit: the parameter of the toy, [R, 1, 1].
        optimizers: the Adam of the logit, and that of phi if there is a phi.
        steps: per call.
    """

    def __init__(
        self, method: Method, f, logit: Tensor, optimizers: list[rx.replicas.Adam], steps: int
    ) -> None:
        self.method, self.f, self.steps, self.optimizers = method, f, steps, optimizers
        self.bound = _Bound(method)
        self.names = [name for name, _ in self.bound.named_parameters()]
        parameters = [logit, *self.bound.parameters()]
        for parameter in parameters:
            parameter.data = _replicas_last(parameter.data)
        self.values = [parameter.detach() for parameter in parameters]  # the same memory
        self.m, self.v = ([torch.zeros_like(x) for x in self.values] for _ in range(2))
        self.count = torch.zeros((), device=logit.device)  # steps that Adam has made
        self.zero = torch.zeros((), device=logit.device, requires_grad=True)
        tiny = logit.device.type == "cpu" and len(logit) <= FEW
        self.graph = compiled(self._several, tiny=tiny)

    def __call__(self, noise: rx.Noise) -> None:
        """Train with noise for `steps` steps, [..., R, steps, 1]."""
        noise = rx.Noise(*(None if x is None else _replicas_last(x, -3) for x in noise))
        self.graph(self.values, self.m, self.v, self.count, self.zero, noise)

    def _several(self, values, m, v, count, zero, noise) -> None:
        """Change the parameters `values`, Adam's moments and its count in place."""
        # Adding a zero that requires a gradient makes parameters of plain tensors.
        new = [[value + zero for value in values], m, v]
        for k in range(self.steps):
            rows = rx.Noise(*(None if x is None else x[..., k : k + 1, :] for x in noise))
            grads = self._gradients(new[0], rows)
            rates = [optimizer.lr for optimizer in self.optimizers]
            rates += rates[-1:] * (len(grads) - len(rates))  # every parameter of phi has phi's rate
            count_k = count + k + 1
            moved = [
                _adam(*state, grad, rate, count_k, self.optimizers[0])
                for *state, grad, rate in zip(*new, grads, rates, strict=True)
            ]
            new = [list(column) for column in zip(*moved, strict=True)]
        for old, column in zip((values, m, v), new, strict=True):
            for x, y in zip(old, column, strict=True):
                x.copy_(y.detach())
        count.add_(self.steps)

    def _gradients(self, parameters: list[Tensor], noise: rx.Noise) -> list[Tensor]:
        """The estimate, and the gradient of the variance objective in phi."""
        logit, *phi = parameters
        draw = self.method.draw(rx.Bernoulli(logit, replicas=1, validate=False), noise)
        bound = dict(zip(self.names, phi, strict=True))
        estimate = torch.func.functional_call(self.bound, bound, (self.f, draw))
        phi_grads = torch.autograd.grad(rx.variance_objective(estimate), phi) if phi else ()
        return [estimate.grad.detach(), *(grad.detach() for grad in phi_grads)]

    @torch.no_grad()
    def load(self) -> None:
        """Take Adam's moments from the optimisers."""
        for x, saved in self._pairs():
            x.copy_(saved)
        self.count.copy_(self.optimizers[0].steps)

    @torch.no_grad()
    def store(self) -> None:
        """Give Adam's moments to the optimisers, for a checkpoint."""
        for x, saved in self._pairs():
            saved.copy_(x)
        for optimizer in self.optimizers:
            optimizer.steps.copy_(self.count)

    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        saved = [pair for optimizer in self.optimizers for pair in optimizer.moments()]
        ours = zip(self.m, self.v, strict=True)
        return [
            pair
            for own, other in zip(ours, saved, strict=True)
            for pair in zip(own, other, strict=True)
        ]


class _Bound(nn.Module):
    """A method as a module, so that phi can be replaced by other tensors."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.phi, self.estimate = method.phi, method.estimate

    def forward(self, f, draw: rx.Draw) -> rx.Estimate:
        return self.estimate(f, draw)


def _adam(p, m, v, grad, lr: float, count: Tensor, optimizer: rx.replicas.Adam):
    """Adam's step (Kingma and Ba, 2015, algorithm 1): the new parameter, m and v."""
    beta1, beta2 = optimizer.betas
    m = beta1 * m + (1 - beta1) * grad
    v = beta2 * v + (1 - beta2) * grad * grad
    size = (v / (1 - beta2**count)).sqrt() + optimizer.eps
    return p - lr * (m / (1 - beta1**count)) / size, m, v


def _replicas_last(x: Tensor, axis: int = 0) -> Tensor:
    """The same tensor, with the replicas, which are at this axis, next to each other in memory."""
    return x.movedim(axis, -1).contiguous().movedim(-1, axis)

"""Adam and RMSProp on stacked parameters [R, ...]: a learning rate per replica, and replicas that
sit out.

An update is a handful of operations however many replicas there are; `rx.replicas` has a torch
optimiser per replica, which costs R times as much, and here a step comes after every episode.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class Stacked:
    """What both share. A replica that is not `active` keeps its parameters and its moments."""

    buffers: tuple[str, ...] = ()

    def __init__(self, params: Iterable[Tensor], lr: Tensor) -> None:
        self.params, self.lr = list(params), lr
        self.steps = torch.zeros(len(lr))
        self.state = {name: [torch.zeros_like(p) for p in self.params] for name in self.buffers}

    @torch.no_grad()
    def step(self, grads: list[Tensor], active: Tensor) -> None:
        self.steps = self.steps + active
        everyone = bool(active.all())
        before = (
            None if everyone else {name: [m.clone() for m in ms] for name, ms in self.state.items()}
        )
        updates = self.update(grads)
        rates = torch.where(active, self.lr, 0.0)
        torch._foreach_mul_(updates, [_like(rates, p) for p in self.params])
        torch._foreach_sub_(self.params, updates)
        for name, moments in (before or {}).items():
            for now, then in zip(self.state[name], moments, strict=True):
                now.copy_(torch.where(_like(active, now), now, then))

    def update(self, grads: list[Tensor]) -> list[Tensor]:
        """The direction of the step, still without the rate; new tensors."""
        raise NotImplementedError

    def state_dict(self) -> dict:
        return {"steps": self.steps, "lr": self.lr, "state": self.state}

    def load_state_dict(self, saved: dict) -> None:
        self.steps, self.lr = saved["steps"], saved["lr"]
        for name, buffers in self.state.items():
            for buffer, value in zip(buffers, saved["state"][name], strict=True):
                buffer.copy_(value)


class Adam(Stacked):
    """Adam (Kingma and Ba, 2015)."""

    buffers = ("m", "v")

    def __init__(
        self, params, lr: Tensor, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(params, lr)
        self.betas, self.eps = betas, eps

    def update(self, grads: list[Tensor]) -> list[Tensor]:
        (beta1, beta2), m, v = self.betas, self.state["m"], self.state["v"]
        torch._foreach_lerp_(m, grads, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, grads, grads, 1 - beta2)
        steps = self.steps.clamp(min=1)
        size = torch._foreach_sqrt(v)
        scale = torch.sqrt(1 - beta2**steps)
        torch._foreach_add_(size, [_like(self.eps * scale, p) for p in self.params])
        direction = torch._foreach_div(m, size)
        torch._foreach_mul_(direction, [_like(scale / (1 - beta1**steps), p) for p in self.params])
        return list(direction)


class RMSprop(Stacked):
    """RMSprop (Tieleman and Hinton, 2012)."""

    buffers = ("v",)

    def __init__(self, params, lr: Tensor, alpha: float = 0.99, eps: float = 1e-5) -> None:
        super().__init__(params, lr)
        self.alpha, self.eps = alpha, eps

    def update(self, grads: list[Tensor]) -> list[Tensor]:
        v = self.state["v"]
        torch._foreach_mul_(v, self.alpha)
        torch._foreach_addcmul_(v, grads, grads, 1 - self.alpha)
        size = torch._foreach_sqrt(v)
        torch._foreach_add_(size, self.eps)
        return list(torch._foreach_div(grads, size))


def _like(per_replica: Tensor, p: Tensor) -> Tensor:
    """[R] in a shape that multiplies p [R, ...], of p's type."""
    dtype = per_replica.dtype if per_replica.dtype == torch.bool else p.dtype
    return per_replica.to(dtype).reshape(-1, *(1,) * (p.ndim - 1))

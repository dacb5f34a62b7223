"""Adam and RMSprop with a learning rate per replica."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

VECTOR = 16  # float32 numbers in the widest vector register
LARGE = 2**12  # a parameter with this many numbers per replica gets a kernel call to itself


class Optimizer:
    """What Adam and RMSprop share: parameters [R, ...] and a learning rate, a float or [R].

    torch.optim takes one rate for all replicas. A step works on whole lists of tensors and reads
    nothing back from the device, so that it can be captured in a CUDA graph.

    Raises ValueError for no parameters, a negative rate, or rates that do not fit.
    """

    def __init__(self, params: Iterable[Tensor], lr: float | Tensor) -> None:
        self.params = [p for p in params if p.requires_grad]
        if not self.params:
            raise ValueError("the optimiser got no parameters")
        # The fused kernel on a GPU reads float32, whatever torch's default is.
        self.steps = torch.zeros((), dtype=torch.float32, device=self.params[0].device)
        self.state = self.start()
        self.set_lr(lr)

    def start(self) -> dict[str, list[Tensor]]:
        """The moments before the first step, all zero."""
        raise NotImplementedError

    def set_lr(self, lr: float | Tensor) -> None:
        """Change the learning rate, a float or [R], from the next step on."""
        if bool((torch.as_tensor(lr) < 0).any()):
            raise ValueError(f"learning rates must not be negative, got {lr}")
        self.lr = lr
        self._rates = [_per_replica(lr, p) for p in self.params]

    def zero_grad(self) -> None:
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Update the parameters with their .grad; one without a gradient is an error."""
        grads = [p.grad for p in self.params if p.grad is not None]
        if len(grads) < len(self.params):
            raise RuntimeError("a parameter has no gradient: call backward before step")
        self.move(grads)

    @torch.no_grad()
    def move(self, grads: Sequence[Tensor], active: Tensor | None = None) -> None:
        """Update the parameters with these gradients.

        Args:
            grads: one for each parameter, of its shape.
            active: the replicas whose parameters move, [R]; all by default. The moments of the
                others see their gradients, too.
        """
        lr, rates = self.lr, self._rates
        if active is not None:
            lr = torch.where(active, torch.as_tensor(lr, device=active.device), 0.0)
            rates = [rate * _per_replica(active, rate) for rate in rates]
        self.steps += 1
        self.update([grad.contiguous() for grad in grads], lr, rates)

    def update(self, grads: list[Tensor], lr: float | Tensor, rates: list[Tensor]) -> None:
        """Change the moments, then the parameters.

        Args:
            grads: one for each parameter.
            lr: the learning rate, a float or [R].
            rates: the same in shapes that multiply the parameters.
        """
        raise NotImplementedError

    def state_dict(self) -> dict:
        return {"steps": self.steps, "lr": self.lr, **self.state}

    @torch.no_grad()
    def load_state_dict(self, saved: dict) -> None:
        self.steps.copy_(saved["steps"])
        if torch.as_tensor(saved["lr"]).tolist() != torch.as_tensor(self.lr).tolist():
            self.set_lr(saved["lr"])  # not otherwise: a captured graph reads the tensors of now
        for name, buffers in self.state.items():
            for buffer, value in zip(buffers, saved[name], strict=True):
                buffer.copy_(value)


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), one learning rate per replica, by torch's fused kernel.

    Large parameters get a kernel call each; small ones are packed and updated together (`_Pack`).
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float | Tensor,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.betas, self.eps = betas, eps
        super().__init__(params, lr)

    def start(self) -> dict[str, list[Tensor]]:
        self._large = [i for i, p in enumerate(self.params) if _is_large(p)]
        packs: dict[int, list[int]] = {}
        for i, p in enumerate(self.params):
            if i not in self._large:
                packs.setdefault(len(p) if p.ndim else 1, []).append(i)
        self._packs = [_Pack(self.params, small) for small in packs.values()]
        like = [*(self.params[i] for i in self._large), *(pack.grads for pack in self._packs)]
        return {name: [torch.zeros_like(p) for p in like] for name in ("m", "v")}

    def set_lr(self, lr: float | Tensor) -> None:
        super().set_lr(lr)
        self._blocks = _equal_rates(lr)

    def update(self, grads: list[Tensor], lr: float | Tensor, rates: list[Tensor]) -> None:
        m, v = self.state["m"], self.state["v"]
        count = len(self._large)
        if count:
            params, large = ([x[i] for i in self._large] for x in (self.params, grads))
            blocks = self._blocks if lr is self.lr else _equal_rates(lr)
            self._in_place([params, large, m[:count], v[:count]], blocks)
        for pack, m_pack, v_pack in zip(self._packs, m[count:], v[count:], strict=True):
            pack.gather(grads)
            self._kernel([[pack.step], [pack.grads], [m_pack], [v_pack]], 1.0)
            pack.apply(rates)

    def moments(self) -> list[tuple[Tensor, Tensor]]:
        """m and v of every parameter, as views of its shape."""
        views: dict[int, list[Tensor]] = {i: [] for i in range(len(self.params))}
        for buffers in (self.state["m"], self.state["v"]):
            large, packed = buffers[: len(self._large)], buffers[len(self._large) :]
            for i, buffer in zip(self._large, large, strict=True):
                views[i].append(buffer)
            for pack, buffer in zip(self._packs, packed, strict=True):
                for i, view in zip(pack.indices, pack.parts(buffer), strict=True):
                    views[i].append(view)
        return [(m, v) for m, v in views.values()]

    def _in_place(self, lists: list[list[Tensor]], blocks: list[tuple[float, slice]]) -> None:
        """One call for all replicas that share a rate."""
        if len(blocks) == 1:
            self._kernel(lists, blocks[0][0])
            return
        for rate, rows in blocks:
            self._kernel([[x[rows] for x in tensors] for tensors in lists], rate)

    def _kernel(self, lists: list[list[Tensor]], lr: float) -> None:
        """Move the parameters of `lists`: parameters, gradients, m, v."""
        params, grads, m, v = lists
        torch._fused_adam_(
            params,
            grads,
            m,
            v,
            [],
            [self.steps] * len(params),
            lr=lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )


def _equal_rates(lr: float | Tensor) -> list[tuple[float, slice]]:
    """The runs of replicas with the same rate: the rate, and which replicas."""
    rates = torch.as_tensor(lr).reshape(-1).tolist()
    starts = [i for i, rate in enumerate(rates) if i == 0 or rate != rates[i - 1]]
    stops = [*starts[1:], len(rates)]
    return [(rates[a], slice(a, b)) for a, b in zip(starts, stops, strict=True)]


def _is_large(p: Tensor) -> bool:
    """Whether a separate kernel call costs less than copying the parameter to a pack and back."""
    return p.ndim > 0 and p[0].numel() >= LARGE and (p.is_cuda or p[0].numel() % VECTOR == 0)


class _Pack:
    """The small parameters of an optimiser side by side, [R, numbers], for one kernel call.

    On a CPU the kernel rounds the numbers that do not fill a vector register differently. Every row
    is padded to whole registers, so that a replica equals the run alone bit for bit.
    """

    def __init__(self, params: list[Tensor], indices: list[int]) -> None:
        self.indices, self.params = indices, [params[i] for i in indices]
        self.grads, self._grads = self._side_by_side()
        self.step, self._step = self._side_by_side()

    def _side_by_side(self) -> tuple[Tensor, list[Tensor]]:
        """Zeros [R, numbers], and views of them in the shapes of the parameters."""
        first = self.params[0]
        rows = len(first) if first.ndim else 1
        self._sizes = [p.numel() // rows for p in self.params]
        self._sizes.append(-sum(self._sizes) % VECTOR)
        whole = torch.zeros(rows, sum(self._sizes), dtype=first.dtype, device=first.device)
        return whole, self.parts(whole)

    def parts(self, whole: Tensor) -> list[Tensor]:
        """Views of [R, numbers] in the shapes of the parameters."""
        parts = zip(whole.split(self._sizes, dim=1), self.params, strict=False)
        return [part.view(p.shape) for part, p in parts]

    def gather(self, grads: list[Tensor]) -> None:
        """Copy the gradients in and reset the step to zero."""
        torch._foreach_copy_(self._grads, [grads[i] for i in self.indices])
        self.step.zero_()

    def apply(self, rates: list[Tensor]) -> None:
        """Add the step to the parameters, times each replica's rate."""
        torch._foreach_addcmul_(self.params, self._step, [rates[i] for i in self.indices])


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton, 2012), one learning rate per replica."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float | Tensor,
        alpha: float = 0.99,
        eps: float = 1e-8,
    ) -> None:
        self.alpha, self.eps = alpha, eps
        super().__init__(params, lr)

    def start(self) -> dict[str, list[Tensor]]:
        return {"v": [torch.zeros_like(p) for p in self.params]}

    def update(self, grads: list[Tensor], lr: float | Tensor, rates: list[Tensor]) -> None:
        v = self.state["v"]
        torch._foreach_mul_(v, self.alpha)
        torch._foreach_addcmul_(v, grads, grads, 1 - self.alpha)
        size = torch._foreach_sqrt(v)
        torch._foreach_add_(size, self.eps)
        moved = torch._foreach_div(grads, size)
        torch._foreach_addcmul_(self.params, moved, rates, value=-1)


def _per_replica(lr: float | Tensor, p: Tensor) -> Tensor:
    """The learning rate in a shape that multiplies p: a scalar, or [R, 1, ...]."""
    rate = torch.as_tensor(lr, dtype=p.dtype, device=p.device)
    if rate.ndim > 1 or (rate.ndim and (p.ndim == 0 or len(p) != len(rate))):
        raise ValueError(f"{rate.numel()} learning rates for a parameter of shape {list(p.shape)}")
    return rate.reshape(rate.shape + (1,) * (p.ndim - rate.ndim)).clone()

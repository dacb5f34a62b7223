"""Many runs in one process: stacked layers, a learning rate and a random stream per replica.

A replica axis R stands first in every parameter. Nothing here reduces over it, so a replica
equals the run alone; `relax.backward` sums over it for the same reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

VECTOR = 16  # float32 numbers in the widest vector register
LARGE = 2**12  # numbers per replica from which a parameter is moved by a call of its own


class Streams:
    """One stream of random numbers per seed, the same whatever the number of seeds beside it.

    `rand(*shape)` and `randn(*shape)` return [R, *shape], `randint(high, *shape)` integers below
    `high`. Numbers are drawn in blocks of `block` per seed, because a generator call per seed and
    step would cost more than the step. `state_dict` restores the position bit for bit.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        block: int = 4096,
    ) -> None:
        self.device, self.block = torch.device(device), block
        self.dtype = dtype or torch.get_default_dtype()
        self.generators = [torch.Generator(self.device).manual_seed(int(s)) for s in seeds]
        self._blocks = {kind: _Block() for kind in ("rand", "randn")}

    def __len__(self) -> int:
        return len(self.generators)

    def rand(self, *shape: int) -> Tensor:
        """Uniform on [0, 1), [R, *shape]."""
        return self._take("rand", shape)

    def randn(self, *shape: int) -> Tensor:
        """Standard normal, [R, *shape]."""
        return self._take("randn", shape)

    def randint(self, high: int, *shape: int) -> Tensor:
        """Integers in [0, high), [R, *shape]."""
        return (self.rand(*shape) * high).long().clamp_(max=high - 1)

    def state_dict(self) -> dict:
        return {
            kind: {"before": block.before, "size": block.size, "position": block.position}
            for kind, block in self._blocks.items()
        } | {"generators": self._generator_states()}

    def load_state_dict(self, state: dict) -> None:
        for kind, block in self._blocks.items():
            saved = state[kind]
            block.before, block.numbers, block.size = saved["before"], None, 0
            if block.before is not None:  # draw the block again from where it was first drawn
                self._set_generators(block.before)
                self._fill(kind, saved["size"])
            block.position = saved["position"]
        self._set_generators(state["generators"])

    def _take(self, kind: str, shape: tuple[int, ...]) -> Tensor:
        block, count = self._blocks[kind], math.prod(shape)
        if block.numbers is None or block.position + count > block.size:
            block.before = self._generator_states()
            self._fill(kind, max(self.block, count))
        numbers = block.numbers
        assert numbers is not None
        taken = numbers[:, block.position : block.position + count]
        block.position += count
        return taken.reshape(len(self), *shape)

    def _fill(self, kind: str, size: int) -> None:
        block, make = self._blocks[kind], torch.rand if kind == "rand" else torch.randn
        rows = [
            make(size, generator=g, device=self.device, dtype=self.dtype) for g in self.generators
        ]
        block.numbers, block.size, block.position = torch.stack(rows), size, 0

    def _generator_states(self) -> Tensor:
        return torch.stack([g.get_state() for g in self.generators])

    def _set_generators(self, states: Tensor) -> None:
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state.clone())


class _Block:
    """A block of numbers drawn ahead, [R, size], and the generators' states before it."""

    numbers: Tensor | None = None
    before: Tensor | None = None
    size = 0
    position = 0


class Linear(nn.Module):
    """x W + b for every replica: x [..., R, B, in] -> [..., R, B, out]; replicas=0: no R axis.

    weight [R, in, out] is Glorot-uniform ("glorot") or zero ("zeros"), bias [R, 1, out] zero.
    `generator` is one torch.Generator, or one per replica, which makes a replica's start the same
    whatever the number beside it.
    """

    def __init__(
        self,
        features_in: int,
        features_out: int,
        replicas: int = 0,
        init: str = "glorot",
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
    ) -> None:
        super().__init__()
        if init not in ("glorot", "zeros"):
            raise ValueError(f"init must be 'glorot' or 'zeros', got {init!r}")
        bound = math.sqrt(6 / (features_in + features_out)) if init == "glorot" else 0.0
        weight = uniform_weights((features_in, features_out), bound, replicas, generator)
        lead = (replicas,) if replicas else ()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(*lead, 1, features_out))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 3 and self.weight.ndim == 3 and 1 not in self.weight.shape[1:]:
            return torch.baddbmm(self.bias, x, self.weight)  # in one pass
        return matmul(x, self.weight) + self.bias


def uniform_weights(
    shape: tuple[int, ...],
    bound: float,
    replicas: int,
    generator: torch.Generator | Sequence[torch.Generator] | None,
) -> Tensor:
    """Uniform(-bound, bound) of [R, *shape], a generator per replica where a sequence is given."""
    if generator is None or isinstance(generator, torch.Generator):
        lead = (replicas,) if replicas else ()
        unit = torch.rand(*lead, *shape, generator=generator)
    else:
        if len(generator) != replicas:
            raise ValueError(f"{len(generator)} generators for {replicas} replicas")
        unit = torch.stack([torch.rand(*shape, generator=g) for g in generator])
    return (2 * unit - 1) * bound


def matmul(x: Tensor, weight: Tensor) -> Tensor:
    """x [..., (R,) B, in] times weight [(R,) in, out].

    Leading axes of x are folded into its rows: broadcasting the weight over them would copy it.
    """
    if weight.shape[-2] == 1:
        return x * weight
    if weight.ndim == 3 and x.ndim == 3:
        if len(weight) == 1 and weight.shape[-1] == 1:
            # One column of one replica is summed in another order than in company.
            return torch.bmm(x.expand(2, -1, -1), weight.expand(2, -1, -1))[:1]
        return torch.bmm(x, weight)  # what @ comes to, after four views
    if weight.ndim == 2 or x.ndim < 3:
        return x @ weight
    lead, (replicas, rows, features) = x.shape[:-3], x.shape[-3:]
    folded = x.reshape(-1, replicas, rows, features).movedim(0, 1).flatten(1, 2)
    out = (folded @ weight).unflatten(1, (-1, rows)).movedim(1, 0)
    return out.reshape(*lead, replicas, rows, weight.shape[-1])


class Optimizer:
    """What Adam and RMSprop share: parameters [R, ...] and a learning rate, a float or [R].

    torch.optim takes one rate for all. A step here works on whole lists of tensors, and nothing is
    read back from the device, so that it can be captured in a CUDA graph.

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

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters; one without a gradient is an error."""
        grads = [p.grad.contiguous() for p in self.params if p.grad is not None]
        if len(grads) < len(self.params):
            raise RuntimeError("a parameter has no gradient: call backward before step")
        self.steps += 1
        self.update(grads)

    def update(self, grads: list[Tensor]) -> None:
        """Change the moments, then the parameters."""
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

    Large parameters are moved in place, the small ones together (`_Pack`).
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
        rates = torch.as_tensor(lr).reshape(-1).tolist()
        starts = [i for i, rate in enumerate(rates) if i == 0 or rate != rates[i - 1]]
        stops = [*starts[1:], len(rates)]
        self._blocks = [(rates[a], slice(a, b)) for a, b in zip(starts, stops, strict=True)]

    def update(self, grads: list[Tensor]) -> None:
        m, v = self.state["m"], self.state["v"]
        count = len(self._large)
        if count:
            params, large = ([x[i] for i in self._large] for x in (self.params, grads))
            self._in_place([params, large, m[:count], v[:count]])
        for pack, m_pack, v_pack in zip(self._packs, m[count:], v[count:], strict=True):
            pack.gather(grads)
            self._kernel([[pack.moved], [pack.grads], [m_pack], [v_pack]], 1.0)
            pack.apply(self._rates)

    def _in_place(self, lists: list[list[Tensor]]) -> None:
        """One call for all replicas that share a rate."""
        if len(self._blocks) == 1:
            self._kernel(lists, self._blocks[0][0])
            return
        for rate, rows in self._blocks:
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


def _is_large(p: Tensor) -> bool:
    """Whether a call for the parameter costs less than moving its numbers to and fro."""
    return p.ndim > 0 and p[0].numel() >= LARGE and (p.is_cuda or p[0].numel() % VECTOR == 0)


class _Pack:
    """The small parameters of an optimiser side by side, [R, numbers], for one call of a kernel.

    On a CPU the kernel rounds the numbers that do not fill a vector register in another way. So
    every row is padded to whole registers: a replica then equals the run alone bit for bit.
    """

    def __init__(self, params: list[Tensor], indices: list[int]) -> None:
        self.indices, self.params = indices, [params[i] for i in indices]
        self.grads, self._grads = self._side_by_side()
        self.moved, self._moved = self._side_by_side()

    def _side_by_side(self) -> tuple[Tensor, list[Tensor]]:
        """Zeros [R, numbers], and the part of every parameter in its shape."""
        first = self.params[0]
        rows = len(first) if first.ndim else 1
        sizes = [p.numel() // rows for p in self.params]
        sizes.append(-sum(sizes) % VECTOR)
        whole = torch.zeros(rows, sum(sizes), dtype=first.dtype, device=first.device)
        parts = zip(whole.split(sizes, dim=1), self.params, strict=False)
        return whole, [part.view(p.shape) for part, p in parts]

    def gather(self, grads: list[Tensor]) -> None:
        """Copy the gradients in and forget the last step."""
        torch._foreach_copy_(self._grads, [grads[i] for i in self.indices])
        self.moved.zero_()

    def apply(self, rates: list[Tensor]) -> None:
        """Add the step to the parameters, times each replica's rate."""
        torch._foreach_addcmul_(self.params, self._moved, [rates[i] for i in self.indices])


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

    def update(self, grads: list[Tensor]) -> None:
        v = self.state["v"]
        torch._foreach_mul_(v, self.alpha)
        torch._foreach_addcmul_(v, grads, grads, 1 - self.alpha)
        size = torch._foreach_sqrt(v)
        torch._foreach_add_(size, self.eps)
        moved = torch._foreach_div(grads, size)
        torch._foreach_addcmul_(self.params, moved, self._rates, value=-1)


def _per_replica(lr: float | Tensor, p: Tensor) -> Tensor:
    """The learning rate in a shape that multiplies p: a scalar, or [R, 1, ...]."""
    rate = torch.as_tensor(lr, dtype=p.dtype, device=p.device)
    if rate.ndim > 1 or (rate.ndim and (p.ndim == 0 or len(p) != len(rate))):
        raise ValueError(f"{rate.numel()} learning rates for a parameter of shape {list(p.shape)}")
    return rate.reshape(rate.shape + (1,) * (p.ndim - rate.ndim)).clone()

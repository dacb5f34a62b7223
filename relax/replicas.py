"""Many runs in one process: stacked layers, a learning rate and a random stream per replica.

A replica axis R stands first in every parameter. Nothing here reduces over it, so a replica
equals the run alone; `relax.backward` sums over it for the same reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn


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
            block.before = saved["before"]
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
    if weight.ndim == 2 or x.ndim <= 3:
        return x @ weight
    lead, (replicas, rows, features) = x.shape[:-3], x.shape[-3:]
    folded = x.reshape(-1, replicas, rows, features).movedim(0, 1).flatten(1, 2)
    out = (folded @ weight).unflatten(1, (-1, rows)).movedim(1, 0)
    return out.reshape(*lead, replicas, rows, weight.shape[-1])


class StackedOptimizer:
    """A torch optimiser whose learning rate may differ from replica to replica.

    lr: a float, or a tensor [R]; then every parameter is [R, ...], and each replica's slice is a
    parameter of its own, sharing storage, in a group with its own rate. Make it after the
    parameters are on their device.

    Raises ValueError for no parameters, a negative rate, or rates that do not fit.
    """

    def __init__(
        self,
        make: Callable[[list[dict]], torch.optim.Optimizer],
        params: Iterable[Tensor],
        lr: float | Tensor,
    ) -> None:
        self.params = [p for p in params if p.requires_grad]
        rates = torch.as_tensor(lr, dtype=torch.float64)
        if not self.params:
            raise ValueError("the optimiser got no parameters")
        if bool((rates < 0).any()):
            raise ValueError(f"learning rates must not be negative, got {lr}")
        if rates.ndim and any(p.ndim == 0 or len(p) != len(rates) for p in self.params):
            shapes = [list(p.shape) for p in self.params]
            raise ValueError(f"{len(rates)} learning rates for parameters of shapes {shapes}")
        self._slices: list[list[Tensor]] = [
            [nn.Parameter(p.detach()[r]) for p in self.params]
            for r in range(len(rates) if rates.ndim else 0)
        ]
        groups = [
            {"params": ps, "lr": float(rate)}
            for ps, rate in zip(self._slices or [self.params], rates.reshape(-1), strict=True)
        ]
        self.optimizer = make(groups)

    def zero_grad(self) -> None:
        for p in self.params:
            p.grad = None

    def set_lr(self, lr: float | Tensor) -> None:
        """Change the learning rate (a float, or [R] where it was made with [R]) from now on."""
        groups = self.optimizer.param_groups
        rates = torch.as_tensor(lr, dtype=torch.float64).expand(len(groups)).tolist()
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate

    def step(self) -> None:
        for r, row in enumerate(self._slices):
            for p, whole in zip(row, self.params, strict=True):
                p.grad = None if whole.grad is None else whole.grad[r]
        self.optimizer.step()

    def state_dict(self) -> dict:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.optimizer.load_state_dict(state)


def Adam(  # noqa: N802
    params: Iterable[Tensor],
    lr: float | Tensor,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> StackedOptimizer:
    """torch's fused Adam with a learning rate per replica."""

    def make(groups: list[dict]) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            groups, betas=betas, eps=eps, fused=True, capturable=_on_gpu(groups)
        )

    return StackedOptimizer(make, params, lr)


def RMSprop(  # noqa: N802
    params: Iterable[Tensor], lr: float | Tensor, alpha: float = 0.99, eps: float = 1e-8
) -> StackedOptimizer:
    """torch's RMSprop with a learning rate per replica."""

    def make(groups: list[dict]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(
            groups, alpha=alpha, eps=eps, foreach=True, capturable=_on_gpu(groups)
        )

    return StackedOptimizer(make, params, lr)


def _on_gpu(groups: list[dict]) -> bool:
    return any(p.is_cuda for group in groups for p in group["params"])

"""Random streams: one per seed, read in blocks and resumed bit for bit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


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

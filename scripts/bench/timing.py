"""Times that can be compared on a machine that other processes use as well.

The steps of a group take turns, so that a disturbance affects all of them, and ratios are taken
turn by turn. On a CPU, process time is measured; on a GPU, wall-clock time until it is idle.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

Steps = dict[str, Callable[[], object]]


class Effort(NamedTuple):
    """How long is measured. frames: of each seed of the collapsed policies."""

    turns: int = 9
    seconds: float = 0.05  # of a step in a turn
    rl_seconds: float = 2.0  # of a policy's training in a turn
    frames: int = 10_000


FULL = Effort()
QUICK = Effort(turns=3, seconds=0.005, rl_seconds=0.1, frames=200)


class Group:
    """Steps timed in turns; `seconds[name]` has the time of one step in every turn."""

    def __init__(self, steps: Steps, effort: Effort = FULL, gpu: bool = False) -> None:
        self.gpu = gpu
        counts = {name: self._calls(step, effort.seconds) for name, step in steps.items()}
        times: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(effort.turns):
            for name, step in steps.items():
                times[name].append(self._time(step, counts[name]))
        self.seconds = {name: np.array(values) for name, values in times.items()}

    def median(self, name: str) -> float:
        """Seconds of one step, the median over turns."""
        return float(np.median(self.seconds[name]))

    def ratios(self, slow: str, fast: str) -> np.ndarray:
        """How many times as long `slow` takes, in every turn."""
        return self.seconds[slow] / self.seconds[fast]

    def _calls(self, step: Callable[[], object], seconds: float) -> int:
        """The number of calls that take `seconds`, after some calls for compilation and caches."""
        for _ in range(4):
            step()
        return max(1, round(seconds / max(self._time(step, 2), 1e-6)))

    def _time(self, step: Callable[[], object], calls: int) -> float:
        clock = time.perf_counter if self.gpu else time.process_time
        if self.gpu:
            torch.cuda.synchronize()
        start = clock()
        for _ in range(calls):
            step()
        if self.gpu:
            torch.cuda.synchronize()
        return (clock() - start) / calls

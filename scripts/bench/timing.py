"""Times that can be compared on a machine that other processes use as well.

The steps of a group take turns, so that a disturbance affects all of them, and ratios are taken
turn by turn. On a CPU, process time is measured; on a GPU, wall-clock time until it is idle.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

Steps = dict[str, Callable[[], object]]


class Group:
    """Steps timed in turns; `seconds[name]` has the time of one step in every turn."""

    def __init__(self, steps: Steps, device: torch.device, turns: int = 9, seconds: float = 0.03):
        self.device = device
        counts = {name: self._calls(step, seconds) for name, step in steps.items()}
        times: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(turns):
            for name, step in steps.items():
                times[name].append(self._time(step, counts[name]))
        self.seconds = {name: np.array(values) for name, values in times.items()}

    def ms(self, name: str) -> float:
        """Milliseconds of one step, the median over turns."""
        return 1e3 * float(np.median(self.seconds[name]))

    def ratio(self, slow: str, fast: str) -> float:
        """How many times as long `slow` takes, the median over turns."""
        return float(np.median(self.seconds[slow] / self.seconds[fast]))

    def _calls(self, step: Callable[[], object], seconds: float) -> int:
        """The number of calls that take `seconds`, after some calls for compilation and caches."""
        for _ in range(4):
            step()
        return max(1, round(seconds / max(self._time(step, 2), 1e-6)))

    def _time(self, step: Callable[[], object], calls: int) -> float:
        on_gpu = self.device.type == "cuda"
        clock = time.perf_counter if on_gpu else time.process_time
        if on_gpu:
            torch.cuda.synchronize()
        start = clock()
        for _ in range(calls):
            step()
        if on_gpu:
            torch.cuda.synchronize()
        return (clock() - start) / calls

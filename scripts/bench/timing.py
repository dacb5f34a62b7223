"""Times that can be compared on a machine that others use as well.

All contenders of a group take turns, so that a disturbance meets them alike, and ratios are taken
turn by turn. On a CPU the process's own seconds are counted, which on an idle machine are the
clock's; on a GPU the clock's, to the end of what was started.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

Steps = dict[str, Callable[[], object]]


class Group:
    """Contenders that were timed in turns: `seconds[name]` holds one step's time in every turn."""

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
        """Calls that fill `seconds`, after enough of them that compilers and caches are warm."""
        for _ in range(4):
            step()
        return max(1, round(seconds / max(self._time(step, 2), 1e-6)))

    def _time(self, step: Callable[[], object], calls: int) -> float:
        on_gpu = self.device.type == "cuda"
        clock = time.perf_counter if on_gpu else time.process_time
        if on_gpu:
            torch.cuda.synchronize()
        begun = clock()
        for _ in range(calls):
            step()
        if on_gpu:
            torch.cuda.synchronize()
        return (clock() - begun) / calls

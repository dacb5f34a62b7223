"""The progress of a run: a bar on a terminal, elsewhere one line per tenth of the run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def duration(seconds: float) -> str:
    """45 s, 3.2 min, 1.5 h"""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Progress:
    """The progress of one run of `steps` steps.

    Args:
        bar: draw a bar if the output is a terminal; False if several processes share it.
        metric: returns the text that follows; called only when something is drawn, because its
            value may still be on a GPU.
    """

    def __init__(self, name: str, steps: int, bar: bool, metric: Callable[[], str]):
        self.name, self.steps, self.metric = name, max(steps, 1), metric
        self.bar = bar and sys.stdout.isatty()
        self._drawn = False

    def start(self, step: int) -> None:
        """Start to count at `step`, where the run starts or resumes."""
        self._first, self._tenth = step, 10 * step // self.steps
        self._began, self._last = time.monotonic(), 0.0

    def show(self, step: int) -> None:
        """Draw at most four times a second; cheap enough for every step."""
        if self.bar:
            now = time.monotonic()
            if now - self._last >= 0.25 or step >= self.steps:
                self._last, self._drawn = now, True
                filled = "#" * (20 * step // self.steps)
                print(f"\r[{filled:<20}] {self._line(step)}\x1b[K", end="", flush=True)
        elif 10 * step // self.steps > self._tenth:
            self._tenth = 10 * step // self.steps
            # One write per line, because other processes may write at the same time.
            print(self._line(step) + "\n", end="", flush=True)

    def wipe(self) -> None:
        """Erase the bar, before the last line is printed."""
        if self._drawn:
            print("\r\x1b[K", end="")
        self._drawn = False

    def leave(self) -> None:
        """End the line of the bar, so that whatever is printed next has a line of its own."""
        if self._drawn:
            print(flush=True)
        self._drawn = False

    def _line(self, step: int) -> str:
        rate = (step - self._first) / max(time.monotonic() - self._began, 1e-9)
        left = duration((self.steps - step) / rate) if rate else "?"
        share = f"{step / self.steps:4.0%}  {step}/{self.steps}"
        return f"{self.name}  {share}  {rate:.3g} it/s  {left} left  {self.metric()}"

"""What a person sees while a run goes: a bar on a terminal, elsewhere a line per tenth."""

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
    """The progress of one run of `steps` steps; bar=False where several processes share a terminal.

    metric() is asked only when something is drawn: its value may still be on a GPU.
    """

    def __init__(self, name: str, steps: int, bar: bool, metric: Callable[[], str]):
        self.name, self.steps, self.metric = name, max(steps, 1), metric
        self.bar = bar and sys.stdout.isatty()
        self._drawn = False

    def start(self, step: int) -> None:
        """The run goes on from `step`."""
        self._first, self._tenth = step, 10 * step // self.steps
        self._began, self._last = time.monotonic(), 0.0

    def show(self, step: int, text: str = "") -> None:
        """Cheap enough for every step: it draws at most four times a second."""
        if self.bar:
            now = time.monotonic()
            if now - self._last >= 0.25 or step >= self.steps:
                self._last, self._drawn = now, True
                filled = "#" * (20 * step // self.steps)
                print(f"\r[{filled:<20}] {self._line(step, text)}\x1b[K", end="", flush=True)
        elif 10 * step // self.steps > self._tenth:
            self._tenth = 10 * step // self.steps
            # In one write, because other processes may write there too.
            print(self._line(step, text) + "\n", end="", flush=True)

    def wipe(self) -> None:
        """Make room for the last line."""
        if self._drawn:
            print("\r\x1b[K", end="")
        self._drawn = False

    def leave(self) -> None:
        """End the bar's line, for whatever is written next."""
        if self._drawn:
            print(flush=True)
        self._drawn = False

    def _line(self, step: int, text: str) -> str:
        rate = (step - self._first) / max(time.monotonic() - self._began, 1e-9)
        left = duration((self.steps - step) / rate) if rate else "?"
        share = f"{step / self.steps:4.0%}  {step}/{self.steps}"
        return f"{self.name}  {share}  {rate:.3g} it/s  {left} left  {text or self.metric()}"

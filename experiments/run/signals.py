"""How a run stops: the first signal is noted, so that it can save; the second ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from experiments.run.errors import Interrupted


def stop_signals() -> list[signal.Signals]:
    """The signals after which a run saves and leaves; SIGHUP only if it is not ignored (nohup)."""
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    return signals


@contextmanager
def handled_by(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Call `handler(number, frame)` for stop signals inside the block (main thread only)."""
    in_main = threading.current_thread() is threading.main_thread()
    before = {n: signal.signal(n, handler) for n in stop_signals()} if in_main else {}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


class StopRequest:
    """`received` is the first stop signal that came, or None; the second raises Interrupted."""

    def __init__(self, run: str) -> None:
        self.run = run  # its name, for the message
        self.received: signal.Signals | None = None

    def receive(self, number: int, frame: Any) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
        elif number != signal.SIGHUP:  # which a closing terminal sends twice
            raise Interrupted(f"{self.run}: left at once; repeat the command to resume", number)

"""How a run stops: the first signal is noted, so that it can save; the second ends it at once."""

from __future__ import annotations

import signal
import threading
from typing import Any

from experiments.run.errors import Interrupted


def stop_signals() -> list[signal.Signals]:
    """The signals after which a run saves and leaves; SIGHUP only if it is not ignored (nohup)."""
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    return signals


class StopRequest:
    """Inside the `with` block, `received` is the first stop signal that came, or None.

    name: of the run, for the message of the exception that the second signal raises.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.received: signal.Signals | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in stop_signals():
                self._handlers[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
        elif number != signal.SIGHUP:  # which a closing terminal sends twice
            raise Interrupted(f"{self.name}: left at once; repeat the command to resume", number)

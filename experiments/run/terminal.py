"""Standard output and error that may break, or lack a character, without ending the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Unbreakable:
    """A text stream that goes to the null device once nobody reads it (`| head`, a closed window).

    A character that its encoding lacks is written as an escape sequence.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        known = text.encode(encoding, "backslashreplace").decode(encoding)
        self._attempt(self.stream.write, known)
        return len(text)

    def flush(self) -> None:
        self._attempt(self.stream.flush)

    def isatty(self) -> bool:
        return bool(self._attempt(self.stream.isatty))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _attempt(self, action: Callable, *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except (OSError, ValueError):  # ValueError: it is closed
            self._silence()

    def _silence(self) -> None:
        """Redirect the stream to the null device, with what is still in its buffer."""
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, self.stream.fileno())
            os.close(null)
        except (OSError, ValueError):  # it has no file descriptor any more
            self.stream = os.fdopen(null, "w")


@contextmanager
def unbreakable_output() -> Iterator[None]:
    """Make sys.stdout and sys.stderr unbreakable inside the block."""
    _open_what_is_closed()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (Unbreakable(stream) for stream in before)
    try:
        yield
    finally:
        for ours, theirs in zip((sys.stdout, sys.stderr), before, strict=True):
            ours.flush()
            if ours.stream is not theirs:
                ours.stream.close()
        sys.stdout, sys.stderr = before


def _open_what_is_closed() -> None:
    """Reopen streams that were closed when Python started (`>&-`), for which it has None.

    Otherwise the next opened file would get their file descriptors, and with it what C libraries
    and child processes print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))

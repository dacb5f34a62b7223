"""Several runs side by side, each in a process of its own that saves and leaves when told to."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import wait

from experiments.run.errors import Interrupted, UserError, stop_signals
from experiments.run.progress import duration
from experiments.run.tracking import preload


def side_by_side(task: Callable[[str], object], names: Sequence[str], processes: int) -> None:
    """Call `task(name)` for every name, at most `processes` at a time; start the longest first.

    A signal to this process is passed on, and a child whose parent is gone leaves as after
    SIGTERM. Raises UserError when one failed, after all have ended.
    """
    if processes == 1 or len(names) == 1:
        for name in names:
            task(name)
        return
    preload()
    fork = multiprocessing.get_context("fork")
    waiting, running, statuses, stopped = list(names), {}, {}, []

    def pass_on(number, frame):
        stopped.append(number)
        waiting.clear()
        for child in running.values():
            os.kill(child.pid, number)

    handlers = {n: signal.signal(n, pass_on) for n in stop_signals()}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                child = fork.Process(target=_child, args=(task, waiting[0]))
                child.start()
                running[child.sentinel] = child
                statuses[waiting.pop(0)] = child
            for sentinel in wait(list(running)):
                running.pop(sentinel).join()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    failed = [name for name, child in statuses.items() if child.exitcode]
    if stopped:
        raise Interrupted("stopped; the same command goes on from there", stopped[0])
    if failed:
        raise UserError(f"{', '.join(failed)} did not finish; the reason stands above")


def ahead(costs: Iterable[float], processes: int) -> str:
    """How long `side_by_side` takes for runs of these costs in seconds, the longest first."""
    busy = [0.0] * processes
    for cost in sorted(costs, reverse=True):  # each goes to the process that is free first
        busy[busy.index(min(busy))] += cost
    many = f"{processes} process{'es' * (processes > 1)}"
    return f"{many}; about {duration(max(busy))} if none of it is done yet"


def _child(task: Callable[[str], object], name: str) -> None:
    os.setpgrp()  # the terminal's Ctrl-C goes to the parent, which passes it on once
    for number in stop_signals():
        signal.signal(number, _leave)
    threading.Thread(target=_watch_parent, daemon=True).start()
    try:
        task(name)
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(str(stop) or f"{name}: stopped", file=sys.stderr, flush=True)
        sys.exit(getattr(stop, "status", 130))


def _leave(number, frame) -> None:
    raise Interrupted("stopped before it began", number)


def _watch_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os.kill(os.getpid(), signal.SIGTERM)

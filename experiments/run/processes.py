"""Several runs at a time, each in a process of its own that saves and leaves on a signal."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import wait

from experiments.run.errors import Interrupted, UserError
from experiments.run.progress import duration
from experiments.run.signals import handled_by, stop_signals


def side_by_side(task: Callable[[str], object], names: Sequence[str], processes: int) -> None:
    """Call `task(name)` for every name in this order, in at most `processes` processes at a time.

    A signal to this process is forwarded to its children. A child whose parent has died saves and
    leaves as after SIGTERM.

    Raises:
        UserError: one of them failed; raised after all have ended.
        Interrupted: a signal came.
    """
    if processes == 1 or len(names) == 1:
        for name in names:
            task(name)
        return
    fork = multiprocessing.get_context("fork")
    waiting, children, stopped = list(names), {}, []

    def running() -> list:
        return [child for child in children.values() if child.is_alive()]

    def forward(number, frame):
        stopped.append(number)
        waiting.clear()
        for child in running():
            os.kill(child.pid, number)

    with handled_by(forward):
        while waiting or running():
            while waiting and len(running()) < processes:
                name = waiting.pop(0)
                children[name] = fork.Process(target=_child, args=(task, name))
                children[name].start()
            if alive := running():  # wait([]) would never return
                wait([child.sentinel for child in alive])
    failed = [name for name, child in children.items() if child.exitcode]
    if stopped:
        raise Interrupted("stopped; repeat the command to resume", stopped[0])
    if failed:
        raise UserError(f"{', '.join(failed)} failed; see the error above")


def ahead(costs: Iterable[float], processes: int) -> str:
    """How long `side_by_side` takes for runs of these costs in seconds, the longest first."""
    busy = [0.0] * processes
    for cost in sorted(costs, reverse=True):  # each goes to the process that is free first
        busy[busy.index(min(busy))] += cost
    count = f"{processes} process{'es' * (processes > 1)}"
    return f"{count}; about {duration(max(busy))} unless part of it is done already"


def _child(task: Callable[[str], object], name: str) -> None:
    os.setpgrp()  # the terminal sends Ctrl-C to the parent alone, which forwards it once
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
    raise Interrupted("stopped before it started", number)


def _watch_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os.kill(os.getpid(), signal.SIGTERM)

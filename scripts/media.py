"""Figures for W&B: shown in the group of the runs that they were drawn from, where those are."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def shown(runs: Path, family: str, preset: str, case: str) -> Iterator[Callable[[Path], None]]:
    """Yields a function that is told of every picture of a case.

    W&B starts meanwhile in a process of its own: drawing does not wait for it, nor fail with it.
    """
    folder = runs / family / preset / case
    if not any(folder.glob("*/wandb.json")):
        yield lambda picture: None
        return
    fork = multiprocessing.get_context("fork")
    pictures = fork.SimpleQueue()
    group = f"{family}-{preset}-{case}"
    child = fork.Process(target=_show, args=(folder, group, runs, pictures))
    child.start()
    try:
        yield pictures.put
    finally:
        pictures.put(None)
        child.join()


def _show(folder: Path, group: str, runs: Path, pictures) -> None:
    from experiments.run.tracking import (
        show_figures,  # torch and W&B: two seconds for the child alone
    )

    show_figures(folder, group, runs, iter(pictures.get, None))

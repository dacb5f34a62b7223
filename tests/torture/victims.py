"""A family's command in a separate process, and the files that it writes.

A process is forked after the imports, so that a start takes a tenth of a second instead of five;
from there it runs the entry point with its command line.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.run.files import TOOK

FAMILIES = {  # smoke-sized runs of one to three seconds
    "toy": ("preset=toy/smoke", "estimator=[relax]", "processes=1", "log_every=10"),
    "vae": (
        "preset=vae/smoke",
        "data=digits",
        "estimator=[relax]",
        "estimators.relax={warm_up: 5, hidden: 8}",
        "processes=1",
        "latents=8",
        "batch=100",
        "epochs=5",
        "variance_every=2",
        "pictures=false",
    ),
    "rl": ("preset=rl/smoke", "env=cartpole", "estimator=[relax]", "log_every=1", "clip=false"),
    "permutations": (
        "preset=permutations/smoke",
        "problem=matching",
        "n=5",
        "estimator=[relax]",
        "processes=1",
        "log_every=10",
    ),
}
KEYS = {"step", "seed", "lr", "scale"}


def prepare() -> None:
    """Import what every process needs, once."""
    torch.set_num_threads(1)
    torch.optim.SGD([torch.zeros(1)])
    for family in FAMILIES:
        importlib.import_module(f"experiments.{family}.__main__")
        del sys.modules[f"experiments.{family}.__main__"]  # each process runs it itself


def start(family: str, place: Path, *overrides: str, harm: Callable[[], None] | None = None) -> int:
    """The process id of the family's command, its files under `place`, its output beside it.

    harm: called in the new process before the command begins.
    """
    place.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    status: object = 1
    try:
        log = os.open(log_of(place), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.stdout, sys.stderr = (open(fd, "w", 1, closefd=False) for fd in (1, 2))
        places = (f"runs={place / 'runs'}", f"results={place / 'results'}")
        own = ("save_every=0", "tracking.mode=disabled")
        sys.argv = [f"experiments.{family}", *FAMILIES[family], *places, *own, *overrides]
        if harm:
            harm()
        runpy.run_module(f"experiments.{family}", run_name="__main__")
        status = 0
    except SystemExit as stop:
        status = stop.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status if isinstance(status, int) else 1)


def finish(pid: int) -> int:
    """Wait for the process; its exit status, negative for the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run(family: str, place: Path, *overrides: str, harm: Callable[[], None] | None = None) -> int:
    return finish(start(family, place, *overrides, harm=harm))


def log_of(place: Path) -> Path:
    return place.with_name(place.name + ".log")


def output(place: Path) -> str:
    """Everything that the processes of this folder have printed so far."""
    return log_of(place).read_text() if log_of(place).exists() else ""


def run_folder(place: Path) -> Path:
    """The one run folder under `place`."""
    (config,) = place.glob("runs/**/config.json")
    return config.parent


def files(place: Path) -> dict[str, bytes]:
    """The files of a run that no fault may change: its records, exported curves and summary."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if path.name == "metrics.csv" or (name.startswith("results/") and name.endswith(".csv")):
            found[name] = _timeless(path.read_bytes())
        if path.name == "summary.json":
            summary = json.loads(path.read_text())
            found[name] = json.dumps({k: v for k, v in summary.items() if k not in TOOK}).encode()
    return found


def _timeless(table: bytes) -> bytes:
    head, *rows = [line.split(",") for line in table.decode().splitlines()]
    kept = [i for i, name in enumerate(head) if name not in TOOK]
    return "\n".join(",".join(row[i] for i in kept) for row in (head, *rows)).encode()


@dataclass
class Difference:
    """metrics.csv of a disturbed run against that of the undisturbed one."""

    rows: int
    lost: int
    doubled: int
    equal: bool  # every byte of every file


def compare(place: Path, whole: Path) -> Difference:
    wanted, found = files(whole), files(place)
    rows, lost, doubled = 0, 0, 0
    for name in (name for name in wanted if name.endswith("metrics.csv")):
        before, after = (_rows(data.get(name, b"")) for data in (wanted, found))
        rows += len(before)
        lost += (Counter(before) - Counter(after)).total()
        doubled += len(after) - len({key for key, _ in after})
    return Difference(rows, lost, doubled, wanted == found)


def _rows(data: bytes) -> list[tuple[tuple[str, ...], str]]:
    """(the row's step, seed and rates; the row itself)"""
    head, *lines = data.decode().splitlines() or [""]
    keys = [index for index, name in enumerate(head.split(",")) if name in KEYS]
    cells = [line.split(",") for line in lines]
    return [(tuple(row[k] for k in keys), ",".join(row)) for row in cells]

"""Replicas in several processes: every rank trains its own, and their results are merged.

    torchrun --nproc-per-node 4 -m experiments.vae preset=vae/paper      (a rank per GPU)
    python -m experiments.vae estimator=[relax] seeds=8 processes=2      (a rank per CPU core)

Each rank trains in a run folder of its own (relax.rank0of4), which is saved and resumed like any
other, and nothing is exchanged until all are done. Then the folder is written that a single process
would have written, with the same metrics.csv: replicas do not depend on each other.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

from torch import distributed

from experiments.run.errors import check
from experiments.run.files import disk_errors, write_whole

PATIENCE = timedelta(days=30)  # the first rank to finish waits for the last
FILES = ("config.json", "summary.json", "metrics.csv")
Summarise = Callable[[Path, list[dict[str, Any]]], dict[str, Any]]


def rank() -> int:
    return int(os.environ.get("RANK", 0))


def size() -> int:
    """The number of ranks; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", 1))


def alone(what: str) -> None:
    """Raise a UserError under torchrun, for what cannot be distributed."""
    check(size() == 1, f"{what} is for one process: start it without torchrun")


def own_gpu() -> None:
    """Make one GPU visible to this process, before CUDA is initialised."""
    if size() > 1:
        local = int(os.environ.get("LOCAL_RANK", 0))
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        gpus = [gpu for gpu in visible.split(",") if gpu] or [str(local)]
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[local % len(gpus)]


def mine(rows: Sequence[Any]) -> list[Any]:
    """This rank's replicas: every size()-th."""
    return list(rows)[rank() :: size()]


def shard(path: Path) -> Path:
    """The run folder of this rank's replicas; the run's own if there is one rank."""
    return path if size() == 1 else path.with_name(f"{path.name}.rank{rank()}of{size()}")


def whole(folder: Path) -> Path:
    """The run folder of all replicas, for that of a rank."""
    return folder.with_name(re.sub(r"\.rank\d+of\d+$", "", folder.name))


@contextmanager
def acting_as(rank: int, size: int) -> Iterator[None]:
    """Be this rank of so many in the block, as a process of torchrun is."""
    before = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE")}
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def count(path: Path, wanted: int) -> int:
    """How many ranks this process starts for a run: as many as began it, `wanted` if nobody did.

    One under torchrun, whose processes are the ranks.
    """
    if size() > 1:
        return 1
    begun = [found.name for found in path.parent.glob(f"{path.name}.rank0of*")]
    if begun:
        return int(min(begun).rpartition("of")[2])
    return 1 if path.exists() else wanted


def merge(path: Path, size: int, summarise: Summarise) -> None:
    """Write the run folder of which `size` ranks on this machine have trained the replicas.

    Args:
        path, summarise: as in `gather`.
    """
    parts = []
    for number in range(size):
        with acting_as(number, size):
            parts.append(_read(shard(path)))
    _merge(path, parts, summarise)


def gather(paths: Iterable[Path], summarise: Summarise) -> bool:
    """Merge the run folders of torchrun's ranks, on rank 0.

    Args:
        paths: the run folders of the undivided run.
        summarise: (the merged run's folder, the ranks' summaries) -> the merged summary.

    Returns:
        Whether this process should continue: True on rank 0 and without torchrun.
    """
    if size() == 1:
        return True
    found = {path: _read(shard(path)) for path in paths}
    distributed.init_process_group("gloo", timeout=PATIENCE)
    everything = [None] * size() if rank() == 0 else None
    distributed.gather_object(found, everything)
    distributed.destroy_process_group()
    for path in found if rank() == 0 else ():
        _merge(path, [part[path] for part in everything if part[path]], summarise)
    return rank() == 0


def _read(folder: Path) -> dict[str, str]:
    """The files of one rank's run; empty where it had no replicas."""
    if not folder.exists():
        return {}
    with disk_errors(folder, "read"):
        return {name: (folder / name).read_text() for name in FILES}


def _merge(path: Path, parts: list[dict[str, str]], summarise: Summarise) -> None:
    with disk_errors(path, "write"):
        path.mkdir(parents=True, exist_ok=True)
        with acting_as(0, len(parts)):
            pictures = shard(path) / "media"  # of the first replica
        if pictures.exists():
            shutil.copytree(pictures, path / "media", dirs_exist_ok=True)
        write_whole(path / "config.json", parts[0]["config.json"].encode())
        record = interleaved([part["metrics.csv"] for part in parts])
        write_whole(path / "metrics.csv", record.encode())
        summaries = [json.loads(part["summary.json"]) for part in parts]
        summary = {"step": summaries[0]["step"], **summarise(path, summaries)}
        summary |= {"seconds": max(part["seconds"] for part in summaries)}
        summary |= {"device": f"{len(parts)} x {summaries[0]['device']}"}
        write_whole(path / "summary.json", (json.dumps(summary, indent=1) + "\n").encode())


def interleaved(records: list[str]) -> str:
    """Merge several metrics.csv, each with every n-th row of each step, into one."""
    head, steps = "", [{} for _ in records]
    for found, record in zip(steps, records, strict=True):
        head, *lines = record.splitlines()
        for line in lines:
            found.setdefault(line.partition(",")[0], []).append(line)
    merged = [head]
    for step in steps[0]:
        rows = zip_longest(*(found.get(step, []) for found in steps))
        merged += [line for turn in rows for line in turn if line is not None]
    return "\n".join(merged) + "\n"


def united(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge summaries: lists have one value per replica, dictionaries are joined."""
    merged = dict(summaries[0])
    for key, value in merged.items():
        values = [summary[key] for summary in summaries]
        if isinstance(value, list):
            turns = zip_longest(*values, fillvalue=...)
            merged[key] = [one for turn in turns for one in turn if one is not ...]
        elif isinstance(value, dict):
            merged[key] = {name: one for part in values for name, one in part.items()}
    return merged

"""Several GPUs: torchrun gives every rank its own replicas, and rank 0 merges their results.

    torchrun --nproc-per-node 4 -m experiments.vae preset=vae/paper

Each rank trains in a run folder of its own (relax.rank0of4), which is saved and resumed like any
other, and nothing is exchanged until all are done. Rank 0 then writes the folder that a run on one
GPU would have written, with the same metrics.csv: replicas do not depend on each other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

from torch import distributed

from experiments.run.errors import check
from experiments.run.files import disk_errors, write_whole

PATIENCE = timedelta(days=30)  # the first rank to finish waits for the last
FILES = ("config.json", "summary.json", "metrics.csv")


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
    """The run folder of this rank's replicas; the run's own without torchrun."""
    return path if size() == 1 else path.with_name(f"{path.name}.rank{rank()}of{size()}")


def gather(
    paths: Iterable[Path], summarise: Callable[[Path, list[dict[str, Any]]], dict[str, Any]]
) -> bool:
    """Merge the ranks' run folders on rank 0.

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


def _merge(path: Path, parts: list[dict[str, str]], summarise: Callable) -> None:
    with disk_errors(path, "write"):
        path.mkdir(parents=True, exist_ok=True)
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

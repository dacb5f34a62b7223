"""Checkpoints: a state with a checksum, without code that runs on loading. Two are kept."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from experiments.run.errors import check, in_one_line
from experiments.run.files import write_whole

CHECKPOINTS = ("checkpoint.pt", "checkpoint.old.pt")  # the newest, and the one before
PLAIN = (int, float, bool, str, bytes, type(None))
DIGEST = 32  # bytes of sha256 at the end of a checkpoint: torch.load does not notice a flipped bit


def write_checkpoint(folder: Path, payload: dict[str, Any]) -> None:
    """Write the newest checkpoint whole; the one that was the newest is kept.

    Raises:
        TypeError: the state holds something other than tensors, numbers, strings, lists, dicts.
    """
    newest, previous = (folder / name for name in CHECKPOINTS)
    _only_plain(payload["state"], "state")
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    body = buffer.getvalue()
    write_whole(newest, body + hashlib.sha256(body).digest(), keep=previous)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The payload, with its tensors on the CPU; a ValueError if the file is damaged."""
    data = path.read_bytes()
    body, digest = data[:-DIGEST], data[-DIGEST:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("damaged or not a checkpoint of this program")
    return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)


def newest_usable(folder: Path, refuse: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
    """The newest checkpoint that can be read and that fits; None where there is no checkpoint.

    Args:
        refuse: raises for a payload that does not fit the run.

    Raises:
        UserError: there are checkpoints, but none can be used.
    """
    files = [folder / name for name in CHECKPOINTS if (folder / name).exists()]
    for file in files:
        try:
            payload = read_checkpoint(file)
            refuse(payload)
        except Exception as error:
            print(f"{file} cannot be used ({in_one_line(error)})", flush=True)
            continue
        if file is not files[0]:
            print(f"{folder}: resuming from the previous checkpoint, step {payload['step']}")
        return payload
    check(not files, f"{folder}: no usable checkpoint; start the run again with fresh=true")
    return None


def _only_plain(value: Any, where: str) -> None:
    """Refuse when saving what torch.load with weights_only=True would refuse when loading."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _only_plain(key, f"a key of {where}")
            _only_plain(inner, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _only_plain(inner, f"{where}[{index}]")
    elif type(value) not in PLAIN and not isinstance(value, torch.Tensor):
        raise TypeError(
            f"{where} is a {type(value).__name__}; a checkpoint holds plain values only"
        )

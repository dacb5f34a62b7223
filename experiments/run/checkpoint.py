"""The file format of checkpoints: a state with a checksum, without code that runs on loading."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from experiments.run.files import write_whole

PLAIN = (int, float, bool, str, bytes, type(None))
DIGEST = 32  # bytes of sha256 at the end of a checkpoint: torch.load does not notice a flipped bit


def write_checkpoint(path: Path, payload: dict[str, Any], keep: Path) -> None:
    """Write a checkpoint whole; the file that was there is kept as `keep`.

    Raises:
        TypeError: the payload holds something other than tensors, numbers, strings, lists, dicts.
    """
    _only_plain(payload["state"], "state")
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    body = buffer.getvalue()
    write_whole(path, body + hashlib.sha256(body).digest(), keep=keep)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The payload, with its tensors on the CPU; a ValueError if the file is damaged."""
    data = path.read_bytes()
    body, digest = data[:-DIGEST], data[-DIGEST:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("damaged or not a checkpoint of this program")
    return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)


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

"""Checkpoints that are damaged, or hold code."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from pathlib import Path

import torch

from experiments.run import folder as run_folder
from experiments.run.checkpoint import DIGEST
from tests.torture.fault import kill_midway, refused, resume


def damaged_checkpoint(place: Path, whole: Path) -> str:
    harms = {
        "flipped": lambda data: data[:500] + bytes([data[500] ^ 1]) + data[501:],
        "truncated": lambda data: data[: len(data) // 2],
        "empty": lambda data: b"",
        "foreign": lambda data: sealed({"step": 9, "config": "{}", "records": {}, "state": {}}),
        "unsealed": lambda data: data[:-DIGEST],
    }
    for name, harm in harms.items():
        newest = kill_midway(place / name) / "checkpoint.pt"
        newest.write_bytes(harm(newest.read_bytes()))
        written = resume(place / name, whole)
        assert "resuming from the previous checkpoint" in written, written
    return f"{', '.join(harms)}: resuming from the previous checkpoint"


def sealed(payload: dict) -> bytes:
    """A checkpoint file with a digest that fits."""
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    return buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest()


def two_damaged_checkpoints(place: Path, whole: Path) -> str:
    folder = kill_midway(place)
    for name in run_folder.CHECKPOINTS:
        (folder / name).write_bytes(b"x" * 1000)
    line = refused(place)
    assert "fresh=true" in line, line
    resume(place, whole, "fresh=true")
    return line


def checkpoint_with_code(place: Path, whole: Path) -> str:
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(place / "owned"),)

    newest = kill_midway(place) / "checkpoint.pt"
    newest.write_bytes(sealed({"state": Evil()}))
    resume(place, whole)
    pickled = pickle.dumps(Evil())
    (place / "other").mkdir()
    newest = kill_midway(place / "other") / "checkpoint.pt"
    newest.write_bytes(pickled + hashlib.sha256(pickled).digest())
    resume(place / "other", whole)
    assert not (place / "owned").exists(), "the code was run"
    return "not run; resuming from the previous checkpoint"

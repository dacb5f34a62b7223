"""Checkpoints that are damaged, foreign or cannot be written."""

import errno
import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.run.checkpoint import DIGEST
from experiments.run.errors import UserError
from experiments.run.folder import RunFolder
from experiments.run.tracker import Tracker
from tests.walks import OFF, walk
from tests.walks import whole as whole  # a fixture


def interrupted(run: Path, saves: list[int] | None = None) -> None:
    """A run that was killed after 40 steps, as its folder shows it."""
    walk(run, steps=40, saves=saves or ())
    (run / "summary.json").unlink()


@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "foreign", "pickle"])
def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, whole, harm, capfd):
    run = tmp_path / "run"
    interrupted(run, saves=[25])
    newest = run / "checkpoint.pt"
    data = bytearray(newest.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 1
    elif harm == "foreign":
        walk(tmp_path / "other", steps=40, config={"lr": 0.2})
        data = (tmp_path / "other" / "checkpoint.pt").read_bytes()
    elif harm == "pickle":
        torch.save({"a": 1}, newest)
        data = newest.read_bytes()
    newest.write_bytes({"truncate": data[: len(data) // 2], "empty": b""}.get(harm, bytes(data)))
    walk(run)
    assert (run / "metrics.csv").read_bytes() == whole
    out = capfd.readouterr().out
    assert "checkpoint.pt cannot be used" in out and "previous checkpoint, step 25" in out


def test_two_damaged_checkpoints_are_an_error_and_nothing_is_written_over(tmp_path):
    interrupted(tmp_path, saves=[25])
    for name in ("checkpoint.pt", "checkpoint.old.pt"):
        (tmp_path / name).write_bytes(b"x" * 100)
    record = (tmp_path / "metrics.csv").read_bytes()
    with pytest.raises(UserError, match="no usable checkpoint.*fresh=true"):
        walk(tmp_path)
    assert (tmp_path / "metrics.csv").read_bytes() == record


def test_a_lost_record_is_an_error(tmp_path):
    interrupted(tmp_path)
    (tmp_path / "metrics.csv").unlink()
    with pytest.raises(UserError, match="fresh=true"):
        walk(tmp_path)


def test_a_state_of_another_version_is_an_error(tmp_path):
    walk(tmp_path, steps=40)

    class Run:
        def load_state_dict(self, state):
            state["momentum"]

    with (
        pytest.raises(UserError, match="another version of this program.*momentum.*fresh=true"),
        RunFolder(tmp_path, {"steps": 60, "lr": 0.1}) as folder,
    ):
        folder.restore(Run())


def test_a_checkpoint_runs_no_code_when_loaded(tmp_path):
    interrupted(tmp_path)

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'owned'}",)

    buffer = io.BytesIO()
    torch.save({"state": Evil()}, buffer)
    body = buffer.getvalue()
    assert len(hashlib.sha256(body).digest()) == DIGEST
    (tmp_path / "checkpoint.pt").write_bytes(body + hashlib.sha256(body).digest())
    with pytest.raises(UserError, match="no usable checkpoint"):
        walk(tmp_path)
    assert not (tmp_path / "owned").exists()


def test_only_plain_values_are_saved(tmp_path):
    with RunFolder(tmp_path, {"steps": 1}) as folder:
        folder.load()
        with Tracker(folder, {"seed": [0]}, ["x"], 1, OFF) as tracker:
            with pytest.raises(TypeError, match=r"state\['lr'\]\[0\] is a float64"):
                folder.save(1, {"lr": [np.float64(0.1)]}, tracker)


def test_full_disk_stops_with_the_last_checkpoint_intact(tmp_path, whole, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill(step):
        if step == 30:
            patch.setattr(os, "fsync", full)

    with monkeypatch.context() as patch, pytest.raises(UserError) as error:
        walk(tmp_path, saves=[20, 31], each=fill)
    assert "the disk is full; the checkpoint of step 20 is intact" in str(error.value)
    assert "\n" not in str(error.value)
    walk(tmp_path)
    assert (tmp_path / "metrics.csv").read_bytes() == whole

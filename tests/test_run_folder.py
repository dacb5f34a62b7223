"""Run folders: other settings, other processes, signals, clocks and file systems without locks."""

import errno
import os
import signal
import time

import pytest
import torch

from experiments.run import files
from experiments.run.errors import Interrupted, UserError
from experiments.run.folder import RunFolder
from experiments.run.tracker import Tracker
from tests.walks import OFF, walk
from tests.walks import whole as whole  # a fixture


def test_another_configuration_is_refused_with_the_difference(tmp_path, whole):
    walk(tmp_path, steps=40)
    record = (tmp_path / "metrics.csv").read_bytes()
    with pytest.raises(UserError) as error:
        walk(tmp_path, config={"lr": 0.2})
    assert "lr=0.1 there, 0.2 here" in str(error.value)
    assert "tag=name" in str(error.value) and "fresh=true" in str(error.value)
    assert (tmp_path / "metrics.csv").read_bytes() == record
    walk(tmp_path, config={"lr": 0.2}, fresh=True)
    assert (tmp_path / "metrics.csv").read_bytes() == whole


def test_two_processes_do_not_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.run.folder.PATIENCE", 0.1)
    with RunFolder(tmp_path, {"steps": 1}):
        with pytest.raises(UserError, match=f"in use by process {os.getpid()}"):
            RunFolder(tmp_path, {"steps": 1}).__enter__()
    with RunFolder(tmp_path, {"steps": 1}):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make"):
        RunFolder(tmp_path / "file" / "run", {}).__enter__()


def test_signal_saves_and_leaves_and_handlers_are_given_back(tmp_path, whole):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="SIGTERM, saved at step 10") as stop:
        with RunFolder(tmp_path, {"steps": 60, "lr": 0.1}) as folder:
            folder.load()
            with Tracker(folder, {"seed": [0, 1, 2]}, ["x", "y"], 60, OFF) as tracker:
                assert not folder.due
                os.kill(os.getpid(), signal.SIGTERM)
                assert folder.due
                folder.save(10, {"x": torch.zeros(3)}, tracker)
    assert stop.value.status == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_clock_going_backwards_changes_nothing(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: -1e9)
    walk(tmp_path)
    assert (tmp_path / "metrics.csv").read_bytes() == whole


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EACCES])
def test_a_file_system_without_locks_is_worked_on_with_a_warning(
    tmp_path, whole, monkeypatch, capsys, number
):
    def flock(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    files._warn_of_no_locks.cache_clear()
    walk(tmp_path)
    with files.locked(tmp_path / "summary.lock"):
        pass
    assert (tmp_path / "metrics.csv").read_bytes() == whole
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: ") and os.strerror(number) in line

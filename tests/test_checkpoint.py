"""Run folders: a run killed anywhere and started again leaves an uninterrupted run's record."""

import errno
import json
import os
import random
import signal
import time

import pytest
import torch

from experiments.run import files
from experiments.run.checkpoint import DIGEST
from experiments.run.config import Tracking
from experiments.run.errors import Interrupted, UserError
from experiments.run.folder import RunFolder
from experiments.run.tracker import Tracker

OFF = Tracking(mode="disabled")


def walk(path, steps=60, pause=0.0, every=1e9, config=None, saves=(), fresh=False, each=None):
    """A random walk of three seeds, as an experiment would run it."""
    config = {"steps": steps, "lr": 0.1, **(config or {})}
    with RunFolder(path, config, fresh=fresh, every=every) as folder:
        if folder.finished(steps):
            return "skipped"
        generator = torch.Generator().manual_seed(0)
        x = torch.zeros(3)
        if state := folder.load():
            x = state["x"]
            generator.set_state(state["generator"])
        with Tracker(folder, {"seed": [0, 1, 2]}, ["x", "y"], steps, OFF) as tracker:
            for step in range(folder.step, steps):
                x += torch.randn(3, generator=generator)
                tracker.log(step + 1, {"x": x})
                if step % 10 == 9:
                    tracker.log(step + 1, {"y": x.double() ** 2})
                time.sleep(pause)
                if each:
                    each(step)
                if folder.due or step + 1 in saves or step + 1 == steps:
                    state = {"x": x, "generator": generator.get_state()}
                    folder.save(step + 1, state, tracker)
            tracker.finish({"x": x.mean().item()}, f"mean {x.mean():.3f}")
    return "done"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The record of a run that nothing disturbed."""
    path = tmp_path_factory.mktemp("whole") / "run"
    walk(path)
    return (path / "metrics.csv").read_bytes()


def test_record_has_one_row_per_step_and_seed(whole):
    lines = whole.decode().splitlines()
    assert lines[0] == "step,seed,x,y"
    assert len(lines) == 1 + 60 * 3
    assert lines[1].endswith(",") and not lines[-1].endswith(",")


def test_finished_run_is_skipped_and_more_steps_continue_it(tmp_path, whole):
    walk(tmp_path / "run", steps=40)
    assert walk(tmp_path / "run", steps=40) == "skipped"
    assert walk(tmp_path / "run", steps=60) == "done"
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == whole
    with pytest.raises(UserError, match="already has 60 steps and 40"):
        walk(tmp_path / "run", steps=40)


def test_the_time_of_earlier_processes_counts(tmp_path):
    walk(tmp_path, steps=20, pause=0.025)
    walk(tmp_path, steps=40)
    assert json.loads((tmp_path / "summary.json").read_text())["seconds"] >= 0.5


def test_a_continued_run_that_is_cut_short_is_not_finished(tmp_path, whole):
    walk(tmp_path, steps=40)
    with pytest.raises(ZeroDivisionError):
        walk(tmp_path, steps=60, saves=[45], each=lambda step: 1 / (step - 50))
    with pytest.raises(UserError, match="already has 45 steps and 40"):
        walk(tmp_path, steps=40)
    walk(tmp_path, steps=60)
    assert (tmp_path / "metrics.csv").read_bytes() == whole


def test_rows_after_the_checkpoint_are_cut(tmp_path, whole):
    walk(tmp_path, steps=30)
    (tmp_path / "summary.json").unlink()
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("31,0,0.1,\n31,1,0.")  # killed in the middle of a row
    walk(tmp_path)
    assert (tmp_path / "metrics.csv").read_bytes() == whole


def start(path):
    """The walk in a process of its own; it leaves as an entry point would."""
    if child := os.fork():
        return child
    status = 1
    try:
        walk(path, pause=0.002, every=0.01)
        status = 0
    except Interrupted as stop:
        status = stop.status if "saved at step" in str(stop) else 1
    finally:
        os._exit(status)


def modified(file):
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:  # it is being renamed
        return 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_killed_at_any_moment_and_started_again(tmp_path, whole, number):
    draw, statuses = random.Random(int(number)), []
    newest = tmp_path / "checkpoint.pt"
    for _ in range(8):
        seen = modified(newest)
        child = start(tmp_path)
        deadline = time.monotonic() + 60
        while modified(newest) in (0, seen):
            assert time.monotonic() < deadline
            time.sleep(0.0005)
            if os.waitpid(child, os.WNOHANG)[0]:
                break  # it was finished before
        else:
            time.sleep(draw.uniform(0, 0.02))
            os.kill(child, number)
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    left = -number if number == signal.SIGKILL else 128 + number
    assert statuses.count(left) >= 2 and set(statuses) <= {left, 0}
    walk(tmp_path)
    assert (tmp_path / "metrics.csv").read_bytes() == whole


def test_killed_between_any_two_system_calls(tmp_path, whole, monkeypatch):
    """Every rename and every write of a save may be the last thing that happens."""

    class Killed(BaseException):
        pass

    calls = {"count": 0}

    def dying(function, at):
        def wrapper(*args, **kwargs):
            calls["count"] += 1
            if calls["count"] == at:
                raise Killed
            return function(*args, **kwargs)

        return wrapper

    for at in range(1, 30):
        path, calls["count"] = tmp_path / str(at), 0
        with monkeypatch.context() as patch, pytest.raises(Killed):
            for name in ("replace", "fsync", "truncate"):
                patch.setattr(os, name, dying(getattr(os, name), at))
            walk(path, saves=range(0, 60, 7))
            raise Killed
        walk(path)
        assert (path / "metrics.csv").read_bytes() == whole, f"killed at call {at}"


@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "foreign", "pickle"])
def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, whole, harm, capfd):
    run = tmp_path / "run"
    walk(run, steps=40, saves=[25])
    (run / "summary.json").unlink()
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
    walk(tmp_path, steps=40, saves=[25])
    (tmp_path / "summary.json").unlink()
    for name in ("checkpoint.pt", "checkpoint.old.pt"):
        (tmp_path / name).write_bytes(b"x" * 100)
    record = (tmp_path / "metrics.csv").read_bytes()
    with pytest.raises(UserError, match="no usable checkpoint.*fresh=true"):
        walk(tmp_path)
    assert (tmp_path / "metrics.csv").read_bytes() == record


def test_a_lost_record_is_an_error(tmp_path):
    walk(tmp_path, steps=40)
    (tmp_path / "summary.json").unlink()
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
    import hashlib
    import io

    walk(tmp_path, steps=40)
    (tmp_path / "summary.json").unlink()

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
    import numpy as np

    with RunFolder(tmp_path, {"steps": 1}) as folder:
        folder.load()
        with Tracker(folder, {"seed": [0]}, ["x"], 1, OFF) as tracker:
            with pytest.raises(TypeError, match=r"state\['lr'\]\[0\] is a float64"):
                folder.save(1, {"lr": [np.float64(0.1)]}, tracker)


def test_full_disk_stops_with_the_last_checkpoint_intact(tmp_path, whole, monkeypatch):
    import errno

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
        with pytest.raises(UserError, match=f"process {os.getpid()} works in this folder"):
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

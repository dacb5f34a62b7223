"""A run killed anywhere and started again leaves an uninterrupted run's record."""

import json
import os
import random
import signal
import time

import pytest

from experiments.run.errors import Interrupted, UserError
from tests.walks import walk
from tests.walks import whole as whole  # a fixture


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

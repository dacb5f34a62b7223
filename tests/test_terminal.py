"""Broken outputs and closed terminals: a run continues, or saves and leaves with one line."""

import io
import os
import pty
import signal
import sys
import time

import pytest

from experiments.run.terminal import unbreakable_output
from tests.torture import victims

SHORT = ("estimator=[relax]", "steps=40", "log_every=20", "seeds=1", "fresh=true")
LONG = ("preset=toy/paper", "seeds=3")  # long enough to be interrupted


@pytest.fixture(scope="module", autouse=True)
def imported():
    victims.prepare()


def finished(place) -> bool:
    return len(list(place.rglob("summary.json"))) == 1 and bool(list(place.rglob("summary.csv")))


# ---- standard output ----


def no_reader():
    """Standard output is a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)


def closed_by_the_shell():
    """As `>&-` leaves it: no file descriptor, and None for the stream."""
    os.close(1)
    sys.stdout = None


def a_full_disk():
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def a_terminal_that_is_gone():
    ours, theirs = pty.openpty()
    os.dup2(theirs, 1)
    sys.stdout = open(1, "w", 1, closefd=False)
    assert sys.stdout.isatty()
    os.close(ours)


@pytest.mark.parametrize(
    "harm", [no_reader, closed_by_the_shell, a_full_disk, a_terminal_that_is_gone]
)
@pytest.mark.parametrize("processes", [1, 2])
def test_training_does_not_need_an_output(tmp_path, harm, processes):
    more = (f"processes={processes}", "estimator=[relax,exact]") if processes == 2 else ()
    assert victims.run("toy", tmp_path, *SHORT, *more, harm=harm) == 0, victims.output(tmp_path)
    assert len(list(tmp_path.rglob("summary.json"))) == processes
    assert "Error" not in victims.output(tmp_path)


def ascii_only():
    sys.stdout = open(1, "w", 1, encoding="ascii", errors="strict", closefd=False)


def test_a_terminal_without_the_path_s_letters(tmp_path):
    places = (f"{name}='{tmp_path / 'Läufe-φ' / name}'" for name in ("runs", "results"))
    assert victims.run("toy", tmp_path, *SHORT, *places, harm=ascii_only) == 0
    assert finished(tmp_path / "Läufe-φ")
    assert "L\\xe4ufe-\\u03c6" in victims.output(tmp_path)


def test_the_streams_are_given_back(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stdout", screen)
    with unbreakable_output():
        print("seen", flush=True)
        assert not sys.stdout.isatty()
    assert sys.stdout is screen and screen.getvalue() == "seen\n"
    screen.close()
    with unbreakable_output():
        print("nobody sees this")


# ---- SIGHUP ----


def wait_for_checkpoints(place, count: int = 1) -> None:
    deadline = time.monotonic() + 60
    while len(list(place.rglob("checkpoint.pt"))) < count:
        assert time.monotonic() < deadline, victims.output(place)
        time.sleep(0.01)


def hangs_up(place, times: int, *overrides: str, runs: int = 1) -> int:
    """Start long runs, send SIGHUP after each one's first checkpoint; the exit status."""
    pid = victims.start("toy", place, *LONG, *overrides)
    wait_for_checkpoints(place, runs)
    for _ in range(times):
        os.kill(pid, signal.SIGHUP)
    return victims.finish(pid)


@pytest.mark.parametrize("times", [1, 3])
def test_a_hangup_saves_and_leaves_in_one_line(tmp_path, times):
    """A closing terminal may send it more than once."""
    assert hangs_up(tmp_path, times) == 128 + signal.SIGHUP
    said = victims.output(tmp_path)
    assert said.count("SIGHUP, saved at step") == 1 and "Traceback" not in said


def test_a_hangup_reaches_every_process(tmp_path):
    both = ("estimator=[relax,rebar]", "processes=2", "seeds=100")
    assert hangs_up(tmp_path, 2, *both, runs=2) == 128 + signal.SIGHUP
    assert len(list(tmp_path.rglob("checkpoint.pt"))) == 2
    assert victims.output(tmp_path).count("SIGHUP, saved at step") == 2


def ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def test_nohup_is_respected(tmp_path):
    pid = victims.start("toy", tmp_path, *LONG, "steps=1500", harm=ignored)
    wait_for_checkpoints(tmp_path)
    os.kill(pid, signal.SIGHUP)
    assert victims.finish(pid) == 0, victims.output(tmp_path)
    assert finished(tmp_path)

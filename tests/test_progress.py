"""What a person sees of a run: lines in a log, a bar on a terminal, times and names."""

import io
import sys

import torch

from experiments.run.folder import RunFolder
from experiments.run.progress import duration
from experiments.run.tracker import Tracker, short
from tests.tracked import DISABLED, track


def terminal(monkeypatch) -> io.StringIO:
    """Put a terminal in place of stdout; no fixture, because pytest replaces it after set-up."""
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdout", screen)
    return screen


def count(path, steps: int, total: int) -> None:
    """A run of one seed that logs its step."""
    with RunFolder(path, {}) as folder:
        folder.load()
        with Tracker(folder, {"seed": [0]}, ["x"], total, DISABLED) as tracker:
            for step in range(1, steps + 1):
                tracker.log(step, {"x": torch.ones(1) * step})
                tracker.progress(step)


def test_a_line_per_tenth_where_there_is_no_terminal(tmp_path, capsys):
    count(tmp_path, steps=1000, total=1000)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert " 50%" in lines[4] and "500/1000" in lines[4] and "x 500" in lines[4]


def test_a_bar_on_a_terminal(tmp_path, monkeypatch):
    screen = terminal(monkeypatch)
    track(tmp_path)
    shown = screen.getvalue()
    assert "\r[####################] " in shown and "4/4" in shown
    assert "\n" not in shown.rsplit("\r", 1)[0]
    last = shown.rsplit("\r", 1)[1]
    assert "toy-relax: loss .5" in last and last.endswith(f"{tmp_path / 'run'}\n")


def test_the_bar_is_drawn_a_few_times_a_second_only(tmp_path, monkeypatch):
    screen = terminal(monkeypatch)
    count(tmp_path, steps=5000, total=10**6)
    assert 0 < screen.getvalue().count("\r") < 20


def test_durations_and_names():
    assert [duration(x) for x in (0.34, 45, 192, 5400)] == ["0.3 s", "45 s", "3.2 min", "1.5 h"]
    assert [short(x) for x in (1e-3, 5e-4, 0.1, 2.0, 3, "a", 0.0, 2.5e-5)] == (
        ["1e-3", "5e-4", "0.1", "2", "3", "a", "0", "2.5e-5"]
    )

"""Two processes in one folder, a killed parent, a clock that goes backwards, W&B that fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from experiments.run import folder as run_folder
from experiments.run import tracking
from tests.torture import victims
from tests.torture.fault import Skip, kill_midway, refused, resume


def two_processes(place: Path, whole: Path) -> str:
    first = victims.start("toy", place)
    while not list(place.glob("runs/**/checkpoint.pt")):
        time.sleep(0.01)
    os.kill(first, signal.SIGSTOP)
    line = refused(place, harm=lambda: setattr(run_folder, "PATIENCE", 0.2))
    os.kill(first, signal.SIGCONT)
    assert str(first) in line, line
    assert victims.finish(first) == 0 and victims.compare(place, whole).equal
    return line


def killed_parent(place: Path, whole: Path) -> str:
    """Two estimators side by side, whose parent is killed."""
    both = ("estimator=[rebar,relax]", "processes=2")
    assert victims.run("toy", place / "whole", *both) == 0
    parent = victims.start("toy", place / "cut", *both)
    while len(list(place.glob("cut/runs/**/checkpoint.pt"))) < 2:
        time.sleep(0.01)
    os.kill(parent, signal.SIGKILL)
    victims.finish(parent)
    resume(place / "cut", place / "whole", *both)
    assert victims.output(place / "cut").count("SIGTERM, saved at step") == 2
    return "both saved and exited; the next start waited for them and resumed"


def clock_backwards(place: Path, whole: Path) -> str:
    def harm():
        real = time.time
        began = real()
        time.time = lambda: began - 3600 * (real() - began)

    resume(place, whole, harm=harm)
    return "nothing: durations use the monotonic clock"


# ---- W&B ----


class Broken:
    """A wandb in which every call fails."""

    def __getattr__(self, name: str):
        raise ConnectionError("W&B is down")


def wandb_down(place: Path, whole: Path) -> str:
    def harm():
        tracking.import_wandb = Broken

    written = resume(place, whole, "tracking.mode=offline", harm=harm)
    (line,) = (line for line in written.splitlines() if "W&B could not" in line)
    return line


def wandb_killed(place: Path, whole: Path) -> str:
    """An offline run that was killed: after resuming, W&B has every step once."""
    program = Path(sys.executable).with_name("wandb")
    if not program.exists():
        raise Skip("wandb is not installed")
    kill_midway(place, "tracking.mode=offline")
    resume(place, whole, "tracking.mode=offline")
    (folder,) = place.glob("runs/wandb/offline-run-*")
    command = [program, "leet", "inspect", "--json", folder]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    records = [json.loads(line) for line in out.splitlines()]
    rows = [r["history"]["item"] for r in records if r["type"] == "history"]
    steps = [row["step"] for row in rows if "loss/median" in row]  # histograms have rows beside
    assert steps == list(range(10, 201, 10)), steps
    return f"one offline run with all {len(steps)} points, each once"

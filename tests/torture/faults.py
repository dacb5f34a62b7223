"""Faults other than a kill: disks, checkpoints, clocks, two processes, W&B.

Each fault is done to a run of the toy; then the run is resumed, and its record must equal that of
an undisturbed run, byte for byte.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.run import folder as run_folder
from experiments.run import tracking
from experiments.run.checkpoint import DIGEST
from tests.torture import victims


class Skip(Exception):
    """Why a fault cannot be produced here."""


@dataclass
class Outcome:
    """result: held, skipped or failed; message: to the user, or the reason."""

    fault: str
    result: str
    message: str


@dataclass
class Fault:
    name: str
    harm: Callable[[Path, Path], str]

    def try_on(self, root: Path) -> Outcome:
        """Under root/faults; root/toy/whole is the undisturbed run."""
        place = root / "faults" / self.harm.__name__
        try:
            line = self.harm(place, root / "toy" / "whole")
        except Skip as reason:
            return Outcome(self.name, "skipped", str(reason))
        except AssertionError as error:
            return Outcome(self.name, "failed", str(error) or repr(error))
        return Outcome(self.name, "held", line.replace(str(place) + "/", "").replace('"', "'"))


def kill_midway(place: Path, *overrides: str) -> Path:
    """A run killed after several checkpoints; its folder."""

    def harm():
        real, seen = os.replace, []

        def replace(*args):
            seen.append(args)
            if len(seen) > 60:
                os.kill(os.getpid(), signal.SIGKILL)
            real(*args)

        os.replace = replace

    assert victims.run("toy", place, *overrides, harm=harm) == -signal.SIGKILL
    return victims.run_folder(place)


def refused(place: Path, *overrides: str, harm=None) -> str:
    """The one line of a run that must be refused and must overwrite nothing."""
    before, already = victims.files(place), len(victims.output(place))
    status = victims.run("toy", place, *overrides, harm=harm)
    written = victims.output(place)[already:]
    lines = [line for line in written.splitlines() if line.startswith("error: ")]
    assert status == 2 and len(lines) == 1 and "Traceback" not in written, (status, written)
    assert victims.files(place) == before, "something was overwritten"
    return lines[0]


def resume(place: Path, whole: Path, *overrides: str, harm=None) -> str:
    """Finish the run; returns what it wrote."""
    already = len(victims.output(place))
    status = victims.run("toy", place, *overrides, harm=harm)
    written = victims.output(place)[already:]
    assert status == 0 and "Traceback" not in written, (status, written)
    difference = victims.compare(place, whole)
    assert difference.equal, difference
    return written


# ---- checkpoints ----


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


# ---- disks ----


@contextmanager
def small_disk(place: Path):
    """A file system of eight megabytes, if it can be mounted."""
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        raise Skip("a small file system cannot be mounted on this machine")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def full_disk(place: Path, whole: Path) -> str:
    with small_disk(place):
        kill_midway(place)
        ballast = place / "ballast"
        for torn in place.rglob("*.tmp"):
            torn.unlink()
        with open(ballast, "wb", 0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass
        line = refused(place)
        assert "the disk is full" in line and "is intact" in line, line
        ballast.unlink()
        resume(place, whole)
    return line


def file_size_limit(place: Path, whole: Path) -> str:
    """A quota: the checkpoint no longer fits, everything smaller does."""
    import resource

    folder = kill_midway(place)
    limit = (folder / "checkpoint.pt").stat().st_size - 1000
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    line = refused(place, harm=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard)))
    assert "cannot save" in line and "is intact" in line, line
    resume(place, whole)
    return line


def read_only(place: Path, whole: Path) -> str:
    with small_disk(place):
        kill_midway(place)
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        line = refused(place)
        assert "read-only" in line.lower(), line
        subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
        resume(place, whole)
    return line


# ---- processes, clocks, W&B ----


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


FAULTS = [
    Fault("damaged checkpoint", damaged_checkpoint),
    Fault("both checkpoints damaged", two_damaged_checkpoints),
    Fault("a checkpoint that holds code", checkpoint_with_code),
    Fault("full disk", full_disk),
    Fault("file too large for a quota", file_size_limit),
    Fault("read-only folders", read_only),
    Fault("two processes in one run folder", two_processes),
    Fault("the parent of two processes killed", killed_parent),
    Fault("clock going backwards", clock_backwards),
    Fault("W&B failing in every call", wandb_down),
    Fault("killed while W&B is offline", wandb_killed),
]

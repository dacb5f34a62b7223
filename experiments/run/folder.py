"""The run folder: its lock, its configuration, its checkpoints, and how a run stops on a signal.

    config.json       what the run computes; the same command finds the same file again
    metrics.csv       the record, written by tracker.py
    media.jsonl       paths of pictures, and histograms
    checkpoint.pt     the newest state; checkpoint.old.pt the one before
    summary.json      written last: the run is finished
    lock              held by the one process that works in this folder

A checkpoint stores the length that the two records had when it was made. Resuming truncates them to
that length, so that no row is lost and none is there twice, wherever the process was killed.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from experiments.run.checkpoint import CHECKPOINTS, newest_usable, write_checkpoint
from experiments.run.errors import Interrupted, UserError, check, in_one_line
from experiments.run.files import disk_errors, wait_for_lock, write_whole
from experiments.run.identity import differences, identity
from experiments.run.signals import StopRequest, handled_by

RECORDS = ("metrics.csv", "media.jsonl")
OURS = (*RECORDS, *CHECKPOINTS, "config.json", "summary.json", "wandb.json")
PATIENCE = 5.0  # seconds to wait for a process that may be about to leave


class RunFolder:
    """One run's folder, locked for this process inside the `with` block.

    Args:
        path: the folder; it is created.
        config: plain values that decide what the run computes; a folder with others is refused.
        free: keys of config that may differ, such as the number of steps.
        fresh: delete the folder's earlier contents.
        every: seconds between checkpoints.

    Attributes:
        step: of the newest checkpoint.
    """

    def __init__(
        self,
        path: str | Path,
        config: dict[str, Any],
        free: tuple[str, ...] = ("steps",),
        fresh: bool = False,
        every: float = 30.0,
    ):
        self.path = Path(path)
        self.config = json.loads(json.dumps(config))
        self.free, self.fresh, self.every = free, fresh, every
        self.step, self.loaded = 0, False
        self.seconds = 0.0  # wall time of earlier processes
        self._target: int | None = None
        self._stop = StopRequest(str(self.path))

    def __enter__(self) -> RunFolder:
        with ExitStack() as stack:
            with disk_errors(self.path, "make"):
                self.path.mkdir(parents=True, exist_ok=True)
                self._lock = stack.enter_context(open(self.path / "lock", "a+"))
            self._take_lock()
            self._clear()
            self._compare_config()
            stack.enter_context(handled_by(self._stop.receive))
            self._leave = stack.pop_all().close  # releases the lock last
        self._entered = self._saved = time.monotonic()
        return self

    def __exit__(self, *exception) -> None:
        self._leave()

    def _take_lock(self) -> None:
        if not wait_for_lock(self._lock, PATIENCE):
            self._lock.seek(0)
            other = self._lock.read().strip() or "unknown"
            raise UserError(f"{self.path}: in use by process {other}; wait for it, or use tag=name")
        with disk_errors(self.path, "write into"):
            self._lock.truncate(0)
            self._lock.write(str(os.getpid()))
            self._lock.flush()

    def _clear(self) -> None:
        """Remove the temporary files of a killed process; with `fresh` everything."""
        with disk_errors(self.path, "empty"):
            for temporary in self.path.glob("*.tmp"):
                temporary.unlink()
            if self.fresh:
                for name in OURS:
                    (self.path / name).unlink(missing_ok=True)
                shutil.rmtree(self.path / "media", ignore_errors=True)

    def _compare_config(self) -> None:
        """Refuse a folder with another configuration and name the difference."""
        file = self.path / "config.json"
        if not file.exists():
            self._write_config()
            return
        try:
            saved = json.loads(file.read_text())
        except ValueError:
            raise UserError(f"{file} is damaged; start the run again with fresh=true") from None
        different = differences(saved, self.config, self.free)
        check(
            not different,
            f"{self.path} holds a run with other settings ({'; '.join(different)}); give "
            "this one its own name (tag=name) or delete the old one (fresh=true)",
        )

    def _write_config(self) -> None:
        file = self.path / "config.json"
        text = json.dumps(self.config, indent=1, sort_keys=True) + "\n"
        if not file.exists() or file.read_text() != text:
            self._write(file, text)

    def _write(self, file: Path, text: str) -> None:
        with disk_errors(file, "write"):
            write_whole(file, text.encode())

    def finished(self, steps: int) -> bool:
        """Whether the run is complete. UserError: it already has more steps than that."""
        self._target = steps
        try:
            done = json.loads((self.path / "summary.json").read_text())["step"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False
        self._check_length(done)
        return done == steps

    def _check_length(self, done: int) -> None:
        steps = self._target
        check(
            steps is None or done <= steps,
            f"{self.path} already has {done} steps and {steps} are asked for; give the shorter run "
            "its own name (tag=name) or delete the old one (fresh=true)",
        )

    def load(self) -> dict[str, Any] | None:
        """The state of the newest usable checkpoint, or None where there is none.

        Truncates the records to their length at that checkpoint. Tensors are on the CPU.
        """
        self.loaded = True
        payload = newest_usable(self.path, self._refuse)
        if payload is not None:
            self.step, self.seconds = payload["step"], payload["seconds"]
            self._check_length(self.step)
        self._write_config()
        self._truncate({} if payload is None else payload["records"])
        (self.path / "summary.json").unlink(missing_ok=True)  # not finished any more
        return None if payload is None else payload["state"]

    def restore(self, run) -> bool:
        """Load the newest checkpoint into `run`; False without one. UserError: it does not fit."""
        state = self.load()
        if state is None:
            return False
        try:
            run.load_state_dict(state)
        except (KeyError, RuntimeError, ValueError) as error:
            raise UserError(
                f"{self.path}: the checkpoint was written by another version of this program "
                f"({in_one_line(error)}); start the run again with fresh=true"
            ) from error
        return True

    def _refuse(self, payload: dict[str, Any]) -> None:
        """Raise ValueError where a checkpoint does not fit this folder."""
        if payload["config"] != identity(self.config, self.free):
            raise ValueError("it belongs to a run with other settings")
        sizes = self._record_sizes()
        for name, length in payload["records"].items():
            if sizes.get(name, 0) < length:
                raise ValueError(f"{name} is missing or shorter than it was then")

    def _truncate(self, lengths: dict[str, int]) -> None:
        for name in self._record_sizes():
            with disk_errors(self.path / name, "write"):
                os.truncate(self.path / name, lengths.get(name, 0))

    def _record_sizes(self) -> dict[str, int]:
        files = [self.path / name for name in RECORDS]
        return {file.name: file.stat().st_size for file in files if file.exists()}

    @property
    def due(self) -> bool:
        """Time for a checkpoint: `every` seconds have passed, or a signal came."""
        return bool(self._stop.received) or time.monotonic() - self._saved >= self.every

    @property
    def elapsed(self) -> float:
        """Seconds spent on this run, earlier processes included."""
        return self.seconds + time.monotonic() - self._entered

    def save(self, step: int, state: dict[str, Any], tracker) -> None:
        """Write the record, then the checkpoint after `step` steps; leave if a signal came.

        `state` holds plain tensors, numbers, strings, lists and dicts only.
        """
        stopping = self._stop.received
        tracker.flush()
        payload = {
            "step": step,
            "seconds": self.elapsed,
            "config": identity(self.config, self.free),
            "records": self._record_sizes(),
            "state": state,
        }
        with self._saving():
            write_checkpoint(self.path, payload)
        self.step, self._saved = step, time.monotonic()
        if stopping:
            raise Interrupted(
                f"{self.path}: {stopping.name}, saved at step {step}; repeat the command to resume",
                stopping,
            )

    def append(self, file: Path, data: bytes) -> None:
        """Append to a record; the data are on disk when this returns."""
        with self._saving(), open(file, "ab") as record:
            record.write(data)
            record.flush()
            os.fsync(record.fileno())

    def _saving(self):
        """What an error of the disk says while a run is saved."""
        advice = f"the checkpoint of step {self.step} is intact, so fix this and repeat the command"
        return disk_errors(self.path, "save into", f"; {advice} to resume")

    def done(self, summary: dict[str, Any]) -> None:
        """Mark the run finished, with its summary. Tracker.finish() calls this."""
        text = json.dumps({"step": self.step, **summary}, indent=1) + "\n"
        self._write(self.path / "summary.json", text)

    def summary(self) -> dict[str, Any]:
        """The summary of the finished run."""
        return json.loads((self.path / "summary.json").read_text())

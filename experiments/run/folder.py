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

import errno
import json
import os
import shutil
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.run.checkpoint import read_checkpoint, write_checkpoint
from experiments.run.errors import Interrupted, UserError, check, stop_signals
from experiments.run.files import disk_errors, take_lock, write_whole
from experiments.run.version1 import upgraded

RECORDS = ("metrics.csv", "media.jsonl")
CHECKPOINTS = ("checkpoint.pt", "checkpoint.old.pt")
OURS = (*RECORDS, *CHECKPOINTS, "config.json", "summary.json", "wandb.json")
PATIENCE = 5.0  # seconds to wait for a process that may be about to leave


class RunFolder:
    """One run's folder, locked for this process inside the `with` block.

    Args:
        path: the folder; it is created.
        config: plain values that decide what the run computes. A folder with another configuration
            is refused.
        free: keys of config that may differ, such as the number of steps.
        fresh: delete the folder's earlier contents.
        every: seconds between checkpoints.

    Attributes:
        step: of the newest checkpoint.
        stop: a signal came; the run should save and leave.
        loaded: load() has been called.
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
        self.stop = False
        self.step = 0
        self.loaded = False
        self.seconds = 0.0  # wall time of earlier processes
        self._target: int | None = None
        self._signal = signal.SIGINT
        self._handlers: dict[int, Any] = {}

    # ---- entering and leaving ----

    def __enter__(self) -> RunFolder:
        with disk_errors(self.path, "make"):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / "lock", "a+")
        try:
            self._take_lock()
            self._clear()
            self._compare_config()
        except BaseException:
            self._lock.close()
            raise
        if threading.current_thread() is threading.main_thread():
            for number in stop_signals():
                self._handlers[number] = signal.signal(number, self._on_signal)
        self._entered = self._saved = time.monotonic()
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
        self._lock.close()  # releases the lock

    def _take_lock(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not take_lock(self._lock, wait=False):
            if time.monotonic() > deadline:
                self._lock.seek(0)
                other = self._lock.read().strip() or "unknown"
                raise UserError(
                    f"{self.path}: process {other} works in this folder; wait or use tag=name"
                )
            time.sleep(0.05)
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
        old, new = _flat(upgraded(saved, self.config)), _flat(self.config)
        differences = [
            f"{key}={old.get(key, 'not set')} there, {new.get(key, 'not set')} here"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key) and key not in self.free
        ]
        check(
            not differences,
            f"{self.path} holds a run with other settings ({'; '.join(differences)}); give "
            "this one a name of its own (tag=name) or throw the old one away (fresh=true)",
        )

    def _write_config(self) -> None:
        file = self.path / "config.json"
        text = json.dumps(self.config, indent=1, sort_keys=True) + "\n"
        if not file.exists() or file.read_text() != text:
            with disk_errors(file, "write"):
                write_whole(file, text.encode())

    def _on_signal(self, number: int, frame) -> None:
        if self.stop and number == signal.SIGHUP:
            return  # a closing terminal sends it once from the system and once from the shell
        if self.stop:  # the second signal: leave at once, the last checkpoint is good
            raise Interrupted(f"{self.path}: left at once; repeat the command to resume", number)
        self.stop, self._signal = True, signal.Signals(number)

    # ---- a run from start to end ----

    def finished(self, steps: int) -> bool:
        """Whether the run is complete. UserError: it already has more steps than that."""
        self._target = steps
        try:
            done = json.loads((self.path / "summary.json").read_text())["step"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False
        self._check_length(done, steps)
        return done == steps

    def _check_length(self, done: int, steps: int) -> None:
        check(
            done <= steps,
            f"{self.path} already has {done} steps and {steps} are asked for; give the shorter run "
            "a name of its own (tag=name) or throw the old one away (fresh=true)",
        )

    def load(self) -> dict[str, Any] | None:
        """The state of the newest usable checkpoint, or None where there is none.

        Truncates the records to their length at that checkpoint. Tensors are on the CPU.
        """
        self.loaded = True
        files = [self.path / name for name in CHECKPOINTS if (self.path / name).exists()]
        for file in files:
            try:
                payload = self._read(file)
            except Exception as error:
                print(f"{file} cannot be used ({_reason(error)})", flush=True)
                continue
            if file is not files[0]:
                step = payload["step"]
                print(f"{self.path}: resuming from the previous checkpoint, step {step}")
            self.step, self.seconds = payload["step"], payload["seconds"]
            self._check_length(self.step, self.step if self._target is None else self._target)
            self._write_config()
            self._truncate(payload["records"])
            (self.path / "summary.json").unlink(missing_ok=True)  # not finished any more
            return payload["state"]
        check(not files, f"{self.path}: no usable checkpoint; start the run again with fresh=true")
        self._write_config()
        self._truncate({})
        return None

    def restore(self, run) -> bool:
        """Load the newest checkpoint into `run`, which has load_state_dict(); False without one.

        Raises:
            UserError: the state is that of another version of the program.
        """
        state = self.load()
        if state is None:
            return False
        try:
            run.load_state_dict(state)
        except (KeyError, RuntimeError, ValueError) as error:
            raise UserError(
                f"{self.path}: the checkpoint was written by another version of this program "
                f"({_reason(error)}); start the run again with fresh=true"
            ) from error
        return True

    def _read(self, file: Path) -> dict[str, Any]:
        payload = read_checkpoint(file)
        if _sorted(upgraded(json.loads(payload["config"]), self.config)) != self._identity():
            raise ValueError("it belongs to a run with other settings")
        for name, length in payload["records"].items():
            if length and not (self.path / name).exists():
                raise ValueError(f"{name} is gone")
            if length and (self.path / name).stat().st_size < length:
                raise ValueError(f"{name} is shorter than it was then")
        return payload

    def _truncate(self, lengths: dict[str, int]) -> None:
        for name in RECORDS:
            if (self.path / name).exists():
                with disk_errors(self.path / name, "write"):
                    os.truncate(self.path / name, lengths.get(name, 0))

    def _identity(self) -> str:
        kept = {key: value for key, value in self.config.items() if key not in self.free}
        return _sorted(kept)

    @property
    def due(self) -> bool:
        """Time for a checkpoint: `every` seconds have passed, or a signal came."""
        return self.stop or time.monotonic() - self._saved >= self.every

    @property
    def elapsed(self) -> float:
        """Seconds spent on this run, earlier processes included."""
        return self.seconds + time.monotonic() - self._entered

    def save(self, step: int, state: dict[str, Any], tracker) -> None:
        """Write the record, then the checkpoint after `step` steps; leave if a signal came.

        `state` holds plain tensors, numbers, strings, lists and dicts only.
        """
        stopping = self.stop
        tracker.flush()
        payload = {
            "step": step,
            "seconds": self.elapsed,
            "config": self._identity(),
            "records": {name: _size(self.path / name) for name in RECORDS},
            "state": state,
        }
        new, old = (self.path / name for name in CHECKPOINTS)
        with self._disk_errors():
            write_checkpoint(new, payload, keep=old)
        self.step, self._saved = step, time.monotonic()
        if stopping:
            raise Interrupted(
                f"{self.path}: {self._signal.name}, saved at step {step}; "
                "repeat the command to resume",
                self._signal,
            )

    def append(self, file: Path, data: bytes) -> None:
        """Append to a record; the data are on disk when this returns."""
        with self._disk_errors(), open(file, "ab") as record:
            record.write(data)
            record.flush()
            os.fsync(record.fileno())

    @contextmanager
    def _disk_errors(self):
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = "the disk is full" if full else error.strerror or str(error)
            raise UserError(
                f"{self.path}: cannot save, {reason}; the checkpoint of step {self.step} is "
                "intact, so fix this and repeat the command to resume"
            ) from error

    def done(self, summary: dict[str, Any]) -> None:
        """Mark the run finished, with its summary. Tracker.finish() calls this."""
        text = json.dumps({"step": self.step, **summary}, indent=1) + "\n"
        with disk_errors(self.path / "summary.json", "write"):
            write_whole(self.path / "summary.json", text.encode())

    def summary(self) -> dict[str, Any]:
        """The summary of the finished run."""
        return json.loads((self.path / "summary.json").read_text())


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _sorted(config: dict[str, Any]) -> str:
    return json.dumps(config, sort_keys=True)


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} becomes {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        inner = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{key}.") if inner else {prefix + key: value}
    return flat

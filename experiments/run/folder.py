"""The run folder: its lock, its configuration, its checkpoints, and leaving when told to.

    config.json       what the run computes; the same command again finds the same file
    metrics.csv       the record, written by tracking.py
    media.jsonl       where its pictures are, and its histograms
    checkpoint.pt     the newest state; checkpoint.old.pt the one before
    summary.json      written last: the run is finished
    lock              held by the one process that works here

A checkpoint holds how long the two records were when it was made. Resuming cuts them back to
that, so that no row is lost and none is there twice, wherever the process was killed.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from experiments.run.errors import Interrupted, UserError, check, stop_signals
from experiments.run.files import disk_errors, take_lock, write_whole
from experiments.run.version1 import upgraded

RECORDS = ("metrics.csv", "media.jsonl")
CHECKPOINTS = ("checkpoint.pt", "checkpoint.old.pt")
OURS = (*RECORDS, *CHECKPOINTS, "config.json", "summary.json", "wandb.json")
PLAIN = (int, float, bool, str, bytes, type(None))
PATIENCE = 5.0  # seconds to wait for a process that may be just leaving
DIGEST = 32  # bytes of sha256 at the end of a checkpoint: torch.load does not notice a flipped bit


class RunFolder:
    """One run's folder, locked for this process inside the `with` block.

    config     plain values; a folder with another one is refused, except for the keys in `free`
    every      seconds between checkpoints
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
        self.stop = False  # a signal came: save and leave
        self.step = 0  # of the newest checkpoint
        self.loaded = False
        self.seconds = 0.0  # the run's wall time so far, earlier processes included
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
        self._lock.close()  # gives the lock back

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
        """Remove what a killed process was just writing; with `fresh` everything."""
        with disk_errors(self.path, "empty"):
            for torn in self.path.glob("*.tmp"):
                torn.unlink()
            if self.fresh:
                for name in OURS:
                    (self.path / name).unlink(missing_ok=True)
                shutil.rmtree(self.path / "media", ignore_errors=True)

    def _compare_config(self) -> None:
        """Refuse another configuration with the difference; write ours where there is none."""
        file = self.path / "config.json"
        if file.exists():
            try:
                old = json.loads(file.read_text())
            except ValueError:
                raise UserError(f"{file} is damaged; start the run again with fresh=true") from None
            there, here = _flat(upgraded(old, self.config)), _flat(self.config)
            differences = [
                f"{key}={there.get(key, 'not set')} there, {here.get(key, 'not set')} here"
                for key in sorted(there.keys() | here.keys())
                if there.get(key) != here.get(key) and key not in self.free
            ]
            check(
                not differences,
                f"{self.path} holds a run with other settings ({'; '.join(differences)}); give "
                "this one a name of its own (tag=name) or throw the old one away (fresh=true)",
            )
            return  # the free ones are written when the run goes on
        self._write_config()

    def _write_config(self) -> None:
        file = self.path / "config.json"
        text = json.dumps(self.config, indent=1, sort_keys=True) + "\n"
        if not file.exists() or file.read_text() != text:
            with disk_errors(file, "write"):
                write_whole(file, text.encode())

    def _on_signal(self, number: int, frame) -> None:
        if self.stop and number == signal.SIGHUP:
            return  # a closing terminal sends it once from the system and once from the shell
        if self.stop:  # asked twice: leave at once, the last checkpoint is good
            raise Interrupted(f"{self.path}: left at once; the same command goes on", number)
        self.stop, self._signal = True, signal.Signals(number)

    # ---- the life of a run ----

    def finished(self, steps: int) -> bool:
        """Whether the run is complete. Fewer steps than it already has are a UserError."""
        self._target = steps
        try:
            done = json.loads((self.path / "summary.json").read_text())["step"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False
        self._enough(done, steps)
        return done == steps

    def _enough(self, done: int, steps: int) -> None:
        check(
            done <= steps,
            f"{self.path} already has {done} steps and {steps} are asked for; give the shorter run "
            "a name of its own (tag=name) or throw the old one away (fresh=true)",
        )

    def load(self) -> dict[str, Any] | None:
        """The newest good checkpoint's state, or None at the very beginning.

        Cuts metrics.csv back to where it was then. Tensors come back on the CPU.
        """
        self.loaded = True
        found = [self.path / name for name in CHECKPOINTS if (self.path / name).exists()]
        for file in found:
            try:
                payload = self._read(file)
            except Exception as error:
                print(f"{file} cannot be used ({_why(error)})", flush=True)
                continue
            if file is not found[0]:
                print(f"{self.path}: going on from the checkpoint before, step {payload['step']}")
            self.step, self.seconds = payload["step"], payload["seconds"]
            self._enough(self.step, self.step if self._target is None else self._target)
            self._write_config()
            self._cut(payload["records"])
            (self.path / "summary.json").unlink(missing_ok=True)  # it goes on: not finished
            return payload["state"]
        check(not found, f"{self.path}: no usable checkpoint; start the run again with fresh=true")
        self._write_config()
        self._cut({})
        return None

    def _read(self, file: Path) -> dict[str, Any]:
        data = file.read_bytes()
        body, digest = data[:-DIGEST], data[-DIGEST:]
        if hashlib.sha256(body).digest() != digest:
            raise ValueError("damaged or not a checkpoint of this program")
        payload = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        if _sorted(upgraded(json.loads(payload["config"]), self.config)) != self._identity():
            raise ValueError("it belongs to a run with other settings")
        for name, length in payload["records"].items():
            if length and not (self.path / name).exists():
                raise ValueError(f"{name} is gone")
            if length and (self.path / name).stat().st_size < length:
                raise ValueError(f"{name} is shorter than it was then")
        return payload

    def _cut(self, lengths: dict[str, int]) -> None:
        for name in RECORDS:
            if (self.path / name).exists():
                with disk_errors(self.path / name, "write"):
                    os.truncate(self.path / name, lengths.get(name, 0))

    def _identity(self) -> str:
        kept = {key: value for key, value in self.config.items() if key not in self.free}
        return _sorted(kept)

    @property
    def due(self) -> bool:
        """Time for a checkpoint: `every` seconds have gone by, or a signal came."""
        return self.stop or time.monotonic() - self._saved >= self.every

    @property
    def elapsed(self) -> float:
        """Seconds spent on this run, earlier processes included."""
        return self.seconds + time.monotonic() - self._entered

    def save(self, step: int, state: dict[str, Any], tracker) -> None:
        """Write the record, then the checkpoint of `step` done steps; leave if a signal came.

        `state` holds plain tensors, numbers, strings, lists and dicts only.
        """
        stopping = self.stop
        _only_plain(state, "state")
        tracker.flush()
        payload = {
            "step": step,
            "seconds": self.elapsed,
            "config": self._identity(),
            "records": {name: _size(self.path / name) for name in RECORDS},
            "state": state,
        }
        buffer = io.BytesIO()
        torch.save(payload, buffer)
        body = buffer.getvalue()
        new, old = (self.path / name for name in CHECKPOINTS)
        with self._disk():
            write_whole(new, body + hashlib.sha256(body).digest(), keep=old)
        self.step, self._saved = step, time.monotonic()
        if stopping:
            raise Interrupted(
                f"{self.path}: {self._signal.name}, saved at step {step}; "
                "the same command goes on from there",
                self._signal,
            )

    def append(self, file: Path, data: bytes) -> None:
        """Add to a record, on disk when this returns."""
        with self._disk(), open(file, "ab") as record:
            record.write(data)
            record.flush()
            os.fsync(record.fileno())

    @contextmanager
    def _disk(self):
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = "the disk is full" if full else error.strerror or str(error)
            raise UserError(
                f"{self.path}: cannot save, {reason}; the checkpoint of step {self.step} is "
                "intact, mend that and give the same command again"
            ) from error

    def done(self, summary: dict[str, Any]) -> None:
        """Mark the run finished, with what it found. Tracker.finish() calls this."""
        text = json.dumps({"step": self.step, **summary}, indent=1) + "\n"
        with disk_errors(self.path / "summary.json", "write"):
            write_whole(self.path / "summary.json", text.encode())

    def summary(self) -> dict[str, Any]:
        """What the finished run found."""
        return json.loads((self.path / "summary.json").read_text())


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _sorted(config: dict[str, Any]) -> str:
    return json.dumps(config, sort_keys=True)


def _why(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _only_plain(value: Any, where: str) -> None:
    """A checkpoint runs no code when it is loaded; what would need some is refused when saved."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _only_plain(key, f"a key of {where}")
            _only_plain(inner, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _only_plain(inner, f"{where}[{index}]")
    elif type(value) not in PLAIN and not isinstance(value, torch.Tensor):
        raise TypeError(
            f"{where} is a {type(value).__name__}; a checkpoint holds plain values only"
        )


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}"""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        inner = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{key}.") if inner else {prefix + key: value}
    return flat

"""Files that are written whole or not at all, file locks, and CSV tables."""

from __future__ import annotations

import csv
import errno
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np

from experiments.run.errors import UserError

TOOK = ("seconds", "device")  # columns about how the run was executed, not about its results


@contextmanager
def disk_errors(path: Path, what: str, advice: str = ""):
    """Turn an OSError (full disk, read-only folder, ...) into one line that names the file."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else error.strerror or str(error)
        raise UserError(f"cannot {what} {path}: {reason}{advice}") from error


def writable(folder: Path) -> None:
    """Create the folder and check that it is writable, before hours of work and not after them."""
    with disk_errors(folder, "make"):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise UserError(f"cannot write into {folder}: it is read-only; name another with results=")


def write_whole(path: Path, data: bytes, keep: Path | None = None) -> None:
    """Write `data` under a temporary name, flush it to disk, then rename it.

    An existing file is kept as `keep`; between the two renames only `keep` exists.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")  # others may write it too
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if keep and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path):
    """Hold a file lock for the block; other processes wait."""
    with disk_errors(path, "make"):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+")
    with file:
        take_lock(file, wait=True)
        yield


def take_lock(file: IO, wait: bool) -> bool:
    """Lock an open file for this process; False if another process holds the lock.

    On a file system without locks, a warning is printed and the run continues without one.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        _warn_of_no_locks(error.strerror)
    return True


def wait_for_lock(file: IO, seconds: float) -> bool:
    """Lock an open file; False if another process still holds the lock after so many seconds."""
    deadline = time.monotonic() + seconds
    while not take_lock(file, wait=False):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@cache  # once per process
def _warn_of_no_locks(reason: str) -> None:
    print(
        f"warning: the file system of runs= has no file locks ({reason}); make sure that no two "
        "commands work in the same run folder",
        file=sys.stderr,
        flush=True,
    )


def single_precision(values: np.ndarray) -> list[str]:
    """The cells of a curve for results/: float32, empty where nothing was measured."""
    return ["" if cell == "nan" else cell for cell in texts(values.astype(np.float32))]


def texts(values) -> list[str]:
    """Numbers with the fewest digits that read back as the same number in their own precision."""
    array = np.asarray(values)
    if array.dtype == bool:
        array = array.astype(np.int64)
    return array.astype(str).tolist()


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a CSV file whole; None is an empty cell."""
    lines = [",".join(columns)]
    lines += [",".join("" if cell is None else str(cell) for cell in row) for row in rows]
    with disk_errors(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, ("\n".join(lines) + "\n").encode())


def with_old_times(path: Path, columns: Sequence[str], rows: Iterable[Sequence]) -> list[Sequence]:
    """The rows, with the old time and device where the table has the same results already.

    A run that reproduces committed numbers therefore changes no file, and `git diff` shows real
    differences only. To measure times again, delete the table first.
    """
    findings = [index for index, name in enumerate(columns) if name not in TOOK]

    def finding(row: Sequence) -> tuple[str, ...]:
        return tuple("" if row[index] is None else str(row[index]) for index in findings)

    old = {finding(row): row for row in read_rows(path, columns)}
    return [old.get(finding(row), row) for row in map(tuple, rows)]


def replace_rows(
    path: Path, columns: Sequence[str], name: str, rows: Iterable[Sequence], lock: Path
) -> None:
    """Replace the rows whose first cell is `name`; the table stays sorted by its first two columns.

    lock: held meanwhile, because the cases of a sweep write into one table at the same time.
    """
    with locked(lock):
        others = [row for row in read_rows(path, columns) if row[0] != name]
        ordered = sorted([*others, *map(tuple, rows)], key=lambda row: row[:2])
        write_table(path, columns, with_old_times(path, columns, ordered))


def export_run(
    run: Path, folder: Path, integers: Sequence[str], curves: Sequence[str], summary: Sequence[str]
) -> None:
    """Write a finished run's <estimator>.csv into folder, and its row of summary.csv.

    Args:
        run: the run folder, with metrics.csv and summary.json.
        folder: of the case in results/.
        integers, curves: columns of metrics.csv; curves that it lacks are left out.
        summary: the columns of summary.csv, the estimator's name first.
    """
    table = read_table(run / "metrics.csv")
    curves = [name for name in curves if name in table]
    cells = [table[name].astype(int).astype(str).tolist() for name in integers]
    cells += [single_precision(table[name]) for name in curves]
    write_table(folder / f"{run.name}.csv", [*integers, *curves], zip(*cells, strict=True))
    row = json.loads((run / "summary.json").read_text()) | {"estimator": run.name}
    lock = run.with_name("summary.lock")
    cells_of_row = tuple(row.get(name) for name in summary)
    replace_rows(folder / "summary.csv", summary, run.name, [cells_of_row], lock)


def read_rows(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """The cells of these columns of a CSV file as text, "" where one is missing; [] without it."""
    if not path.exists():
        return []
    with disk_errors(path, "read"), open(path, newline="", encoding="utf-8") as file:
        return [tuple(row.get(name) or "" for name in columns) for row in csv.DictReader(file)]


def read_table(path: Path) -> dict[str, np.ndarray]:
    """Read a CSV file as columns: float64 if all cells are numbers or empty (nan), else text."""
    try:
        with disk_errors(path, "read"), open(path, newline="", encoding="utf-8") as file:
            head, *rows = list(csv.reader(file))
        if any(len(row) != len(head) for row in rows):
            raise ValueError("a row is torn")
        columns = zip(*rows, strict=True) if rows else [()] * len(head)
        cells = [np.array(column) for column in columns]
    except ValueError as error:
        raise UserError(f"{path} is not a complete CSV table; write it again") from error
    return {name: _numbers(column) for name, column in zip(head, cells, strict=True)}


def _numbers(column: np.ndarray) -> np.ndarray:
    try:
        return np.where(column == "", "nan", column).astype(np.float64)
    except ValueError:
        return column

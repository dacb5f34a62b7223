"""Finding the files of a data set under `root` and `$RELAX_DATA`, and downloading them last."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from experiments.run.errors import UserError

T = TypeVar("T")
DOWNLOAD_SECONDS = 120


class Missing(UserError):
    """The files do not exist and could not be downloaded."""


class Damaged(UserError):
    """A file is incomplete or of another format, as after an interrupted download."""


def folders(root: str | Path) -> list[Path]:
    """Where files are looked for: `root`, then `$RELAX_DATA`, each also in torchvision's layout."""
    roots = [Path(root)]
    if os.environ.get("RELAX_DATA"):
        roots.append(Path(os.environ["RELAX_DATA"]))
    return [r / sub for r in roots for sub in ("MNIST/raw", "omniglot", "")]


def find(file: str, root: str | Path) -> Path | None:
    """The file, or the same with .gz, in the first folder that has it."""
    candidates = (f / (file + end) for f in folders(root) for end in ("", ".gz"))
    return next((c for c in candidates if c.is_file()), None)


def _fetch(program: str, *arguments: str) -> None:
    """Run a download in a process of its own, so that it can be stopped when it hangs."""
    command = [sys.executable, "-c", program, *arguments]
    try:
        subprocess.run(command, capture_output=True, timeout=DOWNLOAD_SECONDS, check=True)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        return  # the caller reports the missing file and where it was looked for


def fetch_into(target: Path, files: list[str], program: str, *arguments: str) -> None:
    """Run a download in an empty folder, and move these files from there to `target`.

    So an incomplete file is never found, and torchvision, which keeps any existing file, replaces a
    damaged one.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=target) as folder:
            _fetch(program, folder, *arguments)
            for new in (path for file in files for path in Path(folder).rglob(file)):
                new.replace(target / new.name)
    except OSError:
        return  # the folder cannot be written to; the caller reports what is wrong with the files


def read_or_fetch(read: Callable[[], T], fetch: Callable[[], None]) -> T:
    """What `read` returns, after a download where its files are missing or damaged."""
    try:
        return read()
    except (Missing, Damaged):
        fetch()
    try:
        return read()
    except Damaged as error:
        raise UserError(f"{error}; a new download failed: fetch it again, or delete it") from error


def missing(what: str, files: list[str], root: str | Path) -> Missing:
    looked = ", ".join(str(f) for f in folders(root))
    return Missing(
        f"{what} not found and not downloaded. Put {', '.join(files)} (or .gz of them) into one of "
        f"{looked}; or use data=digits, which needs no files"
    )

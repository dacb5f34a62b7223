"""Disks that are full, limited or read-only."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

from tests.torture.fault import Skip, kill_midway, refused, resume


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

"""A fault done to a run of the toy, which is then resumed.

The record must equal that of an undisturbed run, byte for byte.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
            if len(seen) > 8:
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

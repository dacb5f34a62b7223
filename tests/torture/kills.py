"""Kill runs at random moments, resume them, compare every byte.

A run is killed at a random moment, or at one of the system calls that write a checkpoint or a
record: before it, after it, or, with SIGKILL, with the data cut off anywhere.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.torture import victims

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CALLS = ("fsync", "replace", "truncate")  # all that a save and a resumption do to the disk
# Exit statuses: saved and exited, or killed before there was anything to save.
ENDS = {signal.SIGKILL: {-9}, signal.SIGTERM: {143, -15}, signal.SIGINT: {130}}
TRIES = 6  # kills of one run at most


@dataclass
class Kill:
    """One kill: `moment` any, or the system call that was about to be done or just done."""

    signal: str
    moment: str
    ended: bool  # False: the run had finished before


@dataclass
class Victim:
    """A run that was killed several times and then finished."""

    family: str
    kills: list[Kill]
    difference: victims.Difference
    trouble: str = ""

    @property
    def fine(self) -> bool:
        return self.difference.equal and not self.trouble


def at_call(number: int, count: int, moment: str) -> Callable[[], None]:
    """A harm: the process sends itself the signal at its `count`-th write of any kind."""
    seen, sizes = Counter(), {}

    def wrap(name: str) -> None:
        real = getattr(os, name)

        def call(*args):
            seen["calls"] += 1
            now = seen["calls"] == count
            if now and moment == "torn" and name == "fsync":
                tear(args[0], sizes)
            if now and moment != "after":
                os.kill(os.getpid(), number)
            result = real(*args)
            if name == "fsync":
                sizes[os.readlink(f"/proc/self/fd/{args[0]}")] = os.fstat(args[0]).st_size
            if now and moment == "after":
                os.kill(os.getpid(), number)
            return result

        setattr(os, name, call)

    return lambda: [wrap(name) for name in CALLS] and None


def tear(fd: int, sizes: dict[str, int]) -> None:
    """Cut the file somewhere in what was written since it was last known to be on disk."""
    before = sizes.get(os.readlink(f"/proc/self/fd/{fd}"), 0)
    after = os.fstat(fd).st_size
    if after >= before:
        os.ftruncate(fd, random.Random(after).randint(before, after))


def kill_once(family: str, place: Path, draw: random.Random, seconds: float) -> tuple[Kill, str]:
    """Start or resume the run and kill it; returns the kill, and what was wrong about it."""
    number = draw.choice(SIGNALS)
    if draw.random() < 0.5:
        moments = ("before", "after", "torn") if number == signal.SIGKILL else ("before", "after")
        moment = draw.choice(moments)
        pid = victims.start(family, place, harm=at_call(number, draw.randint(1, 120), moment))
    else:
        moment = "any"
        pid = victims.start(family, place)
        time.sleep(draw.uniform(0, seconds))
        if not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            os.kill(pid, number)
    status = victims.finish(pid)
    trouble = "" if status in {0, *ENDS[number]} else f"{number.name}: status {status}"
    return Kill(number.name, moment, status != 0), trouble


def kill_repeatedly(
    family: str, place: Path, whole: Path, draw: random.Random, seconds: float
) -> Victim:
    """Kill one run until it finishes, at most TRIES times; then let it finish."""
    kills, troubles = [], []
    for _ in range(TRIES):
        kill, trouble = kill_once(family, place, draw, seconds)
        kills.append(kill)
        troubles += [trouble] if trouble else []
        if not kill.ended:
            break
    if status := victims.run(family, place):
        troubles.append(f"could not resume: status {status}")
    if "Traceback" in victims.output(place):
        troubles.append("a traceback")
    return Victim(family, kills, victims.compare(place, whole), "; ".join(troubles))


def torture(
    root: Path, kills: int, minutes: float, seed: int = 0, families=tuple(victims.FAMILIES)
) -> list[Victim]:
    """At least `kills` kills of every family, or as many as `minutes` allow."""
    draw, deadline, found = random.Random(seed), time.monotonic() + 60 * minutes, []
    whole, seconds = {}, {}
    for family in families:
        began = time.monotonic()
        assert victims.run(family, root / family / "whole") == 0, f"{family} does not run"
        whole[family], seconds[family] = root / family / "whole", time.monotonic() - began
    while time.monotonic() < deadline:
        done = count(found)
        short = [family for family in families if done[family] < kills]
        if not short:
            break
        family = min(short, key=lambda name: done[name])
        place = root / family / str(len(found))
        found.append(kill_repeatedly(family, place, whole[family], draw, seconds[family]))
        if found[-1].fine:
            shutil.rmtree(place)
        else:
            print(f"{place}: {found[-1]}", flush=True)
    return found


def count(found: list[Victim]) -> Counter:
    """Kills that ended a process, per family."""
    return Counter(v.family for v in found for kill in v.kills if kill.ended)


def table(found: list[Victim]) -> list[list]:
    """One row per family."""
    rows = []
    for family in dict.fromkeys(victim.family for victim in found):
        mine = [victim for victim in found if victim.family == family]
        kills = [kill for victim in mine for kill in victim.kills if kill.ended]
        by_signal = Counter(kill.signal for kill in kills)
        sums = [sum(getattr(v.difference, k) for v in mine) for k in ("rows", "lost", "doubled")]
        writing = sum(kill.moment != "any" for kill in kills)
        rows.append([family, len(kills), *(by_signal[s.name] for s in SIGNALS), writing])
        rows[-1] += [len(mine), sum(victim.fine for victim in mine), *sums]
    return rows


COLUMNS = "family kills SIGKILL SIGTERM SIGINT writing runs equal rows lost doubled".split()

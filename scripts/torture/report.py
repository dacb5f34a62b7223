"""results/robustness.md from the tables that kills.py, faults.py and soak.py leave."""

from __future__ import annotations

import csv
import os
import platform
from pathlib import Path

HEAD = """# Robustness

What was done to runs, and what was left of them. Written by `make torture` and
`python -m scripts.torture.soak`; {machine}.
"""

KILLS = """
## Killed and started again

`make torture`: runs of every family are killed up to six times each and started again, then
compared with an undisturbed run: metrics.csv, the exported curves and the summary, byte for byte.
Half of the kills come at a random moment, half at one of the system calls that write a checkpoint
or a record (`writing`: before it, after it, or with what was being written torn off anywhere).
SIGTERM and SIGINT must save and leave with one line, unless they come before there is anything to
save. `rows` counts the rows of the metrics.csv that were compared; CartPole's runs save between
episodes.
"""

FAULTS = """
## Other faults

Each one is done to a run of the toy, which then goes on and must leave the undisturbed run's files.
"""

INPUTS = """
## Bad input

Configuration keys and values, data files, run folders, checkpoints, environments: each must be
answered by one line that names the culprit and the mend, exit status 2, and nothing written over.
Nearly every test is one such input.
`make test ARGS="tests/test_bad_input.py tests/test_config.py"`.
"""

SOAK = """
## Soak

`python -m scripts.torture.soak --minutes {minutes:.0f}`: one process trains the toy and the VAE
(digits) in turn, {runs} runs, each from nothing, saving every second, with W&B's offline files.
Readings after each run; the first is taken when everything has been imported and run once.
"""


def read(path: Path) -> list[list[str]]:
    """The table's rows, the header first; empty where it was not made yet."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def markdown(rows: list[list]) -> str:
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]) + "\n"


def with_sum(rows: list[list[str]]) -> list[list]:
    """The table with a last row that adds up the columns."""
    columns = zip(*rows[1:], strict=True)
    next(columns)
    return [*rows, ["all", *(sum(map(int, column)) for column in columns)]]


def soak_table(rows: list[list[str]]) -> list[list]:
    """First against last reading of each family."""
    found = [["family", "runs", "memory, first (MB)", "last (MB)", "most (MB)"]]
    found[0] += ["open files, first", "last", "threads, first", "last"]
    for family in sorted({row[1] for row in rows[1:]}):
        mine = [row for row in rows[1:] if row[1] == family]
        first, last = mine[0], mine[-1]
        most = max(mine, key=lambda row: float(row[2]))
        memory = [first[2], last[2], most[2]]
        found.append([family, len(mine), *memory, first[3], last[3], first[4], last[4]])
    return found


def write(results: Path) -> None:
    """Write robustness.md anew from what there is."""
    place = results / "robustness"
    names = ("kills", "faults", "inputs", "soak")
    kills, faults, inputs, soak = (read(place / f"{name}.csv") for name in names)
    machine = f"{os.cpu_count()} CPU cores, {platform.system()}, Python {platform.python_version()}"
    parts = [HEAD.format(machine=machine)]
    if kills:
        parts += [KILLS, "\n" + markdown(with_sum(kills))]
    if faults:
        parts += [FAULTS, "\n" + markdown(faults)]
    if inputs:
        parts += [INPUTS, "\n" + markdown(with_sum(inputs))]
    if soak:
        text = SOAK.format(minutes=float(soak[-1][0]), runs=len(soak) - 1)
        parts += [text, "\n" + markdown(soak_table(soak))]
    (results / "robustness.md").write_text("".join(parts))

"""make torture: kill and damage runs for about ten minutes and write results/robustness.md."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import astuple, fields
from pathlib import Path

from experiments.run.files import write_table
from tests.torture import kills, report, victims
from tests.torture.fault import Outcome
from tests.torture.faults import FAULTS

ENOUGH = 10  # kills per family that the result needs


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill and damage runs, resume, compare.")
    parser.add_argument("--kills", type=int, default=40, help="kills per family")
    parser.add_argument(
        "--minutes",
        type=float,
        default=6,
        help="for the kills; the rest takes two or three",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=Path("results"))
    args = parser.parse_args()
    victims.prepare()
    root = Path(tempfile.mkdtemp(prefix="torture-"))
    killed = kills.torture(root, args.kills, args.minutes, args.seed)
    harmed = [printed(fault.try_on(root)) for fault in FAULTS]
    write(args.results, killed, harmed)
    refused = bad_input(args.results)
    report.write(args.results)
    count = kills.count(killed)
    bad = [v for v in killed if not v.fine] + [o for o in harmed if o.result == "failed"]
    print(f"{count.total()} kills, {len(bad)} failures: {args.results}/robustness.md")
    if bad or not refused or min(count[family] for family in victims.FAMILIES) < ENOUGH:
        sys.exit(f"something failed or took too long; the files are under {root}")
    shutil.rmtree(root)


def printed(outcome: Outcome) -> Outcome:
    print(f"{outcome.fault}: {outcome.result}", flush=True)
    return outcome


def write(results: Path, killed: list[kills.Victim], harmed: list[Outcome]) -> None:
    place = results / "robustness"
    write_table(place / "kills.csv", kills.COLUMNS, kills.table(killed))
    rows = [[f'"{cell}"' for cell in astuple(outcome)] for outcome in harmed]
    write_table(place / "faults.csv", [item.name for item in fields(Outcome)], rows)


def bad_input(results: Path) -> bool:
    """Run the tests that give the programs bad input; returns whether all pass."""
    rows = []
    for file in ("tests/test_bad_input.py", "tests/test_config.py"):
        command = [sys.executable, "-m", "pytest", "-q", file]
        output = subprocess.run(command, capture_output=True, text=True).stdout
        counts = [re.search(rf"(\d+) {word}", output) for word in ("passed", "failed")]
        passed, failed = (int(found[1]) if found else 0 for found in counts)
        rows.append([file, passed + failed, passed])
    write_table(results / "robustness" / "inputs.csv", ["file", "tests", "passed"], rows)
    return all(tests == passed > 0 for _, tests, passed in rows)


if __name__ == "__main__":
    main()

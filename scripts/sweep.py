"""make sweep: a grid of cases as a Hydra multirun, then what each estimator's best setting is.

Every case is skipped where it is finished and goes on where it was stopped, so the same command
runs what is missing. The choice is made from results/<family>/<preset>/<case>/summary.csv, by
validation (vae), by the frames until solved (rl) or by the loss (toy), lowest first, and written
to results/<family>/<preset>/choice.csv.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from experiments.run.files import read_table, write_table

# By what a setting is chosen, its standard error, and which columns tell the setting.
CHOICE = {
    "toy": ("loss_mean", "loss_se", []),
    "vae": ("valid", "valid_se", ["lr"]),
    "rl": ("solved_frames", "solved_frames_se", ["rates"]),
}
COLUMNS = "case estimator setting value standard_error of".split()


def sweep(command: list[str]) -> int:
    """Run the command; a signal goes to all of its processes, which save and leave."""
    process = subprocess.Popen(command, start_new_session=True)

    def pass_on(number, frame):
        os.killpg(process.pid, number)

    handlers = {n: signal.signal(n, pass_on) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        return process.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def choose(family: str, place: Path) -> list[list[str]]:
    """The best setting of every case and estimator under results/<family>/<preset>."""
    by, error, setting = CHOICE[family]
    rows = []
    for file in sorted(place.glob("*/summary.csv")):
        table = read_table(file)
        if by not in table:
            continue
        for name in dict.fromkeys(table["estimator"].tolist()):
            here = {key: column[table["estimator"] == name] for key, column in table.items()}
            here["lr"] = [f"lr={lr:g}" for lr in here.get("lr", [])]
            value = here[by].astype(float)
            if np.isnan(value).all():
                continue
            best = int(np.nanargmin(value))
            told = "; ".join(here[key][best] for key in setting)
            numbers = [f"{x[best]:.6g}" for x in (value, here[error].astype(float))]
            rows.append([file.parent.name, name, told, *numbers, len(value)])
    return rows


def show(rows: list[list]) -> None:
    widths = [max(len(str(row[i])) for row in [COLUMNS, *rows]) for i in range(len(COLUMNS))]
    for row in [COLUMNS, *rows]:
        cells = (str(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", choices=CHOICE)
    parser.add_argument("preset", help="smoke, quick, paper")
    parser.add_argument("--launcher", default="local", help="a file of configs/hydra/launcher")
    parser.add_argument("--grid", help="a file of configs/sweep; the family's name if not given")
    parser.add_argument("--results", type=Path, default=Path("results"))
    args, overrides = parser.parse_known_args()
    if args.launcher == "slurm" and not shutil.which("srun"):
        sys.exit("error: LAUNCHER=slurm, but there is no srun here; use LAUNCHER=local")
    command = [sys.executable, "-m", f"experiments.{args.family}", "--multirun"]
    command += [f"+sweep={args.grid or args.family}", f"hydra/launcher={args.launcher}"]
    command += [f"preset={args.family}/{args.preset}", f"results={args.results}", *overrides]
    status = sweep(command)
    place = args.results / args.family / args.preset
    rows = choose(args.family, place)
    if rows:
        write_table(place / "choice.csv", COLUMNS, rows)
        show(rows)
        print(f"{place / 'choice.csv'}, lowest {CHOICE[args.family][0]} first")
    if status:
        sys.exit("not all of it was done: the reasons stand above; the same command goes on")


if __name__ == "__main__":
    main()

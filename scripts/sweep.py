"""make sweep: a grid of cases as a Hydra multirun, then the best setting of each estimator.

Finished cases are skipped and interrupted ones resume, so the same command runs what is missing.
The setting is chosen from results/<family>/<preset>/<case>/summary.csv, by the validation score
(vae), by the frames until solved (rl) or by the loss (toy), lowest first, and written to
results/<family>/<preset>/choice.csv.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd

from experiments.run.files import write_table
from experiments.run.statistics import best_setting
from scripts.results import read

# The score, its standard error, and the column that names the setting.
CHOICE = {
    "toy": ("loss_mean", "loss_se", None),
    "vae": ("valid", "valid_se", "lr"),
    "rl": ("solved_frames", "solved_frames_se", "rates"),
}
COLUMNS = "case estimator setting value standard_error of".split()


def sweep(command: list[str]) -> int:
    """Run the command; a signal goes to all of its processes, which save and stop."""
    process = subprocess.Popen(command, start_new_session=True)

    def pass_on(number, frame):
        os.killpg(process.pid, number)

    handlers = {n: signal.signal(n, pass_on) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        return process.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def choose(family: str, folder: Path) -> list[list]:
    """The best setting of every case and estimator under results/<family>/<preset>."""
    score, error, setting = CHOICE[family]
    rows = []
    for file in sorted(folder.glob("*/summary.csv")):
        table = read(file)
        if score not in table:
            continue
        for name, runs in table.groupby("estimator", sort=False):
            scores = runs[score].to_dict()
            if runs[score].isna().all():
                continue
            best = runs.loc[best_setting(scores)]
            text = "" if setting is None else best[setting]
            text = f"lr={text:g}" if setting == "lr" else text
            numbers = [f"{best[key]:.6g}" for key in (score, error)]
            rows.append([file.parent.name, name, text, *numbers, len(runs)])
    return rows


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
    folder = args.results / args.family / args.preset
    if rows := choose(args.family, folder):
        write_table(folder / "choice.csv", COLUMNS, rows)
        print(pd.DataFrame(rows, columns=COLUMNS).to_string(index=False))
        print(f"{folder / 'choice.csv'}, lowest {CHOICE[args.family][0]} first")
    if status:
        sys.exit("some cases failed: see the errors above; the same command runs what is missing")


if __name__ == "__main__":
    main()

"""Time a training step of every estimator in two presets of the VAE: python -m scripts.bench.steps

Writes results/bench/vae-steps.csv: milliseconds of processor time per compiled step of one seed,
the estimators of a preset in turns. The report compares their scores at equal time by it.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import pandas as pd
import torch

from scripts.bench import cases
from scripts.bench.timing import FULL, Effort, Group
from scripts.report.vae_tables import usual
from scripts.report.vae_training import COMPARISONS, DIRECT
from scripts.results import config

OUT = Path("results/bench/vae-steps.csv")


def step_times(preset: str, effort: Effort, compile: str = "on") -> pd.DataFrame:
    """A row per estimator of a preset."""
    own, cpu = config(f"preset/vae/{preset}"), torch.device("cpu")
    names = [*usual(preset), *(set(COMPARISONS[preset].also) - set(DIRECT))]
    runs = {}
    for name in names:
        estimator, _, samples = name.partition("-")
        more = {"samples": int(samples)} if samples else {}
        runs[name] = cases.vae(cpu, estimator, own["model"], own["batch"], compile=compile, **more)
    group = Group({name: cases.stepper(run) for name, run in runs.items()}, effort)
    rows = [(preset, name, 1e3 * group.median(name)) for name in runs]
    return pd.DataFrame(rows, columns=["preset", "estimator", "milliseconds"])


def main() -> None:
    torch.set_num_threads(1)
    table = pd.concat(step_times(preset, FULL) for preset in COMPARISONS)
    table.to_csv(OUT, index=False, float_format="%.4g", lineterminator="\n")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()

"""Train the toy and the VAE again and again in one process; record its memory and open files.

python -m tests.torture.soak --minutes 30

After every run, the memory of the process and the number of its open files and threads are read.
Each run starts from the beginning, saves every second and writes W&B's offline files.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from experiments.run.config import Tracking
from experiments.run.files import write_table
from experiments.toy.config import Toy
from experiments.toy.train import train as train_toy
from experiments.vae import data
from experiments.vae.config import Vae
from experiments.vae.train import train as train_vae
from tests.torture import report

COLUMNS = "minutes,family,memory_mb,files,threads".split(",")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


def reading(began: float, family: str) -> list:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    held = [len(os.listdir(f"/proc/self/{what}")) for what in ("fd", "task")]
    minutes = (time.monotonic() - began) / 60
    return [f"{minutes:.2f}", family, f"{pages * PAGE_MB:.1f}", held[0] - 1, held[1]]


def soak(root: Path, minutes: float, tracking: str) -> list[list]:
    """The readings of both families in turn."""
    images, began, rows = data.load("digits"), time.monotonic(), []
    common = {"runs": str(root), "fresh": True, "save_every": 1.0, "preset": "soak"}
    common |= {"device": "cpu", "tracking": Tracking(mode=tracking)}
    toy = Toy(estimators={"relax": {}}, seeds=50, steps=5000, **common)
    vae = Vae(estimators={"relax": {"warm_up": 100}}, latents=50, steps=2000, **common)
    vae = replace(vae, variance_samples=10, iwae_samples=10)
    while time.monotonic() - began < 60 * minutes:
        train_toy(toy, "relax", bar=False)
        rows.append(reading(began, "toy"))
        train_vae(vae, "relax", images)
        rows.append(reading(began, "vae"))
        print(rows[-2:], flush=True)
    return rows[2:]  # the first round imports what is used first within a run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--tracking", default="offline")
    parser.add_argument("--results", type=Path, default=Path("results"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory(prefix="soak-") as root:
        rows = soak(Path(root), args.minutes, args.tracking)
    write_table(args.results / "robustness" / "soak.csv", COLUMNS, rows)
    report.write(args.results)


if __name__ == "__main__":
    main()

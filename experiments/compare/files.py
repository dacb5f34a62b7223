"""What the comparison reads and writes: checkpoints of VAE runs, and tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch

from experiments.run.checkpoint import read_checkpoint
from experiments.vae import data
from experiments.vae.models import VAE

RUNS = Path("runs/compare")  # separate from the runs of the VAE family


def trained(
    images: data.Images, model: str, estimator: str, tag: str, steps: int, *settings: str
) -> VAE:
    """A model after so many steps with an estimator; `settings` are those of the command line."""
    command = [
        *("-m", "experiments.vae", "preset=vae/quick", f"model={model}", "data=mnist"),
        *(f"estimator=[{estimator}]", "lr=[1e-3]", f"steps={steps}", f"tag={tag}", *settings),
        *("variance_every=0", "iwae_samples=0", "evaluate_every=10", "pictures=false"),
        *("tracking=disabled", f"runs={RUNS}", f"results={RUNS}"),
    ]
    print(" ".join(["python", *command]), flush=True)
    subprocess.run([sys.executable, *command], check=True)
    run = RUNS / f"vae/quick/mnist-{model}/{estimator}-{tag}"
    vae = VAE(model, images.mean.float(), generators=[torch.Generator()])
    vae.load_state_dict(read_checkpoint(run / "checkpoint.pt")["state"]["vae"])
    return vae


def write(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, float_format="%.5g", lineterminator="\n")

"""A short tracked run, and what W&B's offline files hold of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch

from experiments.run.config import Tracking
from experiments.run.folder import RunFolder
from experiments.run.tracker import Tracker

OFFLINE = Tracking(mode="offline")
DISABLED = Tracking(mode="disabled")


def track(path, chosen=None, rows="quantiles", stop=4, steps=4, media=False, **more):
    """Four steps of three seeds, from the checkpoint on; `stop` ends it early."""
    with RunFolder(path / "run", {"lr": 0.1}, every=1e9) as folder:
        folder.load()
        keys = {"seed": [0, 1, 2], "lr": [0.1, 0.1, 0.0005]}
        with Tracker(
            folder,
            keys,
            ["loss", "reward"],
            steps,
            chosen or DISABLED,
            group="toy-smoke",
            job_type="relax",
            name="toy-relax",
            rows=rows,
            runs=path / "runs",
            **more,
        ) as tracker:
            for step in range(folder.step + 1, stop + 1):
                loss = torch.tensor([1 / 3, 0.1, -2.5e-8]) * step
                tracker.log(step, {"loss": loss})
                loss += 100  # a step of the optimiser changes tensors in place
                if step % 2 == 0:
                    tracker.log(step, {"reward": torch.tensor([1.0, 2.0, 3.0]).double() / 7})
                if media:
                    tracker.histogram("gradient", torch.arange(300.0).view(3, 100), step)
                tracker.progress(step)
                folder.save(step, {}, tracker)
            if stop == steps:
                tracker.finish({"loss": 0.5}, "loss .5")
    return path / "run" / "metrics.csv"


def wandb_runs(path: Path) -> list[dict]:
    """What the offline files hold, oldest first: name, group, ..., config, history, summary."""
    found = []
    for folder in sorted((path / "runs" / "wandb").glob("offline-run-*")):
        run = {"folder": folder.name, "place": folder, "history": [], "summary": {}}
        command = [Path(sys.executable).parent / "wandb", "leet", "inspect", "--json", folder]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for record in map(json.loads, out.splitlines()):
            kind = record["type"]
            if kind == "history":
                run["history"].append(record["history"]["item"])
            elif kind == "run":
                run |= record["run"]
            elif kind == "summary":
                run["summary"] |= record["summary"].get("update", {})
        found.append(run)
    return found


def rows_of(run: dict) -> list[dict]:
    return [{k: v for k, v in item.items() if not k.startswith("_")} for item in run["history"]]

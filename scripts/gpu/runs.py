"""The VAE's long runs on a GPU: many rates and seeds as replicas of one run."""

from __future__ import annotations

import os
import signal
import tarfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from experiments.run.config import Tracking, device, run_path
from experiments.run.errors import Interrupted, UserError
from experiments.run.progress import duration
from experiments.vae import data
from experiments.vae.config import Data, Vae
from experiments.vae.train import Run, train
from scripts.gpu.bench import seconds_per_step, synchronize

RECORDS = ("config.json", "metrics.csv", "summary.json")
SET_UP = 10.0  # seconds before a run's first step


@dataclass(frozen=True)
class Job:
    """One run: an estimator with its settings, and the settings of the family that differ.

    worthwhile: start the run if there is time for at least this share of it.
    """

    estimator: str
    own: dict[str, Any] = field(default_factory=dict)
    family: dict[str, Any] = field(default_factory=dict)
    tag: str | None = None
    worthwhile: float = 0.3

    def config(self, root: Path) -> Vae:
        settings = {
            "preset": "gpu",
            "evaluate_every": 10,
            "variance_every": 10,
            "variance_samples": 50,
            "iwae_samples": 0,
            "pictures": False,
            "save_every": 60.0,
            **self.family,
        }
        return Vae(
            **settings,
            tag=self.tag,
            runs=str(root),
            tracking=Tracking(mode="disabled"),
            estimators={self.estimator: self.own},
        )


def run_all(jobs: list[Job], root: Path, archive: Path, deadline: float, workers: int) -> None:
    """Train the jobs, `workers` at a time, until the deadline; update the archive after each."""
    spawn = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        pending = [pool.submit(run_one, job, root, deadline) for job in jobs]
        for done in as_completed(pending):
            print(done.result(), flush=True)
            pack(root, archive)


def run_one(job: Job, root: Path, deadline: float) -> str:
    """Train one job if its estimated time fits; returns a line about it."""
    torch.set_num_threads(1)
    config = job.config(root)
    images = load(config.data)
    name = f"{config.case(images)} {job.estimator} {job.tag or ''}".strip()
    path = run_path(config, "vae", config.case(images), job.estimator)
    if (path / "summary.json").exists():
        return f"{name}: already finished"
    seconds, left = estimate(config, job.estimator, images), deadline - time.monotonic()
    steps = config.total_steps(len(images.train))
    expected = f"{name}: {steps:,} steps of {len(config.lr) * config.seeds} replicas"
    if left < job.worthwhile * seconds:
        return f"{expected} would take {duration(seconds)}, but {duration(left)} are left: skipped"
    print(f"{expected}, at most {duration(seconds)}, {duration(left)} are left", flush=True)
    begin = time.monotonic()
    alarm = threading.Timer(left, os.kill, (os.getpid(), signal.SIGTERM))
    alarm.start()
    try:
        train(config, job.estimator, images, bar=False)
    except (Interrupted, UserError) as error:
        return f"{name}: {error}"
    finally:
        alarm.cancel()
    return f"{name}: done in {duration(time.monotonic() - begin)}"


def load(wanted: Data) -> data.Images:
    return data.load(wanted.name, wanted.root, wanted.binarization)


def estimate(config: Vae, name: str, images: data.Images) -> float:
    """An upper bound of a run's seconds, from some of its steps on this device.

    Compiled steps are faster, but compiling takes longer than this estimate.
    """
    run, place = Run(replace(config, compile="off"), name, images), device(config.device)
    for step in range(1, 7):
        run.step(step)
    synchronize(place)
    numbers = count(7)
    step = seconds_per_step(lambda: run.step(next(numbers)), place)
    steps = config.total_steps(len(images.train)) + getattr(run.method.settings, "warm_up", 0)
    return SET_UP + 1.15 * steps * step


def pack(root: Path, archive: Path) -> None:
    """Write the records of all runs so far into one file."""
    part = archive.with_suffix(".part")
    with tarfile.open(part, "w:gz") as tar:
        for record in sorted(root.rglob("*")):
            if record.name in RECORDS:
                tar.add(record, record.relative_to(root))
    part.replace(archive)

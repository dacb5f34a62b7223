"""Estimated time of runs on this machine, from a few steps of each and a part of a validation."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from experiments.run import ranks
from experiments.run.accelerate import seconds_per_call
from experiments.vae import evaluate
from experiments.vae.config import Vae
from experiments.vae.data import Images
from experiments.vae.train import Run, rows_of


def seconds(config: Vae, name: str, images: Images) -> float:
    """The time of a run from its start, without what torch.compile saves."""
    if not (rows := ranks.mine(rows_of(config))):
        return 0.0
    run = Run(replace(config, compile="off"), name, images, rows)
    steps = config.total_steps(len(images.train))
    step = median(seconds_per_call(run.step, range(1, 10)))
    part = run.images.valid[: evaluate.ROWS]

    def validate(_):
        evaluate.negative_elbo(run.vae, part, run.fresh())

    # At the end: validation and test once more, and the bound on both from so many samples.
    epochs = steps / run.batches.per_epoch
    times = epochs / config.evaluate_every + 2 + 2 * config.iwae_samples
    parts = times * len(run.images.valid) / len(part)
    return steps * step + parts * median(seconds_per_call(validate, range(3)))


def describe(config: Vae, images: Images) -> str:
    """What will be run, in one line."""
    rows, steps = len(rows_of(config)), config.total_steps(len(images.train))
    replicas = f"{rows} replicas (rates x seeds), " if rows > 1 else ""
    how = "compiled" if config.compiled(len(images.train)) else "eager"
    names = ", ".join(config.estimators)
    return f"vae, {config.case(images)}: {names}; {replicas}{steps:,} steps, {how}"

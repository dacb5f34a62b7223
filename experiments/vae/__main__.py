"""python -m experiments.vae preset=vae/quick model=linear1 'estimator=[rebar,relax]'"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from experiments.run import ranks
from experiments.run.config import launch, register, run_path
from experiments.run.launch import train_all
from experiments.vae import data
from experiments.vae.config import Vae
from experiments.vae.estimators import ESTIMATORS
from experiments.vae.plan import describe, seconds
from experiments.vae.results import export, results_path
from experiments.vae.train import rows_of, train

BANNER = """
======================================================================================
  MNIST is missing and cannot be downloaded. This runs on scikit-learn's 8x8 DIGITS.
  All files and figures are labelled digits; they are not comparable with the paper.
  {why}
======================================================================================
"""


def run(config: Vae) -> None:
    """Train the chosen estimators side by side and write their results."""
    # A weight that decays to nothing ends in denormal numbers, ten times as slow as others.
    torch.set_flush_denormal(True)
    images = find_images(config)
    costs = {name: seconds(config, name, images) for name in config.estimators}
    paths = {name: run_path(config, "vae", config.case(images), name) for name in config.estimators}
    wanted = min(config.per_estimator, len(rows_of(config)))
    shared = {name: ranks.count(path, wanted) for name, path in paths.items()}
    alone = config.at_once(sum(shared.values())) == 1
    task = partial(train, config, images=images, bar=alone)
    train_all(config, describe(config, images), costs, task, shared)
    for name, path in paths.items():
        if shared[name] > 1:
            ranks.merge(path, shared[name], united)
    if not ranks.gather(paths.values(), united):
        return
    for name in config.estimators:
        export(config, name, images)
    print(f"curves and summary.csv: {results_path(config, images)}", flush=True)


def united(_: Path, summaries: list[dict[str, Any]]) -> dict[str, Any]:
    return ranks.united(summaries)


def find_images(config: Vae) -> data.Images:
    """The configured images; digits replace a missing MNIST where `data.fallback` allows it."""
    wanted = config.data
    try:
        return data.load(wanted.name, wanted.root, wanted.binarization)
    except data.Missing as error:
        if not wanted.fallback:
            raise
        print(BANNER.format(why=error), flush=True)
        return data.load("digits", wanted.root, "static")


register("vae", Vae, ESTIMATORS)

if __name__ == "__main__":
    launch(run, "vae", Vae)

"""python -m experiments.vae preset=vae/quick model=linear1 'estimator=[rebar,relax]'"""

from __future__ import annotations

from functools import partial

import torch

from experiments.run import ranks
from experiments.run.config import launch, register, run_path
from experiments.run.launch import train_all
from experiments.vae import data
from experiments.vae.config import Vae
from experiments.vae.estimators import ESTIMATORS
from experiments.vae.plan import describe, seconds
from experiments.vae.results import export, results_path
from experiments.vae.train import train

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
    task = partial(train, config, images=images, bar=config.at_once == 1)
    train_all(config, describe(config, images), costs, task)
    paths = [run_path(config, "vae", config.case(images), name) for name in config.estimators]
    if not ranks.gather(paths, lambda _, summaries: ranks.united(summaries)):
        return
    for name in config.estimators:
        export(config, name, images)
    print(f"curves and summary.csv: {results_path(config, images)}", flush=True)


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

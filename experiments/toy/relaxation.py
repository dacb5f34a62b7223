"""The surrogates of REBAR and RELAX at theta = .5, early and late: figure 2 of the paper.

theta stays at .5 and phi alone is trained. The paper's figure shows one run after about 30 steps.
Later, RELAX's surrogate becomes flat: with a single bit, the constant f(1)(1 - theta) + f(0) theta
removes all of the variance. It is .25 at any t near .5.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch

import relax as rx
from experiments.run.config import Tracking, run_path, settings
from experiments.run.files import read_table, texts, write_table
from experiments.run.folder import RunFolder
from experiments.run.tracker import Tracker
from experiments.toy.config import Toy
from experiments.toy.results import results_path
from experiments.toy.train import Run

NAME = "relaxation"
ESTIMATORS = ("rebar", "relax")
POINTS = 101  # values of u
SHOWN = 12  # seeds whose curves are kept one by one


def train(config: Toy) -> None:
    """Train phi at theta = .5 and keep c(z(u)) after each of config.snapshots steps."""
    unused = ("steps", "lr", "log_every", "variance_every", "variance_samples")
    both = {name: asdict(config.settings_of(name)) for name in ESTIMATORS}
    deciding = settings(config, NAME, both, without=unused)
    path, steps = run_path(config, "toy", config.case, NAME), max(config.snapshots)
    with RunFolder(path, deciding, free=(), fresh=config.fresh) as folder:
        if folder.finished(steps):
            return
        folder.load()
        runs = {name: Run(config, name) for name in ESTIMATORS}
        u = grid()
        keys = {
            "seed": np.arange(config.seeds).repeat(POINTS).tolist(),
            "u": u.tolist() * config.seeds,
        }
        off = Tracking(mode="disabled")
        name = f"toy-{config.case}-{path.name}"
        with Tracker(folder, keys, ESTIMATORS, steps, off, name=name, bar=False) as tracker:
            # The only checkpoint is the last step's: a run killed after it has no step left to do.
            for step in range(folder.step + 1, steps + 1):
                for name, run in runs.items():
                    run.step_of_phi()
                    if step in config.snapshots:
                        tracker.log(step, {name: surrogate(run, u).flatten()})
            folder.save(steps, {}, tracker)
            tracker.finish({}, f"{' and '.join(ESTIMATORS)} at theta = .5")


def grid() -> torch.Tensor:
    """Values of u in the open interval (0, 1)."""
    return (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS


def surrogate(run: Run, u: torch.Tensor) -> torch.Tensor:
    """c(z(u)) of every replica, [R, POINTS]; REBAR's without the factor eta."""
    logit = run.logit.detach().expand(-1, POINTS, -1)
    dist = rx.Bernoulli(logit, replicas=1)
    z = dist.reparameterize(u.to(logit).reshape(1, POINTS, 1))
    return run.method.surrogate(run.f, dist)(z).detach()


def export(config: Toy) -> None:
    """Write relaxation.csv: quantiles over the seeds, and the curves of the first few."""
    table = read_table(run_path(config, "toy", config.case, NAME) / "metrics.csv")
    u, rows = table["u"][:POINTS], []
    for step in config.snapshots:
        at = table["step"] == step
        for name in ESTIMATORS:
            c = table[name][at].reshape(-1, POINTS)
            q10, median, q90 = np.quantile(c, [0.1, 0.5, 0.9], axis=0)
            curves = {"q10": q10, "median": median, "q90": q90}
            curves |= {f"seed{seed}": c[seed] for seed in range(min(SHOWN, len(c)))}
            for curve, values in curves.items():
                cells = zip(texts(u), texts(values.astype(np.float32)), strict=True)
                rows += [(step, name, curve, x, y) for x, y in cells]
    columns = ["step", "estimator", "curve", "u", "value"]
    write_table(results_path(config) / "relaxation.csv", columns, rows)

"""What REBAR and RELAX see of f at theta = .5, early and late: figure 2 of the paper.

theta stays at .5 and phi alone is trained. The paper's figure is a snapshot of one run after about
30 steps. Late, RELAX's surrogate is flat: for one coin the constant f(1)(1 - theta) + f(0) theta,
which is .25 here at any t near .5, leaves no variance at all.
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
SHOWN = 12  # seeds whose own curves are kept


def learn(config: Toy) -> None:
    """Train phi at theta = .5 and keep c(z(u)) after each of config.snapshots steps."""
    own = {name: config.own(name) for name in ESTIMATORS}
    unused = ("steps", "lr", "log_every", "variance_every", "variance_samples", "compile")
    plain = settings(config, NAME, {k: asdict(v) for k, v in own.items()}, without=unused)
    path, steps = run_path(config, "toy", config.case, NAME), max(config.snapshots)
    with RunFolder(path, plain, free=(), fresh=config.fresh) as folder:
        if folder.finished(steps):
            return
        folder.load()
        runs = {name: Run(config, name, own[name]) for name in ESTIMATORS}
        u = grid()
        keys = {
            "seed": np.arange(config.seeds).repeat(POINTS).tolist(),
            "u": u.tolist() * config.seeds,
        }
        off = Tracking(mode="disabled")
        name = f"toy-{config.case}-{path.name}"
        with Tracker(folder, keys, ESTIMATORS, steps, off, name=name, bar=False) as tracker:
            # The one checkpoint is of the last step: a run killed just after it only has to finish.
            for step in range(folder.step + 1, steps + 1):
                for name, run in runs.items():
                    run.step(theta=False)
                    if step in config.snapshots:
                        tracker.log(step, {name: surrogate(run, u).flatten()})
            folder.save(steps, {}, tracker)
            tracker.finish({}, f"{' and '.join(ESTIMATORS)} at theta = .5")


def grid() -> torch.Tensor:
    """u on the open interval."""
    return (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS


def surrogate(run: Run, u: torch.Tensor) -> torch.Tensor:
    """c(z(u)) of every replica [R, POINTS]; REBAR's without eta, as f(sigma_lambda(z))."""
    logit = run.logit.detach().expand(-1, POINTS, -1)
    dist = rx.Bernoulli(logit, replicas=1)
    z = dist.reparameterize(u.to(logit).reshape(1, POINTS, 1))
    return run.method.surrogate(run.f, dist)(z).detach()


def export(config: Toy) -> None:
    """relaxation.csv: quantiles over seeds and the first seeds' own curves."""
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

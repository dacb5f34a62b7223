"""python -m experiments.compare [--only PART ...] [--late 10000] [--draws 100] [--fresh]

Compares estimators at fixed weights: on functions with an exact gradient (results/compare/
functions.csv, and lambda.csv, the variance of unbiased_reinmax against lambda), and on the layers
of the VAE models early and late in training (<model>-<stage>.csv). The part same-weights
measures the paper's estimators at the weights of a linear1 that RELAX trained
(results/vae/variance). Existing tables are skipped. Missing checkpoints are trained first, by the
command that is printed. `python -m scripts.compare_figures` draws the figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

import relax as rx
from experiments.compare import functions, same_weights
from experiments.compare.files import trained, write
from experiments.compare.layers import Layer, other_images
from experiments.compare.measure import Measured, fit, measure, squared_bias
from experiments.compare.settings import SETTINGS, Bench, Setting
from experiments.run.processes import side_by_side
from experiments.vae import data

OUT = Path("results/compare")
MODELS = ("linear1", "linear2", "nonlinear", "categorical")
BATCH = 100  # the first images of the training set are measured on
COPIES = 500  # draws at once of a function
LAMBDAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0)
STAGES = {"early": "batch=100", "late": "batch=24"}  # of the checkpoints


class Problem(NamedTuple):
    labels: dict[str, Any]  # problem, stage, steps, layer
    measured: Any
    stream: Callable[[], Any]  # other problems of its kind, to fit phi on
    exact: Tensor | None = None  # the gradient, [rows, coordinates]
    copies: int = 1  # draws at once

    @property
    def reference(self) -> str | None:
        """The setting whose mean is the gradient, where there is no exact one."""
        if self.exact is not None:
            return None
        return "unbiased_reinmax-3" if self.measured.dist.bits else "local_expectation"


def vae_layers(images: data.Images, model: str, stage: str, steps: int) -> Iterator[Problem]:
    """Every layer of a REBAR-trained model on the first images, and a stream of other images."""
    own = ("data.binarization=dynamic", "direct_gradient=false", STAGES[stage])
    vae = trained(images, model, "rebar", stage, steps, *own)
    vae.requires_grad_(False)
    for layer in range(vae.depth):
        generator = torch.Generator().manual_seed(0)
        x = images.train[:BATCH]
        x = (torch.rand(x.shape, generator=generator) < x).to(x.dtype)
        labels = {"problem": model, "stage": stage, "steps": steps, "layer": layer + 1}
        stream = other_images(vae, layer, images, generator)
        yield Problem(labels, Layer(vae, layer, x, generator), stream)


def all_functions() -> Iterator[Problem]:
    """Every function at its starting logits, and after training where it has a gradient."""
    for name, stage in product(functions.FUNCTIONS, ("start", "late")):
        if stage == "start" or name != "cosine_parity":
            found = functions.problem(name, stage)
            steps = 0 if stage == "start" else functions.STEPS
            labels = {"problem": name, "stage": stage, "steps": steps, "layer": 1}
            exact = found.exact().flatten(1)
            yield Problem(labels, found, found.stream, exact, COPIES)


def measure_one(problem: Problem, name: str, setting: Setting, draws: int) -> Measured:
    """One setting on one problem, its phi fitted first."""
    torch.manual_seed(0)  # networks in phi
    # The reference has other noise, because shared noise would cancel in the bias.
    generator = torch.Generator().manual_seed(2 if name == problem.reference else 1)
    bench = Bench(problem.measured)
    built = setting.build(bench)
    fit(bench, built, setting, problem.stream, generator)
    count = draws // 8 if setting.slow else draws
    count = 2 * draws if name == problem.reference else count
    return measure(bench, built[0], count * problem.copies, generator, problem.copies)


def measure_all(problem: Problem, draws: int) -> pd.DataFrame:
    """A row for every setting that exists on this problem."""
    found = {
        name: measure_one(problem, name, setting, draws)
        for name, setting in SETTINGS.items()
        if setting.exists_on(problem.measured)
    }
    gradient, noise = problem.exact, torch.zeros(())
    if problem.reference:
        gradient, noise = found[problem.reference].mean, found[problem.reference].noise
    gradient2 = float((gradient.square() - noise).sum(-1).mean())
    rows = []
    for name, measured in found.items():
        bias = squared_bias(measured, gradient, noise)
        if name == problem.reference:
            bias = (None, None)  # against itself
        row = {
            "estimator": name,
            "unbiased": int(SETTINGS[name].unbiased),
            "evaluations": measured.evaluations,
            "variance": measured.variance,
            "bias2": bias[0],
            "bias2_error": bias[1],
            "gradient2": gradient2,
            "milliseconds": measured.milliseconds,
            "draws": len(measured.grads),
        }
        rows.append(problem.labels | row)
        print(*rows[-1].values(), flush=True)
    return pd.DataFrame(rows)


def against_lambda(problem: Problem, draws: int) -> pd.DataFrame:
    """The variance of unbiased_reinmax at eta = gamma = 1 over that of leave-one-out."""

    def variance(estimator: Callable) -> float:
        bench, generator = Bench(problem.measured), torch.Generator().manual_seed(1)
        count = draws * problem.copies
        return measure(bench, estimator, count, generator, problem.copies).variance

    unit, rows = variance(rx.rloo), []
    for value in LAMBDAS:
        ratio = variance(partial(rx.unbiased_reinmax, lambda_=value)) / unit
        rows.append(problem.labels | {"lambda": value, "over_rloo": ratio})
    return pd.DataFrame(rows)


def every(problems: Callable[[], Iterator[Problem]], measured: Callable, draws: int):
    return pd.concat(measured(problem, draws) for problem in problems())


def bits() -> Iterator[Problem]:
    return (p for p in all_functions() if p.measured.dist.bits)


def parts(args: argparse.Namespace) -> dict[str, tuple[Path, Callable[[], pd.DataFrame]]]:
    """Every part's table, and how it is made."""
    images = data.load("mnist", "data", "dynamic").to(torch.device("cpu"))
    made: dict[str, Callable] = {
        "functions": partial(every, all_functions, measure_all, args.draws),
        "lambda": partial(every, bits, against_lambda, args.draws),
    }
    for (stage, steps), model in product({"early": 1000, "late": args.late}.items(), MODELS):
        layers = partial(vae_layers, images, model, stage, steps)
        made[f"{model}-{stage}"] = partial(every, layers, measure_all, args.draws)
    tables = {part: (OUT / f"{part}.csv", make) for part, make in made.items()}
    return {"same-weights": (same_weights.OUT / "variance.csv", same_weights.run)} | tables


def make(path: Path, table: Callable[[], pd.DataFrame], fresh: bool) -> None:
    """Make one part's table, unless it exists."""
    if path.exists() and not fresh:
        print(f"{path} exists: skipped", flush=True)
    else:
        write(table(), path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.compare")
    parser.add_argument("--late", type=int, default=10_000, help="steps of the late checkpoints")
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--only", nargs="+", default=[], help="parts, such as linear1-early")
    parser.add_argument("--fresh", action="store_true", help="make existing tables again")
    parser.add_argument("--processes", type=int, default=2, help="parts at the same time")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tables = parts(args)
    names = [part for part in tables if part in args.only or not args.only]
    side_by_side(lambda part: make(*tables[part], args.fresh), names, args.processes)


if __name__ == "__main__":
    main()

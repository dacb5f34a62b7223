"""python -m experiments.compare [--only PART ...] [--late 100000] [--draws 200] [--seconds 15]
                           [--fresh | --add SETTING ...]

Compares estimators at fixed weights, on the toys and on the layers of the three VAE models early
and late in training (results/compare/<problem>-<stage>.csv); trains at equal time
(curves-<model>.csv); and measures the paper's estimators at the weights of a linear1 that RELAX
trained (part same-weights, results/vae/variance). Existing tables are skipped. Missing checkpoints
are trained first, by the command that is printed. --add measures a few settings for existing
tables. `python -m scripts.compare_figures` draws the figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from experiments.compare import same_weights
from experiments.compare.checkpoints import trained
from experiments.compare.measure import Measured, add_bias, fit, measure
from experiments.compare.problems import (
    Layer,
    Toy,
    bernoulli_toy,
    categorical_toy,
    other_images,
)
from experiments.compare.race import race
from experiments.compare.settings import SETTINGS, Bench, Setting
from experiments.vae import data
from experiments.vae.models import MODELS

OUT = Path("results/compare")
BATCH = 100  # the first images of the training set are measured on
COPIES = 1000  # draws at once on a toy
REFERENCE = "unbiased_reinmax-3"  # its mean is the reference gradient where there is no exact one
RACED = ("linear1", "nonlinear")
RACERS = "rloo-2 disarm-2 arms-3 rebar relax unbiased_reinmax-1 unbiased_reinmax-2 reinmax".split()
LR = 1e-3  # of the race
TOYS = {"bernoulli": bernoulli_toy, "categorical": categorical_toy}
STAGES = {"early": "batch=100", "late": "batch=24"}  # of the checkpoints


class Problem(NamedTuple):
    labels: tuple  # problem, stage, steps, layer
    measured: Any
    stream: Callable[[], Any]  # other problems of its kind, to fit phi on


def vae_layers(images: data.Images, model: str, stage: str, steps: int) -> Iterator[Problem]:
    """Every layer of a REBAR-trained model on the first images, and a stream of other images."""
    vae = trained(images, model, "rebar", stage, steps, "data.binarization=dynamic", STAGES[stage])
    vae.requires_grad_(False)
    for layer in range(vae.depth):
        generator = torch.Generator().manual_seed(0)
        x = images.train[:BATCH]
        x = (torch.rand(x.shape, generator=generator) < x).to(x.dtype)
        stream = other_images(vae, layer, images, generator)
        yield Problem((model, stage, steps, layer + 1), Layer(vae, layer, x, generator), stream)


def toy(name: str) -> Iterator[Problem]:
    one = TOYS[name]()
    many = Toy(one.dist.with_theta(one.dist.theta.expand(64, -1)), one.f)
    yield Problem((name, "start", 0, 1), one, lambda: many)


def measure_one(problem: Problem, name: str, setting: Setting, draws: int) -> Measured:
    """One setting on one problem, its phi fitted first."""
    is_toy = isinstance(problem.measured, Toy)
    copies = COPIES if is_toy else 1
    torch.manual_seed(0)  # networks in phi
    # The reference has other noise, because shared noise would cancel in the bias.
    generator = torch.Generator().manual_seed(2 if name == REFERENCE else 1)
    bench = Bench(problem.measured)
    built = setting.build(bench)
    fit(bench, built, setting, problem.stream, generator)
    count = draws // 8 if setting.slow and not is_toy else draws
    count = 2 * draws if name == REFERENCE else count
    return measure(bench, built, count * copies, generator, copies)


def measure_all(problem: Problem, draws: int, names: Collection[str] = ()) -> pd.DataFrame:
    """A row for every setting that exists on this problem, or for `names` alone."""
    exact = problem.measured.exact() if isinstance(problem.measured, Toy) else None
    wanted = {*names, REFERENCE} if exact is None else {*names}
    found = {
        name: measure_one(problem, name, setting, draws)
        for name, setting in SETTINGS.items()
        if setting.exists_on(problem.measured) and (not names or name in wanted)
    }
    if exact is None:
        gradient, noise = found[REFERENCE].mean, found[REFERENCE].variance_of_mean
    else:
        gradient, noise = exact, torch.zeros(())
    gradient2 = float((gradient.square() - noise).sum(-1).mean())
    rows = []
    for name, measured in found.items():
        if not names or name in names:
            add_bias(measured, gradient, noise)
            no_bias = exact is None and name == REFERENCE  # against itself
            rows.append(labels(problem) | cells(name, measured, gradient2, no_bias))
            print(*rows[-1].values(), flush=True)
    return pd.DataFrame(rows)


def labels(problem: Problem) -> dict[str, str]:
    return dict(zip(("problem", "stage", "steps", "layer"), map(str, problem.labels), strict=True))


def cells(name: str, found: Measured, gradient2: float, no_bias: bool) -> dict[str, str]:
    """The measured columns of a row."""
    return {
        "estimator": name,
        "unbiased": str(int(SETTINGS[name].unbiased)),
        "evaluations": f"{found.evaluations:.4g}",
        "variance": f"{found.variance:.4g}",
        "bias2": "" if no_bias else f"{found.bias2:.3g}",
        "bias2_error": "" if no_bias else f"{found.bias2_error:.2g}",
        "gradient2": f"{gradient2:.4g}",
        "milliseconds": f"{found.milliseconds:.3g}",
        "draws": str(found.draws),
    }


def merged(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """New rows replace old ones, in the order of the layers and the settings."""
    both = pd.concat([old, new]).drop_duplicates(["layer", "estimator"], keep="last")
    order = {name: index for index, name in enumerate(SETTINGS)}
    return both.sort_values(
        ["layer", "estimator"], key=lambda column: column.map(order).fillna(column)
    )


def race_all(images: data.Images, model: str, seconds: float) -> pd.DataFrame:
    """Training curves of a one-layer model at equal time."""
    rows = []
    for name in RACERS:
        curve = race(model, images, SETTINGS[name], seconds, lr=LR)
        rows += [(model, name, LR, f"{p.seconds:.2f}", p.steps, f"{p.train:.3f}") for p in curve]
        print(model, name, LR, curve[-1].steps, f"steps, -ELBO {curve[-1].train:.2f}", flush=True)
    return pd.DataFrame(rows, columns="model estimator lr seconds steps train".split())


def read(path: Path) -> pd.DataFrame:
    """All cells as text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def write(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, lineterminator="\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m experiments.compare")
    parser.add_argument("--late", type=int, default=100_000, help="steps of the late checkpoints")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=15, help="of training per curve")
    parser.add_argument("--only", nargs="+", default=[], help="parts, such as linear1-early")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--fresh", action="store_true", help="make existing tables again")
    again.add_argument("--add", nargs="+", default=[], help="settings, to existing tables")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    images = data.load("mnist", "data", "dynamic").to(torch.device("cpu"))
    problems: dict[str, Callable[[], Iterator[Problem]]] = {
        f"{name}_toy-start": partial(toy, name) for name in TOYS
    }
    for (stage, steps), model in product({"early": 1000, "late": args.late}.items(), MODELS):
        problems[f"{model}-{stage}"] = partial(vae_layers, images, model, stage, steps)
    tables = {part: OUT / f"{part}.csv" for part in problems}
    tables |= {f"curves-{model}": OUT / f"curves-{model}.csv" for model in RACED}
    tables["same-weights"] = same_weights.OUT / "variance.csv"
    for part in args.only or tables:
        path = tables[part]
        if path.exists() and args.add and part in problems:
            added = [measure_all(p, args.draws, args.add) for p in problems[part]()]
            write(merged(read(path), pd.concat(added)), path)
        elif path.exists() and not args.fresh:
            print(f"{path} exists: skipped", flush=True)
        elif part in problems:
            write(pd.concat(measure_all(p, args.draws) for p in problems[part]()), path)
        elif part == "same-weights":
            same_weights.run(data.load("mnist", "data", "static").to(torch.device("cpu")))
        else:
            write(race_all(images, part.split("-")[1], args.seconds), path)


if __name__ == "__main__":
    main()

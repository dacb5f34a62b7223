"""python -m experiments.compare [--only PART ...] [--late 100000] [--draws 200] [--seconds 15]
                           [--fresh | --add ESTIMATOR ... | --times]

Every estimator on the toys and on the layers of the three VAE models, early and late in training:
results/compare/<problem>-<stage>.csv; and training at equal time: curves-<model>.csv. What is there
already is skipped. Checkpoints that are not there are trained first, by the command that is
printed. --add measures a few estimators, --times the milliseconds of all, into tables that are
there. `python -m scripts.compare_figures` draws.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from experiments.compare import contestants
from experiments.compare import measure as compare
from experiments.compare.layer import Layer
from experiments.compare.race import batches, race
from experiments.vae import data
from experiments.vae.models import MODELS, VAE

OUT = Path("results/compare")
RUNS = "runs/compare"  # of the checkpoints: no results of the VAE family
BATCH = 100  # images that are measured on: the first of the training set
COPIES = 1000  # draws at once on a toy
ROUNDS = 9  # of timing
REFERENCE = "rao_relax-3"  # its mean is the reference gradient where none is exact
RACERS = (
    "rloo-2",
    "disarm-2",
    "arms-3",
    "rebar",
    "relax",
    "rao_relax-1",
    "rao_relax-2",
    "reinmax",
)
RACED = ("linear1", "nonlinear")
RATES = (1e-3,)
TOYS = {"bernoulli": compare.bernoulli_toy, "categorical": compare.categorical_toy}
CURVE = ("model", "estimator", "lr", "seconds", "steps", "train")
COLUMNS = (
    "problem",
    "stage",
    "steps",
    "layer",
    "estimator",
    "unbiased",
    "evaluations",
    "variance",
    "bias2",
    "bias2_error",
    "gradient2",
    "milliseconds",
    "draws",
)


class Problem(NamedTuple):
    labels: tuple  # problem, stage, steps, layer
    measured: Any
    stream: Callable[[], Any]  # others of its kind, to fit phi on


def checkpoint(model: str, stage: str, steps: int) -> Path:
    """A REBAR-trained model after so many steps; trained or continued where it is not there."""
    settings = {"early": ["batch=100"], "late": ["batch=24"]}[stage]
    command = [
        *(sys.executable, "-m", "experiments.vae", "preset=vae/quick", f"model={model}"),
        *("estimator=[rebar]", "lr=[1e-3]", "data=mnist", "data.binarization=dynamic"),
        *(*settings, f"steps={steps}", f"tag={stage}", "variance_every=0", "iwae_samples=0"),
        *("evaluate_every=10", "pictures=false", "tracking=disabled"),
        *(f"runs={RUNS}", f"results={RUNS}"),
    ]
    print(" ".join(["python", *command[1:]]), flush=True)
    subprocess.run(command, check=True)
    return Path(f"{RUNS}/vae/quick/mnist-{model}/rebar-{stage}/checkpoint.pt")


def vae_layers(images: data.Images, model: str, stage: str, steps: int) -> Iterator[Problem]:
    """Every layer of a trained model on the fixed batch, and a stream of others to fit phi on."""
    vae = VAE(model, images.mean.float(), generators=[torch.Generator()])
    state = torch.load(checkpoint(model, stage, steps), weights_only=False)["state"]
    vae.load_state_dict(state["vae"])
    vae.requires_grad_(False)
    for layer in range(vae.depth):
        generator = torch.Generator().manual_seed(0)
        x = images.train[:BATCH]
        x = (torch.rand(x.shape, generator=generator) < x).to(x.dtype)
        others = batches(images, 24, generator)
        yield Problem(
            (model, stage, steps, layer + 1),
            Layer(vae, layer, x, generator),
            partial(_next_layer, vae, layer, others, generator),
        )


def _next_layer(vae: VAE, layer: int, others: Iterator, generator: torch.Generator) -> Layer:
    return Layer(vae, layer, next(others), generator)


def toy(name: str) -> Iterator[Problem]:
    one = TOYS[name]()
    many = compare.Toy(one.dist.with_theta(one.dist.theta.expand(64, -1)), one.f)
    yield Problem((name, "start", 0, 1), one, lambda: many)


def measure_all(
    labels: tuple, problem: Any, stream: Callable, draws: int, names: Collection[str] = ()
) -> list[dict]:
    """A row for every estimator that has a meaning on this problem, or for `names` alone."""
    found: dict[str, tuple[contestants.Contestant, compare.Measured]] = {}
    exact = compare.exact(problem)
    copies = COPIES if exact is not None else 1
    for name, contestant in contestants.contestants(problem).items():
        if names and name not in names and (name != REFERENCE or exact is not None):
            continue
        torch.manual_seed(0)  # networks in phi
        # the reference's noise is its own: shared noise would hide in the bias
        generator = torch.Generator().manual_seed(2 if name == REFERENCE else 1)
        bench = contestants.Bench(problem)
        made = contestant.make(bench)
        compare.fit(bench, made, contestant, stream, generator)
        count = draws // 8 if contestant.slow and exact is None else draws
        count = 2 * draws if name == REFERENCE else count
        measured = compare.measure(bench, made, count * copies, generator, copies)
        found[name] = contestant, measured
    reference = found[REFERENCE][1] if exact is None else None
    rows = []
    for name, (contestant, measured) in found.items():
        if names and name not in names:
            continue
        if reference is None:
            compare.add_bias(measured, exact, 0.0)
            gradient2 = float(exact.square().sum(-1).mean())
        else:
            compare.add_bias(measured, reference.mean, reference.variance_of_mean)
            noise = reference.variance_of_mean
            gradient2 = float((reference.mean.square() - noise).sum(-1).mean())
        values = (
            *labels,
            name,
            int(contestant.unbiased),
            f"{measured.evaluations:.4g}",
            f"{measured.variance:.4g}",
            f"{measured.bias2:.3g}" if measured is not reference else "",
            f"{measured.bias2_error:.2g}" if measured is not reference else "",
            f"{gradient2:.4g}",
            f"{measured.milliseconds:.3g}",
            measured.draws,
        )
        rows.append(dict(zip(COLUMNS, map(str, values), strict=True)))
        print(*values, flush=True)
    return rows


def merged(there: list[dict], new: list[dict]) -> list[dict]:
    """New rows in the place of the old ones, in the order of the layers and the estimators."""
    rows = {(row["layer"], row["estimator"]): row for row in [*there, *new]}
    order = list(contestants.CONTESTANTS)
    return sorted(rows.values(), key=lambda row: (row["layer"], order.index(row["estimator"])))


def time_again(rows: list[dict], problem: Problem) -> None:
    """The milliseconds of a layer's rows anew: the median of rounds in which all take their turn.

    phi stays at its start: what it costs does not depend on its values.
    """
    layer, benches = str(problem.labels[-1]), {}
    copies = 1 if compare.exact(problem.measured) is None else COPIES
    rows = [row for row in rows if row["layer"] == layer]
    for row in rows:
        bench = contestants.Bench(problem.measured)
        made = contestants.CONTESTANTS[row["estimator"]].make(bench)
        benches[row["estimator"]] = bench, made, []
    generator = torch.Generator().manual_seed(0)
    for _ in range(ROUNDS):
        for bench, made, times in benches.values():
            times.append(compare.measure(bench, made, copies, generator, copies).milliseconds)
    for row in rows:
        row["milliseconds"] = f"{median(benches[row['estimator']][2]):.3g}"


def read(path: Path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, columns: tuple, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def race_all(images: data.Images, model: str, seconds: float) -> list[dict]:
    """Training curves of a one-layer model at equal time, at each rate."""
    rows = []
    for name, lr in product(RACERS, RATES):
        curve = race(model, images, contestants.CONTESTANTS[name], seconds, lr=lr)
        for point in curve:
            values = (model, name, lr, f"{point.seconds:.2f}", point.steps, f"{point.train:.3f}")
            rows.append(dict(zip(CURVE, values, strict=True)))
        print(model, name, lr, curve[-1].steps, f"steps, -ELBO {curve[-1].train:.2f}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.compare")
    parser.add_argument("--late", type=int, default=100_000, help="steps of the late checkpoints")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=15, help="of training per curve")
    parser.add_argument("--only", nargs="+", default=[], help="parts, such as linear1-early")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--fresh", action="store_true", help="do what is there again")
    again.add_argument("--add", nargs="+", default=[], help="estimators, to tables that are there")
    again.add_argument("--times", action="store_true", help="of tables that are there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    images = data.load("mnist", "data", "dynamic").to(torch.device("cpu"))
    problems: dict[str, Callable[[], Iterator[Problem]]] = {
        f"{name}_toy-start": partial(toy, name) for name in TOYS
    }
    for (stage, steps), model in product({"early": 1000, "late": args.late}.items(), MODELS):
        problems[f"{model}-{stage}"] = partial(vae_layers, images, model, stage, steps)
    parts = [*problems, *(f"curves-{model}" for model in RACED)]
    for part in args.only or parts:
        path = OUT / f"{part}.csv"
        if path.exists() and (args.add or args.times) and part in problems:
            rows = read(path)
            for problem in problems[part]():
                if args.times:
                    time_again(rows, problem)
                else:
                    rows = merged(rows, measure_all(*problem, args.draws, args.add))
            write(path, COLUMNS, rows)
        elif path.exists() and not args.fresh:
            print(f"{path} is there: skipped", flush=True)
        elif part in problems:
            rows = [row for p in problems[part]() for row in measure_all(*p, args.draws)]
            write(path, COLUMNS, rows)
        else:
            write(path, CURVE, race_all(images, part.split("-")[1], args.seconds))


if __name__ == "__main__":
    main()

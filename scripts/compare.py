"""python -m scripts.compare [--late 100000] [--draws 200] [--seconds 30]

Every estimator on the toys and on layers of the three VAE models, early and late in training:
results/compare/comparison.csv, and curves.csv of training at equal time. Checkpoints that are not
there are trained first, by the command that is printed. `python -m scripts.compare_figures` draws.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from experiments import compare, data
from experiments.vae.layer import Layer
from experiments.vae.models import MODELS, VAE
from experiments.vae.race import batches, race

OUT = Path("results/compare")
BATCH = 100  # images that are measured on: the first of the training set
COPIES = 1000  # draws at once on a toy
REFERENCE = "rao_relax-3"  # its mean is the reference gradient where none is exact
RACERS = (
    "nvil",
    "rloo-2",
    "disarm-2",
    "arms-3",
    "double_cv-2",
    "rebar",
    "relax",
    "rao_relax-1",
    "rao_relax-2",
    "reinmax",
)
COLUMNS = (
    "problem",
    "stage",
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


def checkpoint(model: str, stage: str, steps: int) -> Path:
    """A REBAR-trained model after so many steps; trained or continued where it is not there."""
    settings = {"early": ["batch=100"], "late": ["batch=24"]}[stage]
    command = [
        *(sys.executable, "-m", "experiments.vae", "preset=vae/quick", f"model={model}"),
        *("estimator=[rebar]", "lr=[1e-3]", "data=mnist", "data.binarization=dynamic"),
        *(*settings, f"steps={steps}", f"tag={stage}", "variance_every=0", "iwae_samples=0"),
        *("evaluate_every=10", "pictures=false", "tracking=disabled"),
    ]
    print(" ".join(["python", *command[1:]]), flush=True)
    subprocess.run(command, check=True)
    return Path(f"runs/vae/quick/mnist-{model}/rebar-{stage}/checkpoint.pt")


def vae_problems(images: data.Images, late: int) -> Iterator[tuple[tuple, Any, Callable]]:
    """(labels, problem on the fixed batch, stream of others to fit phi on) of every layer."""
    for stage, steps in (("early", 1000), ("late", late)):
        for model, (layers, _) in MODELS.items():
            vae = VAE(model, images.mean.float(), generators=[torch.Generator()])
            path = checkpoint(model, stage, steps)
            vae.load_state_dict(torch.load(path, weights_only=False)["state"]["vae"])
            vae.requires_grad_(False)
            for layer in range(layers):
                generator = torch.Generator().manual_seed(0)
                x = images.train[:BATCH]
                x = (torch.rand(x.shape, generator=generator) < x).to(x.dtype)
                others = batches(images, 24, generator)
                yield (
                    (model, stage, layer + 1),
                    Layer(vae, layer, x, generator),
                    partial(_next_layer, vae, layer, others, generator),
                )


def _next_layer(vae: VAE, layer: int, others: Iterator, generator: torch.Generator) -> Layer:
    return Layer(vae, layer, next(others), generator)


def toy_problems() -> Iterator[tuple[tuple, Any, Callable]]:
    for name, toy in (
        ("bernoulli toy", compare.bernoulli_toy()),
        ("categorical toy", compare.categorical_toy()),
    ):
        many = compare.Toy(toy.dist.with_theta(toy.dist.theta.expand(64, -1)), toy.f)
        yield (name, "start", 1), toy, lambda many=many: many


def measure_all(labels: tuple, problem: Any, stream: Callable, draws: int) -> list[dict]:
    """A row for every estimator that has a meaning on this problem."""
    found: dict[str, tuple[compare.Contestant, compare.Measured]] = {}
    exact = compare.exact(problem)
    copies = COPIES if exact is not None else 1
    for name, contestant in compare.contestants(problem).items():
        torch.manual_seed(0)  # networks in phi
        generator = torch.Generator().manual_seed(1)
        bench = compare.Bench(problem)
        made = contestant.make(bench)
        compare.fit(bench, made, contestant, stream, generator)
        count = draws // 8 if contestant.slow and exact is None else draws
        count = 2 * draws if name == REFERENCE else count
        measured = compare.measure(bench, made, count * copies, generator, copies)
        found[name] = contestant, measured
    reference = found[REFERENCE][1] if exact is None else None
    rows = []
    for name, (contestant, measured) in found.items():
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
        rows.append(dict(zip(COLUMNS, values, strict=True)))
        print(*(f"{v}" for v in values), flush=True)
    return rows


def write(path: Path, columns: tuple, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def race_all(images: data.Images, seconds: float) -> list[dict]:
    """Training curves of the one-layer models at equal time."""
    rows = []
    for model in ("linear1", "nonlinear"):
        for name in RACERS:
            for point in race(model, images, compare.CONTESTANTS[name], seconds):
                values = (model, name, f"{point.seconds:.2f}", point.steps, f"{point.train:.3f}")
                rows.append(dict(zip(CURVE, values, strict=True)))
            print(model, name, point.steps, f"steps, -ELBO {point.train:.2f}", flush=True)
    return rows


CURVE = ("model", "estimator", "seconds", "steps", "train")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.compare")
    parser.add_argument("--late", type=int, default=100_000, help="steps of the late checkpoints")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30, help="of training per curve")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only", choices=("toys", "vae", "curves"), help="just this part")
    args = parser.parse_args()
    torch.set_num_threads(1)
    images = data.load("mnist", "data", "dynamic").to(torch.device("cpu"))
    if args.only != "curves":
        problems = list(toy_problems())
        if args.only != "toys":
            problems += vae_problems(images, args.late)
        rows = [row for problem in problems for row in measure_all(*problem, args.draws)]
        write(args.out / "comparison.csv", COLUMNS, rows)
    if args.only in (None, "curves"):
        write(args.out / "curves.csv", CURVE, race_all(images, args.seconds))


if __name__ == "__main__":
    main()

"""The paper's estimators at the weights of a linear1 that RELAX trained, and RELAX's terms.

Writes variance.csv (of the gradient in the logits and in the encoder's weights), terms.csv (a
histogram of the terms of RELAX's estimator, one coordinate) and terms_variance.csv.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import relax as rx
from experiments.compare.files import trained, write
from experiments.compare.layers import Layer, other_images
from experiments.compare.measure import fit, measure
from experiments.compare.settings import SETTINGS, Bench, Built, Setting, relaxed_f
from experiments.run.hardware import hardware
from experiments.vae import data
from experiments.vae.data import Images
from experiments.vae.models import VAE

OUT = Path("results/vae/variance/mnist-linear1")
REBAR = partial(relaxed_f, coupled=True, lambda_=0.1)
RELAX = partial(REBAR, residual=True)
FIT = {"steps": 2_000, "lr": 3e-4}  # of r; at 0.01 its units saturate, and RELAX is REBAR
PAPER = {  # the name in the tables -> the setting
    "reinforce": SETTINGS["reinforce"],
    "reinforce_loo2": SETTINGS["rloo-2"],
    "nvil": SETTINGS["nvil"],
    "muprop": SETTINGS["muprop"],
    "rebar": Setting("rebar", REBAR, **FIT),
    "rebar_tucker": Setting("rebar", partial(REBAR, tucker=True), **FIT),
    "relax": Setting("relax", RELAX, **FIT),
    "relax_surrogate_only": Setting(
        "relax", partial(RELAX, with_f=False), **FIT | {"steps": 6_000}
    ),
    "concrete": SETTINGS["concrete"],
    "straight_through": SETTINGS["straight_through"],
}
IMAGES, DRAWS = 100, 400  # the images that are measured on, and the gradients of each
ROWS, ROUNDS = 1_000, 10  # draws of one coordinate for the histograms, in batches
EDGES = np.linspace(-3, 3, 51)


def run(steps: int = 6_000) -> pd.DataFrame:
    """Train the model where it is missing, and measure at its weights."""
    images = data.load("mnist", "data", "static").to(torch.device("cpu"))
    settings = ("batch=24", "estimators.relax.lr_factor=10")
    vae = trained(images, "linear1", "relax", "same-weights", steps, *settings)
    return measured(vae, images)


def measured(vae: VAE, images: Images) -> pd.DataFrame:
    """A row for every estimator; writes the histogram of RELAX's terms on the way."""
    x, rows = images.train[:IMAGES], []
    weights = list(vae.encoder.parameters())
    for name, setting in PAPER.items():
        torch.manual_seed(0)  # networks in phi
        generator, start = torch.Generator().manual_seed(1), time.perf_counter()
        stream = other_images(vae, 0, images, generator)
        bench = Bench(Layer(vae, 0, x, generator, attached=True))
        built = setting.build(bench)
        fit(bench, built, setting, stream, generator)
        variance = measure(bench, built[0], DRAWS, generator).variance
        rows.append(
            (name, variance, of_weights(bench, built, weights), time.perf_counter() - start)
        )
        print(f"{name}: variance of the gradient in the logits {variance:.6g}", flush=True)
        if name == "relax":
            write_terms(terms(bench, built, Layer(vae, 0, x[:1].expand(ROWS, -1), generator)))
    table = pd.DataFrame(rows, columns=["estimator", "variance_logits", "variance_weights", "s"])
    table["seconds"] = table.pop("s").round(1)
    return table.assign(device=hardware("cpu"))


def of_weights(bench: Bench, built: Built, weights: list[Tensor]) -> float:
    """The variance of the batch's gradient in the encoder's weights, summed."""
    generator = torch.Generator().manual_seed(3)
    found = rx.gradient_variance(
        {"one": built[0]}, bench, bench.dist, samples=DRAWS, of=weights, generator=generator
    )
    return float(found["one"].sum())


def terms(bench: Bench, built: Built, problem: Layer) -> dict[str, Tensor]:
    """Draws of one coordinate of the estimator's terms for one image, [ROWS * ROUNDS] each.

    g = reinforce_f - reinforce_c + reparam_c = total, in units of reinforce_f's standard deviation.
    The coordinate is the one whose probability is closest to 1/2.
    """
    bench.problem, rounds = problem, []
    for _ in range(ROUNDS):
        est = built[0](bench, bench.dist, generator=problem.generator)
        parts = est.terms
        draws = parts["f_score"], -parts["c_score"], parts["c_path"], est.grad.detach()
        rounds.append(torch.stack(draws).double())
    unit = (torch.sigmoid(bench.dist.theta[0]) - 0.5).abs().argmin()
    coordinate = torch.cat(rounds, dim=1)[..., unit]
    names = ("reinforce_f", "reinforce_c", "reparam_c", "total")
    return dict(zip(names, coordinate / coordinate[0].std(), strict=True))


def write_terms(found: dict[str, Tensor]) -> None:
    """terms.csv: a histogram of every term; terms_variance.csv: its variance."""
    counts = {
        name: np.histogram(values.clamp(-2.999, 2.999).numpy(), EDGES)[0]
        for name, values in found.items()
    }
    write(
        pd.DataFrame({"left": [f"{edge:.2f}" for edge in EDGES[:-1]], **counts}), OUT / "terms.csv"
    )
    variances = np.array([values.var().item() for values in found.values()])
    table = {
        "term": list(found),
        "variance": variances,
        "log_variance": np.log(variances).round(4) + 0.0,  # not -0
    }
    write(pd.DataFrame(table), OUT / "terms_variance.csv")

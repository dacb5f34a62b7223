"""All estimators at the same weights: the fair comparison of their variances.

A model is trained with RELAX first. Then every estimator fits its phi while the model is held
still, and its gradient is drawn many times on one batch. What differs is the estimator alone.
"""

from __future__ import annotations

import math
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from experiments.run.config import hardware
from experiments.run.files import write_table
from experiments.vae import evaluate
from experiments.vae.config import SETTINGS, Vae
from experiments.vae.data import Batches, Images
from experiments.vae.estimators import METHODS, ControlVariates, Method
from experiments.vae.models import VAE
from experiments.vae.results import results_path
from experiments.vae.step import Step
from experiments.vae.train import Run, run_folder, train
from relax.replicas import Streams

CONTESTANTS: dict[str, tuple[str, dict[str, Any]]] = {  # label -> estimator and its settings
    "reinforce": ("reinforce", {}),
    "reinforce_loo2": ("reinforce", {"samples": 2}),
    "nvil": ("nvil", {}),
    "muprop": ("muprop", {}),
    "rebar": ("rebar", {}),
    "rebar_tucker": ("rebar", {"relaxation": "tucker"}),
    "relax": ("relax", {}),
    "relax_surrogate_only": ("relax", {"with_f": False, "weight_decay": 0.0}),
    "concrete": ("concrete", {}),
    "straight_through": ("straight_through", {}),
}
FIT, FIT_LR = 2_000, 0.01  # steps of phi alone, and their rate
IMAGES, DRAWS = 100, 400  # the batch measured on, and the gradients drawn there
ROWS, ROUNDS = 1_000, 10  # draws of one coordinate for the histograms, in batches
EDGES = torch.linspace(-3, 3, 51, dtype=torch.float64)


def compare(config: Vae, images: Images) -> None:
    """Train, measure every contestant there; writes variance.csv and terms.csv."""
    train(config, "relax", images)
    run = Run(config, "relax", images)
    with run_folder(config, "relax", images) as folder:
        run.load_state_dict(folder.load())
    place = results_path(config, images)
    rows, fixed = [], run.images.train[:IMAGES][None]
    for label, (name, own) in CONTESTANTS.items():
        start = perf_counter()
        method = fitted(run.vae, name, own, run.images, config.batch)
        found = evaluate.gradient_variance(method, fixed, streams(3), DRAWS)
        rows.append([label, *(f"{found[what].item():.6g}" for what in ("logits", "weights"))])
        rows[-1] += [f"{perf_counter() - start:.1f}", hardware(fixed.device.type)]
        print(f"{label}: variance of the logits' gradient {rows[-1][1]}", flush=True)
        if label == "relax" and run.vae.depth == 1:
            write_terms(terms(method, fixed[0, 0]), place)
    columns = ["estimator", "variance_logits", "variance_weights", "seconds", "device"]
    write_table(place / "variance.csv", columns, rows)


def fitted(vae: VAE, name: str, own: dict, images: Images, batch: int) -> Method:
    """The estimator with phi fitted at these weights."""
    method = METHODS[name](vae, SETTINGS[name](**own), [torch.Generator().manual_seed(1)])
    method = method.to(vae.prior.device)
    if method.phi():
        factor = method.settings.lr_factor
        step = Step(method, torch.tensor([FIT_LR / factor]))
        batches, noise = Batches(images, batch, streams(1)), streams(2)
        for _ in range(FIT):
            step(batches.random(), method.noise(batch, noise), train_model=False)
    return method


def terms(method: ControlVariates, x: Tensor) -> dict[str, Tensor]:
    """Draws of one coordinate of the estimator's terms for one image, in units of the first's
    standard deviation: g = reinforce_f - reinforce_c + reparam_c."""
    source = streams(4)
    rounds = [draw_terms(method, x.expand(1, ROWS, -1), source) for _ in range(ROUNDS)]
    draws = torch.cat(rounds, dim=1).double()  # [4, draws, units]
    p = torch.sigmoid(method.vae.encode(0, x.expand(1, 1, -1)))[0, 0]
    unit = (p - 0.5).abs().argmin()  # the most undecided one
    scaled = draws[..., unit] / draws[0, :, unit].std()
    return dict(zip(("reinforce_f", "reinforce_c", "reparam_c", "total"), scaled, strict=True))


def draw_terms(method: ControlVariates, x: Tensor, source: Streams) -> Tensor:
    """One draw of the four per row of x [1, N, pixels], [4, N, units]."""
    (est,) = method.estimates(x, method.noise(x.shape[1], source))
    terms = est.terms
    draws = terms["f_score"], -terms["c_score"], terms["c_path"], est.grad.detach()
    return torch.stack(draws)[:, 0]


def write_terms(found: dict[str, Tensor], place) -> None:
    """terms.csv: a histogram of every term; terms_variance.csv: its variance."""
    inside = (values.clamp(-2.999, 2.999) for values in found.values())
    counts = [torch.histogram(values, EDGES).hist.int().tolist() for values in inside]
    left = [f"{edge:.2f}" for edge in EDGES[:-1].tolist()]
    write_table(place / "terms.csv", ["left", *found], zip(left, *counts, strict=True))
    rows = [(k, f"{v.var().item():.4g}", f"{math.log(v.var()):.3f}") for k, v in found.items()]
    write_table(place / "terms_variance.csv", ["term", "variance", "log_variance"], rows)


def streams(seed: int) -> Streams:
    return Streams([seed], block=2**18)

"""The VAE's settings as dataclasses: what there is, and the defaults where no YAML says more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from experiments.run.accelerate import GRAPH
from experiments.run.config import Experiment, overlay
from experiments.run.errors import check, known, positive
from experiments.vae import data

RESIDUAL_INPUTS = ("z", "sigma", "x")  # sigma: 2 sigma(z / lambda) - 1 in place of z


@dataclass
class Reinforce:
    """The score function without a baseline, or leave-one-out with samples > 1."""

    samples: int = 1
    lr_factor: float = 1.0


@dataclass
class Nvil:
    """A learned baseline, a network of the layer's input, trained by squared error."""

    hidden: int = 100
    lr_factor: float = 10.0  # phi's learning rate over the model's


@dataclass
class MuProp:
    """A first-order Taylor expansion around the mean field, and NVIL's baseline."""

    hidden: int = 100
    lr_factor: float = 10.0


@dataclass
class Concrete:
    """The relaxed samples in place of the hard ones."""

    lambda_: float = 0.5


@dataclass
class StraightThrough:
    """The derivative at the hard sample, as if H were the identity."""


@dataclass
class Rebar:
    """c = eta f(sigma_lambda(z)); as in Grathwohl et al., or Tucker's relaxation."""

    eta: float = 1.0
    lambda_: float = 0.5
    learn_eta: bool = True
    learn_lambda: bool = True
    relaxation: str = "sigmoid"  # sigmoid | tucker
    coupled: bool = True
    lr_factor: float = 1.0  # phi's learning rate over the model's
    warm_up: int = 0  # steps of phi alone before training


@dataclass
class Relax(Rebar):
    """c = eta (f(sigma_lambda(z)) + r(z, x)), or eta r(z, x) alone with `with_f=false`."""

    hidden: int = 200
    depth: int = 2  # ReLU layers of r; the paper tried 2 and 4
    inputs: list[str] = field(default_factory=lambda: ["z", "x"])  # of r: z | sigma, and x
    weight_decay: float = 0.0  # of r, in the scale of the paper's code
    with_f: bool = True
    warm_up: int = 1000


@dataclass
class RelaxPublished(Relax):
    """RELAX with the weight decay of the authors' code, which takes every weight of r to zero."""

    weight_decay: float = 0.001


@dataclass
class RaoRelax:
    """RELAX with c = f and the noise of z given b integrated out."""

    eta: float = 1.0
    gamma: float = 0.8  # share of f's slope at b that is integrated in closed form
    lambda_: float = 0.1
    learn_lambda: bool = False
    lr_factor: float = 1.0  # phi's learning rate over the model's


SETTINGS = {
    "reinforce": Reinforce,
    "nvil": Nvil,
    "muprop": MuProp,
    "concrete": Concrete,
    "straight_through": StraightThrough,
    "rebar": Rebar,
    "relax": Relax,
    "relax_published": RelaxPublished,
    "rao_relax": RaoRelax,
}


@dataclass
class Data:
    """Which images, and where their files are looked for."""

    name: str = "mnist"
    root: str = "data"  # and $RELAX_DATA
    binarization: str = "static"  # static | dynamic | larochelle
    fallback: bool = False  # digits where the files are missing, said loudly


@dataclass
class Vae(Experiment):
    """experiments.vae: discrete VAEs on binary images."""

    data: Data = field(default_factory=Data)
    model: str = "linear1"
    latents: int = 200
    hidden: int = 200  # units of the nonlinear model's layers
    batch: int = 24
    epochs: int = 20
    steps: int | None = None  # instead of epochs
    lr: list[float] = field(default_factory=lambda: [5e-4])  # several: one replica each
    beta2: float = 0.99999  # of both Adams; in the authors' code, not in the paper
    evaluate_every: int = 1  # epochs between validation ELBOs
    variance_every: int = 5  # epochs between measurements of the gradient's variance; 0: never
    variance_samples: int = 100
    iwae_samples: int = 100  # of the bound reported at the end; 0: not computed
    pictures: bool = True
    compile: bool = False  # torch.compile: half a minute first, half the time a step then
    graph: str = "auto"  # CUDA graphs: auto (on a GPU) | on | off

    def check(self) -> None:
        super().check()
        from experiments.vae.models import MODELS

        known(self.model, MODELS, "model")
        known(self.graph, GRAPH, "graph")
        known(self.data.binarization, data.BINARIZATIONS, "data.binarization")
        for name in self.estimators:
            known(name, SETTINGS, "estimator of the VAE")
        check(self.steps is None or self.steps >= 1, f"steps={self.steps}: at least 1 is needed")
        for what in ("latents", "hidden", "batch", "epochs", "evaluate_every"):
            check(getattr(self, what) >= 1, f"{what}={getattr(self, what)}: at least 1 is needed")
        check(self.variance_samples >= 2, f"variance_samples={self.variance_samples}: 2 or more")
        check(self.lr, "lr=[]: at least one learning rate is needed")
        for lr in self.lr:
            positive(lr, "lr")
        check(0 <= self.beta2 < 1, f"beta2={self.beta2}: a number from 0 to below 1 is needed")

    def total_steps(self, images: int) -> int:
        """Steps of the whole run on so many training images."""
        return self.steps or self.epochs * (images // self.batch)

    def case(self, images: data.Images) -> str:
        """The folder of the runs and of their results: mnist-linear1"""
        return f"{images.name}-{self.model}"

    def own(self, estimator: str) -> Any:
        """The estimator's settings: its dataclass's defaults under the YAML's and command's."""
        own = overlay(SETTINGS[estimator], self.estimators[estimator], f"estimators.{estimator}")
        if isinstance(own, Rebar):
            known(own.relaxation, ("sigmoid", "tucker"), f"estimators.{estimator}.relaxation")
        if isinstance(own, Relax):
            where = f"estimators.{estimator}.inputs"
            for what in own.inputs:
                known(what, RESIDUAL_INPUTS, where)
            check(own.inputs, f"{where}=[]: r needs at least one of {', '.join(RESIDUAL_INPUTS)}")
            check({"z", "sigma"} - {*own.inputs}, f"{where}: z or sigma, not both")
        if hasattr(own, "lambda_"):
            positive(own.lambda_, f"estimators.{estimator}.lambda_")
        return own

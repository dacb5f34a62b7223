"""The settings of an experiment with the VAE, and their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from experiments.run.accelerate import COMPILE, GRAPH, compiles
from experiments.run.config import Experiment, overlay
from experiments.run.errors import at_least, check, known, positive
from experiments.vae import data
from experiments.vae.estimators import ESTIMATORS
from experiments.vae.models import MODELS
from experiments.vae.settings import RESIDUAL_INPUTS, Rebar, Relax
from relax.replicas import ACTIVATIONS

WORTHWHILE = 15_000  # steps from which torch.compile has paid, on a CPU


@dataclass
class Data:
    """The images, and where their files are searched."""

    name: str = "mnist"
    root: str = "data"  # $RELAX_DATA is searched as well
    binarization: str = "static"  # static | dynamic | larochelle
    fallback: bool = False  # use digits where the files are missing, with a banner


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
    eps: float = 1e-8  # of both Adams
    direct_gradient: bool = True  # that of log q(b) in its own logits: noise of mean 0
    evaluate_every: int = 1  # epochs between validation ELBOs
    variance_every: int = 5  # epochs between measurements of the gradient's variance; 0: never
    variance_samples: int = 100
    iwae_samples: int = 100  # of the bound that is reported at the end; 0: not computed
    pictures: bool = True
    compile: str = "auto"  # torch.compile: auto | on | off; a step takes half the time
    graph: str = "auto"  # CUDA graphs: auto (on a GPU) | on | off

    def check(self) -> None:
        super().check()
        known(self.model, MODELS, "model")
        known(self.graph, GRAPH, "graph")
        known(self.compile, COMPILE, "compile")
        known(self.data.binarization, data.BINARIZATIONS, "data.binarization")
        for name in self.estimators:
            known(name, ESTIMATORS, "estimator of the VAE")
        at_least(1, latents=self.latents, hidden=self.hidden, batch=self.batch)
        at_least(1, epochs=self.epochs, evaluate_every=self.evaluate_every)
        at_least(1, steps=1 if self.steps is None else self.steps)
        at_least(2, variance_samples=self.variance_samples)
        check(self.lr, "lr=[]: at least one learning rate is needed")
        for lr in self.lr:
            positive(lr, "lr")
        check(0 <= self.beta2 < 1, f"beta2={self.beta2}: a number from 0 to below 1 is needed")
        positive(self.eps, "eps")

    def total_steps(self, images: int) -> int:
        """Steps of the whole run on so many training images."""
        return self.steps or self.epochs * (images // self.batch)

    def compiled(self, images: int) -> bool:
        """Whether the step is compiled, for so many training images."""
        return compiles(self.compile, self.total_steps(images), WORTHWHILE)

    def case(self, images: data.Images) -> str:
        """The folder of the runs and of their results: mnist-linear1"""
        return f"{images.name}-{self.model}"

    def settings_of(self, estimator: str) -> Any:
        """An estimator's settings: the defaults, overridden by the YAML and the command line."""
        where = f"estimators.{estimator}"
        settings = overlay(ESTIMATORS[estimator].settings, self.estimators[estimator], where)
        if isinstance(settings, Rebar):
            known(settings.relaxation, ("sigmoid", "tucker"), f"{where}.relaxation")
            bits = not MODELS[self.model].classes
            check(
                bits or settings.relaxation != "tucker",
                f"{where}.relaxation=tucker relaxes bits, and model={self.model} has classes",
            )
        if isinstance(settings, Relax):
            known(settings.activation, ACTIVATIONS, f"{where}.activation")
            for what in settings.inputs:
                known(what, RESIDUAL_INPUTS, f"{where}.inputs")
            names = ", ".join(RESIDUAL_INPUTS)
            check(settings.inputs, f"{where}.inputs=[]: r needs at least one of {names}")
            check({"z", "sigma"} - {*settings.inputs}, f"{where}.inputs: z or sigma, not both")
        if hasattr(settings, "lambda_"):
            positive(settings.lambda_, f"{where}.lambda_")
        return settings

"""Training of one estimator on a VAE: all learning rates and seeds as replicas of one run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from experiments.run import ranks
from experiments.run.accelerate import graphed
from experiments.run.config import device, settings
from experiments.run.folder import RunFolder
from experiments.run.job import Job, steps_left
from experiments.vae import monitor
from experiments.vae.batches import Batches
from experiments.vae.config import Vae
from experiments.vae.estimators import ESTIMATORS
from experiments.vae.images import Images
from experiments.vae.method import Noises
from experiments.vae.models import VAE
from experiments.vae.step import Step
from experiments.vae.surrogate import Residual
from relax.replicas import Streams

# The streams of random numbers of one seed.
WEIGHTS, ORDER, NOISE, MEASURING = range(4)
PARTS = ("vae", "method", "trainer", "batches", "noise")  # of a run's state, in a checkpoint
# Settings that a run may be resumed with: its length and the measurements at its end.
FREE = ("steps", "epochs", "iwae_samples", "pictures")


def train(config: Vae, name: str, images: Images, bar: bool = True) -> dict[str, Any]:
    """Train, resume or skip; returns the summary. bar=False where several runs share a terminal."""
    if not (rows := ranks.mine(rows_of(config))):
        return {}
    job, steps = job_of(config, name, images), config.total_steps(len(images.train))
    with run_folder(config, name, images) as folder:
        if folder.finished(steps):
            print(f"{folder.path} is finished, {steps} steps: skipped", flush=True)
            return folder.summary()
        run = Run(config, name, images, rows)
        if not folder.restore(run):
            run.warm_up()
        with job.tracker(folder, run, steps, rows="each", bar=bar) as tracker:
            for step in steps_left(run, folder, tracker):
                run.step(step)
                monitor.measure(run, step, steps, tracker)
            summary = monitor.summary(run)
            tracker.finish(summary, monitor.headline(summary))
        return folder.summary()


def job_of(config: Vae, name: str, images: Images) -> Job:
    return Job(config, "vae", config.case(images), name)


def run_folder(config: Vae, name: str, images: Images) -> RunFolder:
    """The estimator's run folder; its config.json has the settings that decide the results."""
    deciding = settings(config, name, config.settings_of(name))
    deciding["data"] = {"name": images.name, "binarization": config.data.binarization}
    return job_of(config, name, images).folder(deciding, FREE)


def rows_of(config: Vae) -> list[tuple[float, int]]:
    """The replicas: every learning rate with every seed."""
    return [(lr, seed) for lr in config.lr for seed in range(config.seeds)]


class Run:
    """The state of a run: model, phi, optimisers, random streams and the order of the data.

    There is a replica for every learning rate and seed, rates outermost.

    Attributes:
        running: the sum of f over the steps since the epoch began, [R].
        diverged: replica -> the step and the tensor that was not finite.
        dead: replica -> the step by which the network r did not vary with z any more.
        keys, metrics: the columns of metrics.csv.
    """

    def __init__(
        self, config: Vae, name: str, images: Images, rows: list[tuple[float, int]] | None = None
    ) -> None:
        self.config = config
        place = device(config.device)
        self.images = images.to(place)
        rates, seeds = zip(*(rows or rows_of(config)), strict=True)
        self.rates, self.seeds = list(rates), list(seeds)
        generators = [torch.Generator().manual_seed(s) for s in self._stream_seeds(WEIGHTS)]
        mean = self.images.mean.cpu()
        sizes = (config.latents, config.hidden)
        vae = VAE(config.model, mean, *sizes, generators, config.direct_gradient).to(place)
        method = ESTIMATORS[name].method(vae, config.settings_of(name), generators)
        self.vae, self.method = vae, method.to(place)
        compiled = config.compiled(len(images.train))
        adam = (config.beta2, config.eps)
        self.trainer = Step(self.method, torch.tensor(self.rates), *adam, compiled)
        self.order = self._streams(ORDER, place)
        self.noise = self._streams(NOISE, place)
        self.batches = Batches(self.images, config.batch, self.order)
        self.running = torch.zeros(len(self.rates), device=place)
        self.advance = graphed(self._advance, config.graph, place)
        self.diverged: dict[str, str] = {}
        self.dead: dict[str, int] = {}

    @property
    def residuals(self) -> list[Residual]:
        """RELAX's networks r, one per layer; none for other estimators."""
        return list(getattr(self.method, "residuals", []))

    @property
    def keys(self) -> dict[str, list]:
        return {"lr": self.rates, "seed": self.seeds}

    @property
    def metrics(self) -> list[str]:
        layers = range(1, self.vae.depth + 1)
        variance = ["variance_logits", "variance_weights"] if self.config.variance_every else []
        scales = [f"{what}_{k}" for k in layers for what in ("eta", "lambda")]
        residual = [f"{what}_{k}" for k in layers for what in ("r_rms", "r_share")]
        return [
            *("train", "valid", "epoch"),
            *variance,
            *(scales if hasattr(self.method, "scales") else []),
            *(residual if self.residuals else []),
        ]

    def labels(self) -> list[str]:
        """Names of the replicas, for messages."""
        return [f"lr={lr:g} seed={seed}" for lr, seed in zip(self.rates, self.seeds, strict=True)]

    def _stream_seeds(self, purpose: int) -> list[int]:
        return [4 * seed + purpose for seed in self.seeds]

    def _streams(self, purpose: int, place: torch.device) -> Streams:
        return Streams(self._stream_seeds(purpose), place, block=2**18)

    def step(self, step: int) -> None:
        """One training step: random numbers first, because the rest can be a CUDA graph."""
        noise = self.method.noise(self.config.batch, self.noise)
        self.advance(self.batches.choose(step - 1), noise)

    def _advance(self, chosen: tuple[Tensor, Tensor | None], noise: Noises) -> None:
        self.running += self.trainer(self.batches.take(*chosen), noise)

    def warm_up(self) -> None:
        """Steps of phi alone on random batches, before training."""
        advance = graphed(self._advance_phi, self.config.graph, self.running.device)
        for _ in range(getattr(self.method.settings, "warm_up", 0)):
            chosen = self.batches.choose_random()
            advance(chosen, self.method.noise(self.config.batch, self.noise))

    def _advance_phi(self, chosen: tuple[Tensor, Tensor | None], noise: Noises) -> None:
        self.trainer(self.batches.take(*chosen), noise, train_model=False)

    def fresh(self) -> Streams:
        """The noise of a measurement: the same every time, and not that of training."""
        return self._streams(MEASURING, self.running.device)

    def fixed_batch(self) -> Tensor:
        """The first training images, the same for every estimator and seed."""
        x = self.images.train[: self.config.batch]
        x = (x > 0.5).to(x.dtype) if self.images.dynamic else x
        return x.repeat(len(self.rates), 1, 1)

    def state_dict(self) -> dict[str, Any]:
        parts = {part: getattr(self, part).state_dict() for part in PARTS}
        return parts | {"running": self.running, "diverged": self.diverged, "dead": self.dead}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for part in PARTS:
            getattr(self, part).load_state_dict(state[part])
        self.running.copy_(state["running"])
        self.diverged, self.dead = state["diverged"], state["dead"]

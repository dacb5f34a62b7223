"""Training one estimator on the toy, all seeds at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from math import gcd
from typing import Any

import torch
from torch import Tensor

import relax as rx
from experiments.run import ranks
from experiments.run.accelerate import graphed
from experiments.run.config import device, settings
from experiments.run.files import read_table
from experiments.run.job import Job, steps_left
from experiments.run.tracker import Tracker, now_and_then
from experiments.toy.config import Toy
from experiments.toy.fast import Fast
from experiments.toy.methods import build
from experiments.toy.results import headline, summarise

# Each seed has three random streams, whose seeds differ in the 32 bits that torch uses.
TRAINING, MEASURING, WEIGHTS = range(3)
CHUNK = 500  # gradients measured at once; more do not fit into the cache
AHEAD = 10  # steps for which noise is drawn at a time
BLOCK = 4000  # random numbers per seed that are drawn at a time, a multiple of AHEAD


def train(config: Toy, name: str, bar: bool = True) -> None:
    """Train one estimator. A run that was interrupted is resumed, a finished one skipped."""
    seeds = ranks.mine(seeds_of(config, name))
    if not seeds:
        return
    job = Job(config, "toy", config.case, name)
    deciding = settings(config, name, config.settings_of(name), without=("snapshots",))
    with job.folder(deciding) as folder:
        if folder.finished(config.steps):
            print(f"{folder.path}: finished before, {config.steps} steps", flush=True)
            return
        run = Run(config, name, seeds)
        folder.restore(run)
        with job.tracker(folder, run, config.steps, bar=bar) as tracker:
            for step in steps_left(run, folder, tracker, run.stride, AHEAD):
                run.steps()
                measure(run, step, tracker)
            summary = summarise(read_table(folder.path / "metrics.csv"))
            tracker.finish(asdict(summary), headline(summary))


def measure(run: Run, step: int, tracker: Tracker) -> None:
    """Log what is due after a step."""
    config = run.config
    if step % config.log_every == 0:
        tracker.log(step, run.readings())
    if run.noisy and step % config.variance_every == 0:
        draws = run.draws()
        tracker.log(step, {"log_variance": log_variance(draws)})
        if now_and_then(step // config.variance_every):
            tracker.histogram("gradient", draws, step)


def seeds_of(config: Toy, name: str) -> range:
    """All seeds; a single one for the exact gradient, which has no noise."""
    return range(1 if name == "exact" else config.seeds)


class Run:
    """theta and phi of R replicas, one per seed, with their optimisers and random streams.

    theta, the probability of b = 1, is kept as its logit [R, 1, 1]: R replicas of a batch of one
    row of one bit.
    """

    def __init__(self, config: Toy, name: str, seeds: Sequence[int] | None = None) -> None:
        self.config = config
        self.noisy = name != "exact"
        seeds = seeds_of(config, name) if seeds is None else seeds
        self.keys = {"seed": list(seeds)}
        on = device(config.device)

        def streams(purpose: int) -> list[int]:
            return [3 * seed + purpose for seed in seeds]

        self.noise = rx.replicas.Streams(streams(TRAINING), on, block=BLOCK)
        self.measuring = rx.replicas.Streams(streams(MEASURING), on)
        self.logit = torch.nn.Parameter(torch.zeros(len(seeds), 1, 1, device=on))
        self.method = build(name, config.settings_of(name), streams(WEIGHTS), on)
        self.phi = list(self.method.phi.parameters())
        self.optimizers = {"logit": rx.replicas.Adam([self.logit], config.lr)}
        if self.phi:
            self.optimizers["phi"] = rx.replicas.Adam(self.phi, config.phi_lr)
        self.done, self.stride = 0, 1
        self.advance, self.fast = graphed(self.update, config.graph, on), None
        if config.compiled:
            self.stride = gcd(AHEAD, config.log_every, config.variance_every)
            optimizers = list(self.optimizers.values())
            self.fast = Fast(self.method, self.f, self.logit, optimizers, self.stride)
            self.advance = graphed(self.fast, config.graph, on)

    def f(self, b: Tensor) -> Tensor:
        """(b - t)^2, [..., R, B, 1] -> [..., R, B]"""
        return (b - self.config.t).square().squeeze(-1)

    def steps(self) -> None:
        """`stride` training steps: as many as a compiled graph makes at once."""
        self.advance(self.next_noise())

    def step_of_phi(self) -> None:
        """One step of phi's optimiser; theta stays."""
        self.update(self.next_noise(), ["phi"])

    def next_noise(self) -> rx.Noise:
        """The noise of the next `stride` steps, [..., R, stride, 1]."""
        start = self.done % AHEAD
        if start == 0:
            rows = self.distribution(self.logit.detach().expand(-1, AHEAD, -1))
            self.ahead = self.method.noise(rows, self.noise)
        self.done += self.stride
        end = start + self.stride
        return rx.Noise(*(None if x is None else x[..., start:end, :] for x in self.ahead))

    def update(self, noise: Any, names: Sequence[str] = ("logit", "phi")) -> None:
        """The part of a step that can be a CUDA graph: a function of the noise alone."""
        draw = self.method.draw(self.distribution(self.logit), noise)
        rx.backward(self.method.estimate(self.f, draw), self.phi)
        for name, optimizer in self.optimizers.items():
            if name in names:
                optimizer.step()
            optimizer.zero_grad()

    def distribution(self, logit: Tensor) -> rx.Bernoulli:
        return rx.Bernoulli(logit, replicas=1, validate=False)

    def estimate(self, logit: Tensor, generator: rx.replicas.Streams) -> rx.Estimate:
        """A gradient estimate for every row of logit [R, B, 1]."""
        dist = self.distribution(logit)
        draw = self.method.draw(dist, self.method.noise(dist, generator))
        return self.method.estimate(self.f, draw)

    @property
    def metrics(self) -> list[str]:
        return [*self.readings(), *(["log_variance"] if self.noisy else [])]

    @torch.no_grad()
    def readings(self) -> dict[str, Tensor]:
        """The expected loss, its distance from the minimum, theta, and the readings of phi, [R]."""
        t, theta = self.config.t, torch.sigmoid(self.logit).flatten()
        worse = theta if t < 0.5 else 1 - theta  # the probability of the worse value of b
        return {
            "loss": theta * (1 - t) ** 2 + (1 - theta) * t**2,
            "theta": theta,
            "suboptimality": abs(1 - 2 * t) * worse,
            **self.method.readings(),
        }

    @torch.no_grad()
    def draws(self) -> Tensor:
        """Independent gradients in the logit at the present parameters, [R, variance_samples]."""
        grads, samples = [], self.config.variance_samples
        for start in range(0, samples, CHUNK):
            logit = self.logit.expand(-1, min(CHUNK, samples - start), -1)
            grads.append(self.estimate(logit, self.measuring).grad)
        return torch.cat(grads, 1).flatten(1)

    def state_dict(self) -> dict[str, Any]:
        """To be taken after a multiple of AHEAD steps, when no noise is left over."""
        if self.fast is not None:
            self.fast.store()
        return {
            "done": self.done,
            "logit": self.logit.detach(),
            "phi": self.method.phi.state_dict(),
            "optimizers": {name: opt.state_dict() for name, opt in self.optimizers.items()},
            "noise": self.noise.state_dict(),
            "measuring": self.measuring.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.done = state["done"]
        with torch.no_grad():
            self.logit.copy_(state["logit"])
        self.method.phi.load_state_dict(state["phi"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.noise.load_state_dict(state["noise"])
        self.measuring.load_state_dict(state["measuring"])
        if self.fast is not None:
            self.fast.load()


def log_variance(draws: Tensor) -> Tensor:
    """The log of the variance over each seed's draws [R, N], [R]; nan where the variance is 0."""
    rows = draws.double()
    # With one row more, because torch sums a single row in another order than one of several, and a
    # seed must equal the seed trained alone bit for bit.
    variance = torch.cat([rows, rows[:1]]).var(1)[:-1]
    # Near theta = 0 all draws may be b = 0; their variance of 0 says nothing.
    return torch.where(variance > 0, variance.log(), torch.nan).float()

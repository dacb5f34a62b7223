"""Training one estimator, all seeds at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

import relax as rx
from experiments.permutations.config import Permutations
from experiments.permutations.methods import build
from experiments.permutations.orders import value
from experiments.permutations.parts import Parts
from experiments.permutations.problems import PROBLEMS
from experiments.permutations.results import headline, summarise
from experiments.permutations.sorting import Sorting
from experiments.run.accelerate import compiled, seconds_per_call
from experiments.run.config import device, settings
from experiments.run.files import read_table
from experiments.run.job import Job, steps_left
from experiments.run.tracker import Tracker, now_and_then

TRAINING, MEASURING, WEIGHTS = range(3)  # the random streams of a seed


def train(config: Permutations, name: str, bar: bool = True) -> None:
    """Train one estimator. A run that was interrupted is resumed, a finished one skipped."""
    job = Job(config, "permutations", config.case, name)
    with job.folder(settings(config, name, config.settings_of(name))) as folder:
        if folder.finished(config.steps):
            print(f"{folder.path}: finished before, {config.steps} steps", flush=True)
            return
        run = make(config, name)
        folder.restore(run)
        with job.tracker(folder, run, config.steps, bar=bar) as tracker:
            for step in steps_left(run, folder, tracker):
                run.step()
                if step % config.log_every == 0:
                    measure(run, step, tracker)
            summary = summarise(read_table(folder.path / "metrics.csv"))
            tracker.finish(summary, headline(summary))


def measure(run: Sorting | Run, step: int, tracker: Tracker) -> None:
    tracker.log(step, run.readings())
    if run.gradients is not None and now_and_then(step // run.config.log_every):
        tracker.histogram("gradient", run.gradients, step)


def make(config: Permutations, name: str) -> Sorting | Run:
    return Sorting(config) if config.problem == "sorting" else Run(config, name)


def seconds(config: Permutations, name: str) -> float:
    """About how long a run takes on this machine, from a few steps that are not compiled."""
    run = make(replace(config, compile="off"), name)
    times = seconds_per_call(lambda _: run.step(), range(7))
    return config.steps * sorted(times)[3]


def order(theta: Tensor) -> rx.PlackettLuce:
    """The distribution of the orders, for log-scores [R, B, n]."""
    return rx.PlackettLuce(theta, replicas=1, validate=False)


class Run(Parts):
    """Log-scores and phi of R replicas, one per seed, with their optimisers and random streams.

    theta is [R, 1, n]: R replicas of a batch of one order, in double precision. `gradients`: those
    of the last measurement of the variance, [R, variance_samples, n].
    """

    gradients: Tensor | None = None

    def __init__(self, config: Permutations, name: str, seeds: Sequence[int] | None = None) -> None:
        self.config, self.noisy = config, name != "exact"
        one_is_enough = not self.noisy and config.problem == "matching"
        seeds = range(1 if one_is_enough else config.seeds) if seeds is None else seeds
        self.keys = {"seed": list(seeds)}
        on = device(config.device)

        def streams(purpose: int) -> list[int]:
            return [3 * seed + purpose for seed in seeds]

        self.problem = PROBLEMS[config.problem](config.n, seeds, config.observations, on)
        zeros = torch.zeros(len(seeds), 1, config.n, dtype=torch.float64, device=on)
        scores = torch.nn.ParameterList([zeros])
        own, relaxable = config.settings_of(name), self.problem.relaxable
        self.phi = build(own, name, relaxable, config.n, streams(WEIGHTS)).to(on)
        self.theta, self.params = scores[0], list(self.phi.parameters())
        self.noise = rx.replicas.Streams(streams(TRAINING), on, torch.float64)
        self.measuring = rx.replicas.Streams(streams(MEASURING), on, torch.float64)
        self.optimizers = {"adam": rx.replicas.Adam([self.theta], config.lr)}
        if self.params:
            self.optimizers["adam of phi"] = rx.replicas.Adam(self.params, config.phi_lr)
        self.parts = {"scores": scores, "phi": self.phi, **self.optimizers}
        self.parts |= {"noise": self.noise, "measuring": self.measuring}
        self.estimator = rx.ESTIMATORS[name if self.noisy else "reinforce"].function
        self.differentiate = compiled(self.backward) if config.compiled else self.backward

    def step(self) -> None:
        """One gradient and one step of both optimisers."""
        self.differentiate(self.draw_noise(self.theta, self.noise))
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad()

    def backward(self, noise: rx.Noise | None) -> None:
        if noise is None:
            self.expected().sum().backward()
        else:
            rx.backward(self.estimate(self.theta, noise), self.params)

    def draw_noise(self, theta: Tensor, streams: rx.replicas.Streams) -> rx.Noise | None:
        """The random numbers of one estimate per row of theta; none for the exact gradient."""
        return self.estimator.noise(order(theta), generator=streams) if self.noisy else None

    def estimate(self, theta: Tensor, noise: rx.Noise) -> rx.Estimate:
        """A gradient estimate for every row of theta [R, B, n]."""
        draw, f = self.estimator.draw(order(theta), noise=noise), self.problem.f
        return self.estimator(f, draw, **self.phi.arguments(f, draw.dist))

    def expected(self) -> Tensor:
        """E[f(b)] of every replica, [R, 1]."""
        return self.problem.orders.expected(self.theta, self.problem.cost)

    @property
    def metrics(self) -> list[str]:
        variance = ["log_variance"] if self.noisy else []
        return ["loss", "gap", "mode_gap", *self.problem.metrics, *variance]

    @torch.no_grad()
    def readings(self) -> dict[str, Tensor]:
        """What is logged, [R] each.

        loss: E[f(b)], exact. gap: its distance from the smallest f. mode_gap: that of the most
        probable order. log_variance: as Gadetsky et al. plot it.
        """
        problem, loss = self.problem, self.expected()
        mode = self.theta.argsort(dim=-1, descending=True, stable=True)
        best, at_mode = (value(items, problem.cost) for items in (problem.best, mode))
        found = {"loss": loss, "gap": loss - best, "mode_gap": at_mode - best}
        found = {name: x.flatten() for name, x in found.items()} | problem.readings(mode)
        return found | ({"log_variance": self.log_variance()} if self.noisy else {})

    def log_variance(self) -> Tensor:
        """2 ln of the mean over coordinates of the gradient's standard deviation, [R]."""
        many = self.theta.detach().expand(-1, self.config.variance_samples, -1)
        estimate = self.estimate(many, self.draw_noise(many, self.measuring))
        self.gradients = estimate.grad.detach()
        spread = self.gradients.std(1).mean(-1)
        return torch.where(spread > 0, 2 * spread.log(), torch.nan)

"""The log-variance of the policy gradient, as the paper defines it.

With the parameters held, 100 episodes are played; the sample variance over episodes of each policy
parameter's gradient is taken, then its natural log, then the mean over parameters. Every estimator
is measured on the same episodes, each with a critic that learned beside the same policy: a
comparison at one policy. Source: Grathwohl et al. (2018), section 5.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

import relax as rx
from experiments.rl.envs import episode_seed

if TYPE_CHECKING:
    from experiments.rl.loop import Run

APART = 10**9  # where the measured episodes are numbered, so that they are none of the training's


def log_variance(gradients: list[Tensor]) -> Tensor:
    """Mean over parameters of the natural log of the sample variance over episodes; gradients [E,
    ...] each.

    A parameter behind a dead ReLU has no gradient in any episode and no logarithm: it is left out.
    """
    variance = torch.cat([g.double().flatten(1).var(0) for g in gradients])
    return variance[variance > 0].log().mean()


def measure(run: Run, shadow: Run) -> dict[str, list[float]]:
    """Log-variance per estimator and replica of `run` at its present parameters.

    `shadow` has one replica per measured episode, all of which get the parameters of the replica in
    question.
    """
    result: dict[str, list[float]] = {name: [] for name in run.measured}
    for row, seed in enumerate(run.seeds):
        begin(shadow, run, row, seed)
        batch = shadow.play(torch.ones(len(shadow.seeds), dtype=torch.bool))
        for name in run.measured:
            result[name].append(float(log_variance(shadow.learner.episode_gradients(name, batch))))
    return result


@torch.no_grad()
def begin(shadow: Run, run: Run, row: int, seed: int) -> None:
    """Give `shadow` replica `row` of `run`, and numbers that depend on seed and update only."""
    for there, here in zip(shadow.learner.tensors(), run.learner.tensors(), strict=True):
        there.copy_(here[row].expand_as(there))
    first = APART + run.updates * len(shadow.seeds)
    shadow.seeds = [episode_seed(seed, first + episode) for episode in range(len(shadow.seeds))]
    shadow.streams = rx.replicas.Streams(shadow.seeds)
    shadow.played.zero_()

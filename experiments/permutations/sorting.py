"""Sorting numbers by a network whose output is a matching, trained by Gumbel-Sinkhorn."""

from __future__ import annotations

import torch
from torch import Tensor

import relax as rx
from experiments.permutations.config import SORTING, Permutations
from experiments.permutations.parts import Parts
from experiments.permutations.sinkhorn import gumbel_sinkhorn, matching
from experiments.run.config import device
from relax.distributions import open_interval


class Sorting(Parts):
    """R networks, one per seed. Each number of a list gets a score for each place.

    The network sees one number at a time. It is trained to reproduce the sorted list, as the
    relaxed matching applied to the list.

    Source: Mena et al. (2018), section 5.1.
    """

    gradients = None  # no variance is measured
    metrics = ("loss", "lists_wrong", "numbers_wrong")

    def __init__(self, config: Permutations) -> None:
        self.config, self.own = config, config.settings_of(SORTING)
        seeds = list(range(config.seeds))
        self.keys = {"seed": seeds}
        on = device(config.device)
        self.noise = rx.replicas.Streams([2 * seed for seed in seeds], on)
        self.measuring = rx.replicas.Streams([2 * seed + 1 for seed in seeds], on)
        self.net = rx.replicas.MLP(
            [1, self.own.hidden, config.n],
            "relu",
            len(seeds),
            [torch.Generator().manual_seed(seed) for seed in seeds],
        ).to(on)
        self.optimizer = rx.replicas.Adam(self.net.parameters(), config.lr)
        self.parts = {"net": self.net, "adam": self.optimizer, "noise": self.noise}
        self.parts["measuring"] = self.measuring
        self.loss = torch.zeros(len(seeds), device=on)

    def scores(self, lists: Tensor) -> Tensor:
        """[R, B, n] -> [R, B, n, n]: of every number for every place."""
        return self.net(lists.flatten(1).unsqueeze(-1)).unflatten(1, lists.shape[1:])

    def step(self) -> None:
        """One step of Adam on the squared error of a batch of new lists."""
        own, batch, n = self.own, self.config.batch, self.config.n
        lists = self.noise.rand(batch, n)
        u = open_interval(self.noise.rand(batch, own.samples, n, n))
        scores = self.scores(lists).unsqueeze(2)
        soft = gumbel_sinkhorn(scores, u, own.lambda_, own.iterations)
        found = (soft * lists[:, :, None, :, None]).sum(-2)  # [R, B, samples, places]
        wanted = lists.sort(-1).values.unsqueeze(2)
        self.loss = (found - wanted).square().flatten(1).mean(-1)
        self.loss.sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    @torch.no_grad()
    def readings(self) -> dict[str, Tensor]:
        """Of every seed: the last step's loss, and on new lists, without noise, the share of lists
        with an error and that of numbers in a wrong place."""
        lists = self.measuring.rand(self.config.tested, self.config.n)
        wrong = matching(self.scores(lists)) != lists.argsort(-1).argsort(-1).cpu()
        shares = {"lists_wrong": wrong.any(-1), "numbers_wrong": wrong}
        means = {name: x.flatten(1).double().mean(-1) for name, x in shares.items()}
        return {"loss": self.loss.detach(), **means}

"""Training curves of one-layer VAEs at equal CPU time, one per estimator."""

from __future__ import annotations

import time
from typing import NamedTuple

import torch

import relax as rx
from experiments.compare.problems import Layer, batches
from experiments.compare.settings import Bench, Setting
from experiments.vae.data import Images
from experiments.vae.models import VAE
from relax.replicas import Adam


class Point(NamedTuple):
    """train: the mean of -ELBO over the training steps since the last point."""

    seconds: float
    steps: int
    train: float


def race(
    model: str,
    images: Images,
    setting: Setting,
    seconds: float,
    points: int = 24,
    batch: int = 24,
    lr: float = 1e-3,
    seed: int = 0,
) -> list[Point]:
    """Train for `seconds` of this process's CPU time, phi included.

    Every setting starts from the same weights and gets the same images.
    """
    torch.manual_seed(seed)  # phi's networks
    start, order, noise = (torch.Generator().manual_seed(3 * seed + k) for k in range(3))
    vae = VAE(model, images.mean.float(), generators=[start])
    stream = batches(images, batch, order)
    bench = Bench(Layer(vae, 0, next(stream), noise, attached=True))
    estimator, phi = setting.build(bench)
    optimisers = [Adam(vae.parameters(), lr)] + ([Adam(phi, lr)] if phi else [])
    curve, total, since, steps, used = [], 0.0, 0, 0, 0.0
    while used < seconds:
        x = next(stream)
        clock = time.process_time()
        bench.problem = Layer(vae, 0, x, noise, attached=True)
        est = estimator(bench, bench.dist, generator=noise)
        rx.backward(est, phi)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        used += time.process_time() - clock
        total, since, steps = total + float(est.value.detach().mean()), since + 1, steps + 1
        if used >= seconds * (len(curve) + 1) / points:
            curve.append(Point(used, steps, total / since))
            total, since = 0.0, 0
    return curve

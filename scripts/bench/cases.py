"""The VAE's training steps that are timed, on a CPU and on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import torch

from experiments.vae.config import Vae
from experiments.vae.data import Images
from experiments.vae.train import Run as VaeRun

PIXELS, ADAM_WORDS = 784, 7  # the fused kernel reads p, g, m, v and writes p, m, v


def images(device: torch.device) -> Images:
    """Random binary images of MNIST's size, a fifth of the pixels on."""
    generator = torch.Generator().manual_seed(0)
    pixels = (torch.rand(2000, PIXELS, generator=generator) < 0.2).float().to(device)
    return Images("random", pixels, pixels[:100], pixels[:100], pixels.mean(0), 28)


def vae(
    device: torch.device,
    estimator: str,
    model: str = "linear1",
    batch: int = 24,
    replicas: int = 1,
    latents: int = 200,
    compile: str = "off",
    graph: bool = False,
    **settings,
) -> VaeRun:
    """A run of the VAE, whose `step` is timed."""
    config = Vae(
        model=model,
        batch=batch,
        seeds=replicas,
        latents=latents,
        hidden=latents,
        lr=[1e-4],
        device=device.type,
        compile=compile,
        graph="on" if graph else "off",
        estimators={estimator: settings},
    )
    return VaeRun(config, estimator, images(device))


def stepper(run: VaeRun) -> Callable[[], None]:
    """A function that makes the run's next step at every call."""
    numbers = count(1)
    return lambda: run.step(next(numbers))


def flops(run: VaeRun) -> int:
    """Floating-point operations of the matrix products in one step, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run.step(1)
    return counter.get_total_flops()

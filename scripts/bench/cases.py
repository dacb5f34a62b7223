"""The training steps that are timed: those of the experiments and of the plain reference."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import torch

from experiments.toy.config import Toy
from experiments.toy.train import Run as ToyRun
from experiments.vae.config import Vae
from experiments.vae.data import Images
from experiments.vae.train import Run as VaeRun
from scripts.bench import reference
from scripts.bench.timing import Steps

PIXELS, ADAM_WORDS = 784, 7  # the fused kernel reads p, g, m, v and writes p, m, v


def toy(device: torch.device, seeds: int, compile: str = "off", graph: bool = False) -> Callable:
    """A RELAX step of the toy."""
    mode = "on" if graph else "off"
    config = Toy(seeds=seeds, device=device.type, compile=compile, graph=mode)
    return ToyRun(config, "relax").steps


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


def plain_vae(device: torch.device, estimator: str, model: str, batch: int) -> Callable:
    """A step of the reference on one random batch."""
    pixels = images(device)
    with device:
        net = reference.VAE(model, estimator, pixels.mean)
    return lambda: net.step(pixels.train[:batch])


def flops(run: VaeRun) -> int:
    """Floating-point operations of the matrix products in one step, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run.step(1)
    return counter.get_total_flops()


def probes(device: torch.device, batch: int) -> tuple[Steps, float, float]:
    """The speed of the machine: the products of a layer of the VAE, and Adam's memory traffic.

    Returns the steps, the floating-point operations of `matmul` and the words of `copy`.
    """
    x, h = (torch.randn(batch, n, device=device) for n in (PIXELS, 200))
    w, g = torch.randn(PIXELS, 200, device=device), torch.empty(PIXELS, 200, device=device)

    def matmul() -> None:
        torch.mm(x, w)
        torch.mm(h, w.T)
        torch.mm(x.T, h, out=g)

    steps = {"matmul": matmul, "copy": lambda: g.copy_(w)}
    return steps, 3 * 2.0 * batch * w.numel(), 2.0 * w.numel()

"""Reconstructions and prior samples as PNG."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from experiments.run.tracker import Tracker
from experiments.vae import evaluate
from experiments.vae.data import Images
from experiments.vae.models import VAE
from relax.replicas import Streams

COUNT = 16


def save_pictures(vae: VAE, images: Images, streams: Streams, tracker: Tracker) -> None:
    """Save pictures of the first replica into the run folder and W&B.

    Test images above their reconstructions, and draws from the prior. A failure is only reported.
    """
    try:
        _save_pictures(vae, images, streams, tracker)
    except Exception as error:  # a picture must not end a run
        print(f"no pictures ({type(error).__name__}: {error})", flush=True)


def _save_pictures(vae: VAE, images: Images, streams: Streams, tracker: Tracker) -> None:
    x = images.test[:COUNT]
    back = evaluate.reconstructions(vae, x, streams)[0]
    drawn = evaluate.samples(vae, 2 * COUNT, streams)[0]
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (("reconstructions", torch.cat([x, back])), ("samples", drawn)):
            path = Path(folder) / f"{name}.png"
            write_png(path, tile(rows, images.side))
            tracker.image(name, path, tracker.steps)


def tile(rows: Tensor, side: int) -> Tensor:
    """Images [N, side^2] as one picture with COUNT in a row and white lines between."""
    grid = rows.reshape(-1, COUNT, side, side)
    grid = torch.nn.functional.pad(grid, (1, 1, 1, 1), value=1.0)
    return grid.permute(0, 2, 1, 3).reshape(-1, COUNT * (side + 2))


def write_png(path: Path, picture: Tensor, scale: int = 3) -> None:
    """A grey picture [height, width] in [0, 1], enlarged `scale` times."""
    from PIL import Image

    levels = (255 * picture.clamp(0, 1)).round().to("cpu", torch.uint8)
    levels = levels.repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    Image.fromarray(levels.numpy()).save(path)

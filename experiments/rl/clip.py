"""A short film of a trained policy, where the environment can be drawn on this machine."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from experiments.envs import Recorded
from experiments.rl.variance import begin

if TYPE_CHECKING:
    from experiments.rl.loop import Run

STEPS, WIDTH, MILLISECONDS = 250, 240, 40  # at most so long, so wide, so much per picture


def record(run: Run, path: Path) -> None:
    """One episode of the replica that was best at last, as a GIF; without a display, a line."""
    best = int(np.argmax(run.scores.latest()))
    config = run.config
    film = type(run)(config, run.name, run.own, {k: v[:1] for k, v in run.keys.items()})
    film.at_least = 1
    begin(film, run, best, run.seeds[best])
    try:
        film.envs = Recorded(config.env.id, config.env.steps, config.env.rescale)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            film.play(torch.ones(1, dtype=torch.bool))
        save(film.envs.frames[:STEPS], path)
    except Exception as error:  # whatever a missing display raises: the run itself is done
        print(f"no clip of {config.env.name}: {str(error).splitlines()[0]}", flush=True)


def save(frames: list[np.ndarray], path: Path) -> None:
    """Every second picture, made small."""
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames[::2]]
    size = (WIDTH, WIDTH * pictures[0].height // pictures[0].width)
    small = [picture.resize(size).quantize(32) for picture in pictures]
    small[0].save(path, save_all=True, append_images=small[1:], duration=MILLISECONDS, loop=0)

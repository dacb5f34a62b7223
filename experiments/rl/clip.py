"""A short film of a trained policy, where the environment can be drawn on this machine."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from experiments.rl.envs import Recorded
from experiments.rl.variance import begin

if TYPE_CHECKING:
    from experiments.rl.loop import Run

STEPS, WIDTH, MILLISECONDS = 250, 240, 40  # at most so long, so wide, so much per picture


def record(run: Run, path: Path) -> None:
    """One episode of the replica that was best at last, as a GIF; without a display, a line.

    In a process of its own: a graphics library that finds no display may end the process.
    """
    child = multiprocessing.get_context("fork").Process(target=_record, args=(run, path))
    child.start()
    child.join()
    if child.exitcode:
        print(f"no clip of {run.config.env.name}: it cannot be drawn here", flush=True)


def _record(run: Run, path: Path) -> None:
    warnings.simplefilter("ignore")
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 2)  # what graphics libraries say about a missing display
    best = int(np.argmax(run.scores.latest()))
    env = run.config.env
    film = type(run)(run.config, run.name, run.own, {k: v[:1] for k, v in run.keys.items()})
    film.at_least = 1
    begin(film, run, best, run.seeds[best])
    film.envs = Recorded(env.id, env.steps, env.rescale)
    film.play(torch.ones(1, dtype=torch.bool))
    save(film.envs.frames[:STEPS], path)


def save(frames: list[np.ndarray], path: Path) -> None:
    """Every second picture, made small."""
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames[::2]]
    size = (WIDTH, WIDTH * pictures[0].height // pictures[0].width)
    small = [picture.resize(size).quantize(32) for picture in pictures]
    small[0].save(path, save_all=True, append_images=small[1:], duration=MILLISECONDS, loop=0)

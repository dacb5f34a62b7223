"""A short clip of a trained policy, where the environment can be rendered on this machine."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from pathlib import Path

import numpy as np
import torch

from experiments.rl.agents import Agents
from experiments.rl.envs import Recorded

STEPS, WIDTH, MILLISECONDS = 250, 240, 40  # at most this long; pixels; duration of a frame


def record(agents: Agents, path: Path) -> None:
    """One episode of the replica with the best recent return, as a GIF.

    A graphics library that finds no display may end the process, so a child process does it.
    """
    process = multiprocessing.get_context("fork").Process(target=_record, args=(agents, path))
    process.start()
    process.join()
    if process.exitcode:
        print(f"no clip of {agents.config.env.name}: it cannot be rendered here", flush=True)


def _record(agents: Agents, path: Path) -> None:
    warnings.simplefilter("ignore")
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 2)  # hides what graphics libraries print about a missing display
    env = agents.config.env
    player = Agents(agents.config, agents.name, {k: v[:1] for k, v in agents.keys.items()})
    player.at_least = 1
    player.copy_replica(agents, row=int(np.argmax(agents.scores.latest())))
    player.envs = Recorded(env.id, env.steps, env.rescale)
    player.play(torch.ones(1, dtype=torch.bool))
    save(player.envs.frames[:STEPS], path)


def save(frames: list[np.ndarray], path: Path) -> None:
    """Every second frame, reduced in size."""
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames[::2]]
    size = (WIDTH, WIDTH * images[0].height // images[0].width)
    small = [image.resize(size).quantize(32) for image in images]
    small[0].save(path, save_all=True, append_images=small[1:], duration=MILLISECONDS, loop=0)

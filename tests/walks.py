"""A random walk in a run folder, as an experiment would run it."""

from __future__ import annotations

import time

import pytest
import torch

from experiments.run.config import Tracking
from experiments.run.folder import RunFolder
from experiments.run.tracker import Tracker

OFF = Tracking(mode="disabled")


def walk(path, steps=60, pause=0.0, every=1e9, config=None, saves=(), fresh=False, each=None):
    """Walk three seeds, from the last checkpoint on."""
    config = {"steps": steps, "lr": 0.1, **(config or {})}
    with RunFolder(path, config, fresh=fresh, every=every) as folder:
        if folder.finished(steps):
            return "skipped"
        generator = torch.Generator().manual_seed(0)
        x = torch.zeros(3)
        if state := folder.load():
            x = state["x"]
            generator.set_state(state["generator"])
        with Tracker(folder, {"seed": [0, 1, 2]}, ["x", "y"], steps, OFF) as tracker:
            for step in range(folder.step, steps):
                x += torch.randn(3, generator=generator)
                tracker.log(step + 1, {"x": x})
                if step % 10 == 9:
                    tracker.log(step + 1, {"y": x.double() ** 2})
                time.sleep(pause)
                if each:
                    each(step)
                if folder.due or step + 1 in saves or step + 1 == steps:
                    state = {"x": x, "generator": generator.get_state()}
                    folder.save(step + 1, state, tracker)
            tracker.finish({"x": x.mean().item()}, f"mean {x.mean():.3f}")
    return "done"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The record of a run that nothing disturbed."""
    path = tmp_path_factory.mktemp("whole") / "run"
    walk(path)
    return (path / "metrics.csv").read_bytes()

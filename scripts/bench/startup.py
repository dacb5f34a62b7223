"""Processor time from the start of a training command to the end of its first step, in parts.

python -m scripts.bench.startup preset=vae/quick ... runs `python -m experiments.vae` with these
arguments, notes when its parts begin and end, and stops after the first training step.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

COMMAND = ["preset=vae/quick", "estimator=[rebar]", "compile=off", "tracking.mode=disabled"]


def measure() -> dict[str, float]:
    """The seconds of every part, by its name, of one command in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        places = [f"runs={folder}/runs", f"results={folder}/results"]
        answer = subprocess.run(
            [sys.executable, "-m", "scripts.bench.startup", *COMMAND, *places],
            capture_output=True,
            text=True,
        )
    if answer.returncode:
        raise RuntimeError(answer.stderr)
    return json.loads(answer.stdout.splitlines()[-1])


def main() -> None:
    spent: dict[str, float] = {}
    from experiments.run.config import launch
    from experiments.vae import __main__ as command
    from experiments.vae import monitor

    spent["imports"] = time.process_time()
    command.find_images = timed(command.find_images, "data", spent)
    command.seconds = timed(command.seconds, "planning", spent)

    def stop(*_: Any) -> None:  # it is called after the first step
        spent["configuration, set-up and the step"] = time.process_time() - sum(spent.values())
        print(json.dumps(spent), flush=True)
        os._exit(0)

    monitor.measure = stop
    launch(command.run, "vae", command.Vae)


def timed(function: Callable, part: str, spent: dict[str, float]) -> Callable:
    """The function, which adds its time to spent[part]."""

    def call(*arguments: Any) -> Any:
        begin = time.process_time()
        result = function(*arguments)
        spent[part] = spent.get(part, 0.0) + time.process_time() - begin
        return result

    return call


if __name__ == "__main__":
    main()

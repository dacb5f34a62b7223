"""The GPU's tests, the benchmark and the VAE's long runs: python -m scripts.gpu (make gpu)

Repeating the command resumes: finished runs are skipped, and interrupted ones continue.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys

from scripts.report import vae, vae_residual

LONG = [(preset, case) for preset in ("long", "long-rates") for case in vae.MNIST]
STEPS = {
    "tests": ["python -m pytest -q -m gpu tests/test_gpu.py"],
    "bench": ["python -m scripts.bench --device cuda"],
    "runs": [*vae_residual.commands(), *(vae.command(*place) for place in LONG)],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    failed = []
    for command in (command for step in parser.parse_args().steps for command in STEPS[step]):
        print(command, flush=True)
        if subprocess.run([sys.executable, *shlex.split(command)[1:]]).returncode:
            failed.append(command)
    if failed:
        sys.exit("\n".join(["these commands failed, see the errors above:", *failed]))


if __name__ == "__main__":
    main()

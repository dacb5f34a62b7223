"""The GPU's tests, benchmark and long runs: python -m scripts.gpu --minutes 60 (make gpu)

The steps run in order and each writes its results, so that an interruption loses only the rest.
The same command resumes. Needs PyTorch, NumPy, SciPy, pandas, matplotlib, scikit-learn, pytest and
Hydra, but neither W&B nor gymnasium. Results: tests.txt, bench.csv and runs.tar.gz under --out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch

from scripts.gpu import bench
from scripts.gpu.jobs import JOBS
from scripts.gpu.runs import run_all

DEFAULT_JOBS = [name for name in JOBS if name != "smoke"]
STEPS = ("tests", "bench", "runs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="total time")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of the results")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--rows", type=int, help="only the first rows of the benchmark")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=DEFAULT_JOBS, metavar="LIST")
    parser.add_argument("--workers", type=int, default=2, help="runs side by side")
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    arguments.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, PyTorch {torch.__version__}", flush=True)
    if "tests" in arguments.steps:
        run_tests(arguments.out / "tests.txt")
    if "bench" in arguments.steps:
        file = arguments.out / "bench.csv"
        bench.measure(bench.plan()[: arguments.rows], device, file, deadline)
        print(*bench.ratios(file), sep="\n", flush=True)
    if "runs" in arguments.steps:
        jobs = [job for name in arguments.jobs for job in JOBS[name]]
        archive = arguments.out / "runs.tar.gz"
        run_all(jobs, arguments.out / "work" / "runs", archive, deadline, arguments.workers)


def run_tests(log: Path) -> None:
    """Run the tests that need a GPU; print the end of the output and save all of it."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/test_gpu.py"]
    done = subprocess.run(command, capture_output=True, text=True)
    log.write_text(done.stdout + done.stderr)
    print("\n".join((done.stdout + done.stderr).splitlines()[-40:]), flush=True)


if __name__ == "__main__":
    main()

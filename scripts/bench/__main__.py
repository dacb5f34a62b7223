"""Time training against the strongest plain code: python -m scripts.bench (make bench)

Measures our programs, plain PyTorch and JAX in turns on one core, checks the results against the
required speed, and writes results/bench/cpu.csv. The times are processor time.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path

ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ.setdefault("XLA_FLAGS", ONE_THREAD)  # JAX reads it when it is imported

import pandas as pd  # noqa: E402
import torch  # noqa: E402

from scripts.bench import measure  # noqa: E402
from scripts.bench.measure import Row  # noqa: E402
from scripts.bench.targets import targets  # noqa: E402
from scripts.bench.timing import FULL, QUICK, Effort  # noqa: E402
from scripts.results import markdown  # noqa: E402

VAES = [("linear1", name, n) for name in ("concrete", "rebar", "relax") for n in (24, 100)]
VAES += [(model, "relax", 24) for model in ("linear2", "nonlinear")]
PARTS: dict[str, Callable[[Effort], list[Row]]] = {
    "first step": measure.first_step,
    **{f"toy {seeds}": partial(measure.toy, seeds=seeds) for seeds in (1, 1000)},
    **{
        f"vae {model} {name} {n}": partial(measure.vae, model=model, estimator=name, batch=n)
        for model, name, n in VAES
    },
    **{f"rl {name}": partial(measure.policies, name=name) for name in measure.rl.ENVIRONMENTS},
    "collapsed": measure.collapsed,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="parts whose name starts with this; no file")
    parser.add_argument("--quick", action="store_true", help="a trial: few turns, no file")
    parser.add_argument("--results", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    one_core()
    rows = []
    for name in PARTS:
        if name.startswith(arguments.only):
            start = time.perf_counter()
            rows += PARTS[name](QUICK if arguments.quick else FULL)
            print(f"  {name}: {time.perf_counter() - start:.0f} s", flush=True)
    table = pd.DataFrame([asdict(row) for row in rows])
    print(table.drop(columns="where_the_time_goes").to_string(float_format="%.4g"), "\n")
    print(markdown(target.cells() for target in targets(rows)))
    if not (arguments.only or arguments.quick):
        path = arguments.results / "bench" / "cpu.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.assign(machine=machine()).to_csv(path, index=False, float_format="%.4g")


def one_core() -> None:
    """Pin to one core and flush denormals, which are slow."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def machine() -> str:
    """The processor's name, its cores and their load, and the libraries' versions."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    names = (line.split(": ")[1] for line in lines if line.startswith("model name"))
    libraries = [f"PyTorch {version('torch').partition('+')[0]}"]
    if importlib.util.find_spec("jax") is not None:
        libraries.append(f"JAX {version('jax')}")
    cores = f"{os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}"
    return ", ".join([next(names, "CPU"), cores, *libraries])


if __name__ == "__main__":
    main()

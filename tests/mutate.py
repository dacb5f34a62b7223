"""make mutants: does the suite notice when the code is wrong?

    python tests/mutate.py [--list] [WORD ...]

Applies the mutants of tests/mutations/*.toml one at a time, to a copy of the checkout, and runs the
tests that could notice. WORD keeps the mutants whose file or description contains one of them. A
mutant that no test kills is printed as SURVIVED and makes the exit status 1; one whose old text is
no longer in its file, once, is printed as STALE: rewrite it or delete it. Before the first mutant
of a group of files its tests are run without one, and must pass.

Files are changed in the copy alone, so an interrupted run leaves nothing behind in the checkout.
Each mutant is tested in a fork of a process that has imported the libraries but none of our code.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("torch", "hydra", "matplotlib.pyplot", "scipy.stats", "gymnasium", "wandb", "pytest")
PATIENCE = 600  # seconds for one mutant; a mutant that hangs the tests is killed
# The tests that are about a file, as patterns below tests/, quick ones first. The first entry that
# fits counts.
WATCHING = {
    "relax/replicas/": "networks estimates replicas speed",
    "relax/": "phi estimates objectives diagnostics identities zoo contracts mistakes",
    "experiments/compare/": "comparison layer same_weights",
    "experiments/vae/images.py": "data",
    "experiments/vae/batches.py": "batches",
    "experiments/vae/omniglot.py": "omniglot",
    "experiments/vae/mnist.py": "data",
    "experiments/vae/": "vae_*",
    "experiments/rl/envs.py": "envs",
    "experiments/rl/": "rl_batch rl_discrete rl_continuous rl_gradients rl_scores rl_*",
    "experiments/toy/": "toy_* toy",
    "experiments/run/tracker.py": "tracking wandb_* progress smoke",
    "experiments/run/ranks.py": "sweeps",
    "experiments/run/statistics.py": "vae_results vae_train",
    "experiments/": "config* checkpoint* run_folder",
    "scripts/compare_figures.py": "figures_compare",
    "scripts/sweep.py": "sweeps",
    "scripts/": "figures_* report*",
}


class Mutant(NamedTuple):
    file: str
    name: str
    old: str
    new: str


def mutants(words: list[str]) -> list[Mutant]:
    """The mutants whose file or description contains one of the words; all without words."""
    found = []
    for path in sorted((ROOT / "tests/mutations").glob("*.toml")):
        for file, entries in tomllib.loads(path.read_text()).items():
            found += [Mutant(file, name, *texts) for name, texts in entries.items()]
    return [m for m in found if not words or any(word in f"{m.file}: {m.name}" for word in words)]


def stale(mutant: Mutant) -> bool:
    """Whether the code has changed under the mutant."""
    path = ROOT / mutant.file
    return not path.exists() or path.read_text().count(mutant.old) != 1


def tests_for(file: str) -> list[str]:
    patterns = next(names for start, names in WATCHING.items() if file.startswith(start)).split()
    paths = [path for p in patterns for path in sorted((ROOT / "tests").glob(f"test_{p}.py"))]
    return [str(path.relative_to(ROOT)) for path in dict.fromkeys(paths)]


def copy_checkout(place: Path) -> None:
    """The files that git knows or would know, as they are now."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place / name)


class FirstFailure:
    """A pytest plugin: the first test that failed, or the error while tests were collected."""

    node = ""

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed and not self.node:
            self.node = report.nodeid

    def pytest_collectreport(self, report) -> None:
        if report.failed and not self.node:
            self.node = f"{report.nodeid}, while it was collected"


def run_tests(place: Path, tests: list[str], pipe) -> None:
    """In a process of its own: run the tests in the copy and tell the first failure."""
    os.setpgrp()
    os.chdir(place)
    sys.path.insert(0, str(place))
    import pytest

    first = FirstFailure()
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
        options = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", f"--rootdir={place}"]
        status = pytest.main([*options, *tests], plugins=[first])
    pipe.send((status == 0 or first.node != "", first.node))


def first_failure(place: Path, tests: list[str]) -> str:
    """The first test that fails in the copy; empty where none does.

    Raises RuntimeError where the tests could not be run.
    """
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    child = fork.Process(target=run_tests, args=(place, tests, there))
    child.start()
    there.close()
    try:
        if not here.poll(PATIENCE):
            return f"no end within {PATIENCE} s"
        good, failure = here.recv()
    except EOFError:
        good, failure = False, ""
    finally:
        child.join(5)
        if child.is_alive():
            os.killpg(child.pid, signal.SIGKILL)
        child.join()
    if not good:
        raise RuntimeError(f"the tests could not be run: {' '.join(tests)}")
    return failure


def verdict(mutant: Mutant, place: Path) -> tuple[str, str]:
    """killed, SURVIVED or STALE, and what killed it."""
    if stale(mutant):
        return "STALE", ""
    file = place / mutant.file
    kept = file.read_text()
    file.write_text(kept.replace(mutant.old, mutant.new))
    try:
        killer = first_failure(place, tests_for(mutant.file))
    finally:
        file.write_text(kept)
    return "killed" if killer else "SURVIVED", killer


def must_pass(place: Path, tests: list[str]) -> None:
    """Leave where the tests fail without a mutant: they would kill every one."""
    if failure := first_failure(place, tests):
        sys.exit(f"{failure} fails without a mutant")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--list", action="store_true", help="print the mutants and their tests")
    args = parser.parse_args()
    chosen = mutants(args.words)
    if args.list:
        for mutant in chosen:
            print(f"{mutant.file}: {mutant.name} | {' '.join(tests_for(mutant.file))}")
        return
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they want to be imported after pytest
    for name in LIBRARIES:
        importlib.import_module(name)
    counts, passed = {"killed": 0, "SURVIVED": 0, "STALE": 0}, []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy_checkout(Path(folder))
        for mutant in chosen:
            if (tests := tests_for(mutant.file)) not in passed:
                must_pass(Path(folder), tests)
                passed.append(tests)
            begun = perf_counter()
            word, killer = verdict(mutant, Path(folder))
            counts[word] += 1
            by = f" | {killer}" if killer else ""
            seconds = perf_counter() - begun
            print(f"{word} | {mutant.file} | {mutant.name}{by} | {seconds:.0f} s", flush=True)
    print(", ".join(f"{count} {word}" for word, count in counts.items()))
    sys.exit(bool(counts["SURVIVED"]))


if __name__ == "__main__":
    main()

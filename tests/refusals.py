"""A command that must be refused in one line, with exit status 2 and nothing overwritten."""

import importlib
import sys

import pytest

from experiments.rl.config import Rl
from experiments.run.config import launch
from experiments.toy.config import Toy
from experiments.vae import files
from experiments.vae.config import Vae

BASE = {
    "toy": ["preset=toy/smoke", "estimator=[reinforce]", "processes=1", "steps=20", "seeds=1"],
    "vae": [
        "preset=vae/smoke",
        "estimator=[rebar]",
        "latents=2",
        "steps=1",
        "pictures=false",
        "iwae_samples=0",
    ],
    "rl": ["preset=rl/smoke", "env=cartpole", "estimator=[a2c]", "frames=100", "clip=false"],
}

SCHEMA = {"toy": Toy, "vae": Vae, "rl": Rl}


def command(monkeypatch, capfd, family, *arguments):
    """(exit status, what it wrote to stderr) of python -m experiments.<family>."""
    monkeypatch.setattr(sys, "argv", [f"experiments.{family}", *arguments])
    status = 0
    try:
        launch(
            importlib.import_module(f"experiments.{family}.__main__").run, family, SCHEMA[family]
        )
    except SystemExit as stop:
        status = stop.code
    return status, capfd.readouterr().err.strip()


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(monkeypatch, capfd, run_dirs, tmp_path):
    """Call with a family, arguments and the words that its one line must hold."""
    monkeypatch.delenv("RELAX_DATA", raising=False)
    monkeypatch.setattr(files, "_fetch", lambda *args: None)  # no network

    def refuse(family, arguments, words):
        before = contents(tmp_path)
        status, line = command(monkeypatch, capfd, family, *BASE[family], *run_dirs, *arguments)
        assert status == 2, line or "no error at all"
        assert line.startswith("error: ") and "\n" not in line, line
        assert not [word for word in words if word not in line], line
        after = contents(tmp_path)
        changed = [path.name for path, found in before.items() if after.get(path) != found]
        assert set(changed) <= {"lock"}, changed
        assert not list(tmp_path.glob("results/**/*.csv"))

    return refuse

"""When W&B is online, offline or off, and which of its variables are honoured."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.run import tracking
from experiments.run.config import Tracking
from experiments.run.errors import UserError
from experiments.run.tracking import wandb_mode
from tests.tracked import DISABLED, OFFLINE, track, wandb_runs

ROOT = Path(__file__).parents[1]


def test_no_file_outside_the_folder_and_no_prompt(tmp_path, monkeypatch):
    """As a newcomer has it: no WANDB_MODE, no login, no terminal."""
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("NETRC", str(tmp_path / "no-such-file"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert wandb_mode(Tracking()) == "offline"
    track(tmp_path, Tracking())
    assert {path.name for path in tmp_path.iterdir()} == {"run", "runs"}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"wandb"}


def asked(tmp_path, *commands: str, **settings: str) -> str:
    """What wandb_mode says for a person with a home of their own, after these commands of W&B's."""
    home = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc"), "WANDB_SILENT": "false"}
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    program = Path(sys.executable).with_name("wandb")
    script = "from experiments.run.tracking import *; print(wandb_mode(Tracking()))"
    for command in commands:
        words = [program, *command.split()]
        subprocess.run(words, env=kept | home | settings, cwd=tmp_path, check=True)
    python = [sys.executable, "-c", script]
    paths = {"PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        python,
        env=kept | home | settings | paths,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert not found.stderr
    return found.stdout.strip()


KEY = "0123456789" * 4  # of the right length, and of nobody
OWN_SERVER = "http://127.0.0.1:9"  # nothing answers there


@pytest.mark.parametrize("settings", [{}, {"WANDB_BASE_URL": OWN_SERVER}])
def test_a_login_counts_on_whatever_host_w_and_b_uses(tmp_path, settings):
    """The installed program writes it; no host and no file of W&B's is named here."""
    assert asked(tmp_path, **settings) == "offline"
    assert asked(tmp_path, f"login --no-verify {KEY}", **settings) == "online"


def test_a_key_in_the_environment_counts(tmp_path):
    assert asked(tmp_path, WANDB_API_KEY=KEY) == "online"
    said = asked(tmp_path, WANDB_API_KEY="short").splitlines()
    assert said[0].startswith("W&B is not logged in: WANDB_API_KEY invalid")
    assert said[1:] == ["offline"]


def test_which_mode(monkeypatch):
    monkeypatch.setattr(tracking, "_logged_in", lambda: True)
    assert wandb_mode(Tracking()) == "disabled"  # WANDB_MODE of conftest.py
    assert wandb_mode(Tracking(mode="offline")) == "offline"
    monkeypatch.delenv("WANDB_MODE")
    assert wandb_mode(Tracking()) == "online"
    monkeypatch.setattr(tracking, "_logged_in", lambda: False)
    assert wandb_mode(Tracking()) == "offline"


def test_the_variables_of_w_and_b_are_honoured(tmp_path, monkeypatch, capsys):
    for name in ("PROJECT", "ENTITY", "RUN_GROUP", "NAME"):
        monkeypatch.setenv(f"WANDB_{name}", f"my-{name.lower()}")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere" / "runs"))
    track(tmp_path, OFFLINE)
    (run,) = wandb_runs(tmp_path / "elsewhere")
    named = {key: run.get(key) for key in ("project", "entity", "run_group", "display_name")}
    assert list(named.values()) == ["my-project", "my-entity", "my-run_group", "my-name"], run
    assert not (tmp_path / "runs").exists()
    memory = json.loads((tmp_path / "run" / "wandb.json").read_text())
    assert [memory[key] for key in ("project", "entity", "group")] == list(named.values())[:3]


def test_a_setting_counts_more_than_a_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    track(tmp_path, Tracking(mode="offline", project="mine"))
    (run,) = wandb_runs(tmp_path)
    assert run["project"] == "mine"


def test_what_cannot_be_honoured_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_NAME", "me")
    with pytest.raises(UserError, match="WANDB_NAME=me: this makes several W&B runs"):
        track(tmp_path, OFFLINE, rows="each")
    track(tmp_path, DISABLED, rows="each")
    for name, value in (("WANDB_RUN_ID", "x"), ("WANDB_MODE", "ofline")):
        with monkeypatch.context() as patch:
            patch.delenv("WANDB_NAME")
            patch.setenv(name, value)
            with pytest.raises(UserError, match=f"{name}"):
                track(tmp_path, Tracking(mode="auto" if name == "WANDB_MODE" else "offline"))

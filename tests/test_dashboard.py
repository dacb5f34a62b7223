"""make dashboard: says what is there to see, or what to do about it, in one line."""

import json
from pathlib import Path

import pytest

from scripts.dashboard import look


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "wandb").touch()
    return tmp_path / "wandb"


@pytest.fixture
def offline_runs(tmp_path: Path) -> Path:
    (tmp_path / "runs/wandb/offline-run-20260101_000000-toy-relax").mkdir(parents=True)
    return tmp_path / "runs"


def test_nothing_yet(tmp_path, program):
    text, command = look(tmp_path / "runs", program, online=False, terminal=True)
    assert "make reproduce-toy" in text and "\n" not in text and not command


def test_without_wandb(tmp_path, offline_runs):
    text, command = look(offline_runs, tmp_path / "none", online=False, terminal=True)
    assert "make setup" in text and not command


def test_offline_runs_open_in_a_terminal_and_elsewhere_the_command_is_named(program, offline_runs):
    opened = [str(program), "leet", str(offline_runs / "wandb")]
    assert look(offline_runs, program, online=False, terminal=True) == ("", opened)
    text, command = look(offline_runs, program, online=False, terminal=False)
    assert text.endswith(" ".join(opened)) and not command


def test_online_the_address_is_printed_once(program, offline_runs):
    for name in ("rebar", "relax"):
        (offline_runs / name).mkdir()
        memory = {"ids": [name], "address": "https://example.org/me/relax"}
        (offline_runs / name / "wandb.json").write_text(json.dumps(memory))
    answer = look(offline_runs, program, online=True, terminal=True)
    assert answer == ("https://example.org/me/relax", [])


def test_logged_in_with_offline_runs_only(program, offline_runs):
    text, command = look(offline_runs, program, online=True, terminal=True)
    assert "sync" in text and command

"""make dashboard: says what is there to see, or what to do about it."""

import json
import sys
from pathlib import Path

import pytest

from scripts import dashboard


@pytest.fixture
def offline_runs(tmp_path: Path) -> Path:
    (tmp_path / "runs/wandb/offline-run-20260101_000000-toy-relax").mkdir(parents=True)
    return tmp_path / "runs"


def test_nothing_yet(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["dashboard", str(tmp_path / "runs")])
    dashboard.main()
    (line,) = capsys.readouterr().out.splitlines()
    assert "make reproduce-toy" in line


def test_the_page_is_written_and_named(offline_runs, monkeypatch, capsys):
    folder = offline_runs / "toy/quick/t0.499/relax"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "summary.json").write_text("{}")
    monkeypatch.setattr(sys, "argv", ["dashboard", str(offline_runs)])
    dashboard.main()
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"in a browser: {offline_runs / 'dashboard.html'}"
    assert (offline_runs / "dashboard.html").exists()
    assert second.startswith("in a terminal: ")
    assert second.endswith(f"wandb leet {offline_runs / 'wandb'}")


def test_without_offline_runs_there_is_no_command(tmp_path):
    assert dashboard.wandb_lines(tmp_path, online=False) == []


def test_online_the_address_is_printed_once(offline_runs):
    for name in ("rebar", "relax"):
        (offline_runs / name).mkdir()
        memory = {"ids": [name], "address": "https://example.org/me/relax"}
        (offline_runs / name / "wandb.json").write_text(json.dumps(memory))
    assert dashboard.wandb_lines(offline_runs, online=True) == ["https://example.org/me/relax"]


def test_logged_in_with_offline_runs_only(offline_runs):
    assert "wandb sync" in dashboard.wandb_lines(offline_runs, online=True)[-1]

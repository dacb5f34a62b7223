"""The Makefile: help lists every target, and every command in it exists."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)", MAKEFILE, re.M)[1].replace("\\\n", " ").split()


def make(*arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=check)


def test_help_is_the_default_goal_and_lists_every_target_with_its_time():
    lines = make().stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines] == TARGETS
    assert all(re.match(r"  \S+ +\S.*\S  +\S", line) for line in lines), "a time is missing"


@pytest.mark.parametrize(
    "module", sorted(set(re.findall(r"-m ((?:experiments|scripts)[.\w]*)", MAKEFILE)))
)
def test_commands_exist(module):
    path = ROOT / module.replace(".", "/")
    assert path.with_suffix(".py").exists() or (path / "__main__.py").exists()


@pytest.mark.parametrize(("preset", "expected"), [((), "paper"), (("PRESET=smoke",), "smoke")])
def test_preset_fills_in_the_family(preset, expected):
    assert (
        f"preset=toy/{expected}"
        in make("-n", "-o", ".venv/.ready", "reproduce-toy", *preset).stdout
    )


def test_a_python_that_does_not_fit_is_refused(tmp_path):
    answer = make(
        "-B", "setup", "PYTHON=no-such-python", f"READY={tmp_path / 'ready'}", check=False
    )
    assert answer.returncode == 2
    assert "no Python 3.11 to 3.13 among: no-such-python" in answer.stderr

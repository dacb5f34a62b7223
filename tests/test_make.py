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
    "module", sorted(set(re.findall(r"-m ((?:experiments|scripts|tests)[.\w]*)", MAKEFILE)))
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


def other_relax(site: Path, name: str, listed: bool) -> None:
    """A distribution that installs a package named relax, in a folder of its own."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text("relax/__init__.py,,\n")
    if listed:
        (info / "top_level.txt").write_text("relax\n")
    (site / "relax").mkdir()
    (site / "relax" / "__init__.py").touch()


@pytest.mark.parametrize("listed", [True, False])
def test_setup_warns_of_another_package_of_this_name(tmp_path, monkeypatch, listed):
    setup = ("setup", "-o", ".venv/.ready")
    assert make(*setup).stdout.count("\n") == 1
    other_relax(tmp_path, "relax-vision", listed)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ready, line = make(*setup).stdout.splitlines()
    assert line.startswith("warning: relax-vision in this environment also installs a package")


def test_an_installation_of_this_project_is_no_namesake(tmp_path, monkeypatch):
    name = re.search(r'^name = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    other_relax(tmp_path, name, True)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "warning" not in make("setup", "-o", ".venv/.ready").stdout


@pytest.mark.parametrize("ignored", [".venv", "results/report.html"])
def test_what_make_makes_is_ignored(tmp_path, ignored):
    """In a clone of its own: an exclude file of this one may say more."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    (tmp_path / ignored).parent.mkdir(exist_ok=True)
    (tmp_path / ignored).symlink_to(ROOT)
    status = ["git", "status", "--porcelain", "--untracked-files=all"]
    found = subprocess.run(status, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["??", ".gitignore"]


def test_the_built_report_is_not_tracked():
    tracked = subprocess.run(["git", "ls-files", "results"], cwd=ROOT, capture_output=True)
    assert b"report.html" not in tracked.stdout

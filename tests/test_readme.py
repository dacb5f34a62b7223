"""The snippets of the README run as they stand."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import gymnasium
import pytest
import torch

import relax as rx

README = Path(__file__).parent.parent / "README.md"


def snippets() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_readme_has_snippets():
    assert len(snippets()) >= 2


@torch._dynamo.config.patch(trace_autograd_ops=False)  # the snippet that needs it sets it
@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_snippets_run_in_order(backend, monkeypatch):
    """One after the other in one namespace, as a reader would type them.

    torch.compile takes a minute to generate code; the eager backend traces the same single graph.
    """
    torch.manual_seed(0)
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    namespace: dict = {}
    before = dict(rx.ESTIMATORS)
    try:
        for number, code in enumerate(snippets()):
            try:
                exec(compile(code, f"README snippet {number}", "exec"), namespace)
            except Exception as error:
                pytest.fail(f"snippet {number} of the README: {error!r}\n{code}")
    finally:
        for name in rx.ESTIMATORS.keys() - before.keys():
            del rx.ESTIMATORS[name]
        gymnasium.registry.pop("Corridor-v0", None)


def test_the_first_snippet_needs_torch_alone():
    imported = re.findall(r"^(?:import|from) (\w+)", snippets()[0], re.MULTILINE)
    assert imported == ["torch", "relax"]


def test_links_lead_somewhere():
    """Every relative link and picture of the README is in the tree."""
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text())
    missing = [x for x in links if "://" not in x and not (README.parent / x).exists()]
    assert not missing


def test_the_environment_of_the_readme_trains(tmp_path, run_dirs):
    """Its class as a file, and the command below it, only shorter."""
    code = next(code for code in snippets() if "gymnasium.register" in code)
    (tmp_path / "corridor.py").write_text(code)
    command = re.search(r"python -m (experiments\.rl .*corridor:.*)", README.read_text())[1]
    command = re.sub(r"frames=\d+", "frames=400 seeds=1 estimator=[relax]", command)
    answer = subprocess.run(
        [sys.executable, "-m", *command.split(), *run_dirs],
        cwd=README.parent,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "WANDB_MODE": "disabled"},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert list(tmp_path.rglob("relax-solved.csv"))

"""The snippets of README.md and docs/*.md run as they stand."""

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

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
EXTENDING = ROOT / "docs/extending.md"
PAGES = [README, *sorted(ROOT.glob("docs/*.md"))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def snippets(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


WITH_SNIPPETS = [page for page in PAGES if snippets(page)]


def test_the_pages_have_snippets():
    assert {"README.md", "docs/recipes.md", "docs/extending.md"} <= set(map(name, WITH_SNIPPETS))


@torch._dynamo.config.patch(trace_autograd_ops=False)  # the snippet that needs it sets it
@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("page", WITH_SNIPPETS, ids=name)
def test_snippets_run_in_order(page, backend, monkeypatch):
    """A page's snippets one after the other in one namespace, as a reader would type them.

    torch.compile takes a minute to generate code; the eager backend traces the same single graph.
    """
    torch.manual_seed(0)
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    namespace: dict = {}
    before = dict(rx.ESTIMATORS)
    try:
        for number, code in enumerate(snippets(page)):
            try:
                exec(compile(code, f"{name(page)}, snippet {number}", "exec"), namespace)
            except Exception as error:
                pytest.fail(f"snippet {number} of {name(page)}: {error!r}\n{code}")
    finally:
        for added in rx.ESTIMATORS.keys() - before.keys():
            del rx.ESTIMATORS[added]
        gymnasium.registry.pop("Corridor-v0", None)


def test_the_first_snippet_needs_torch_alone():
    imported = re.findall(r"^(?:import|from) (\w+)", snippets(README)[0], re.MULTILINE)
    assert imported == ["torch", "relax"]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    """Every relative link and picture of a page is in the tree."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#]+)\)", text)
    missing = [x for x in links if "://" not in x and not (page.parent / x).exists()]
    assert not missing


def test_the_readme_links_to_every_page_of_docs():
    links = set(re.findall(r"\]\(([^)#]+)\)", README.read_text()))
    assert {name(page) for page in PAGES if page != README} <= links


def test_the_documented_environment_trains(tmp_path, run_dirs):
    """Its class as a file, and the command below it, only shorter."""
    code = next(code for code in snippets(EXTENDING) if "gymnasium.register" in code)
    (tmp_path / "corridor.py").write_text(code)
    command = re.search(r"python -m (experiments\.rl .*corridor:.*)", EXTENDING.read_text())[1]
    command = re.sub(r"frames=\d+", "frames=400 seeds=1 estimator=[relax]", command)
    answer = subprocess.run(
        [sys.executable, "-m", *command.split(), *run_dirs],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "WANDB_MODE": "disabled"},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert list(tmp_path.rglob("relax-solved.csv"))

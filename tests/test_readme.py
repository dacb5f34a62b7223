"""The snippets of the README run as they stand."""

import re
from pathlib import Path

import pytest
import torch

README = Path(__file__).parent.parent / "README.md"


def snippets() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_readme_has_snippets():
    assert len(snippets()) >= 2


def test_snippets_run_in_order():
    """One after the other in one namespace, as a reader would type them."""
    torch.manual_seed(0)
    namespace: dict = {}
    for number, code in enumerate(snippets()):
        try:
            exec(compile(code, f"README snippet {number}", "exec"), namespace)
        except Exception as error:
            pytest.fail(f"snippet {number} of the README: {error!r}\n{code}")


def test_links_lead_somewhere():
    """Every relative link and picture of the README is in the tree."""
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text())
    missing = [x for x in links if "://" not in x and not (README.parent / x).exists()]
    assert not missing

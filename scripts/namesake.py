"""Warn where another distribution also installs a package named relax: python -m scripts.namesake

Two distributions with one package name write into one folder: the later one wins, without a word.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path


def warning() -> str | None:
    """The line to print, or None where there is nothing to warn of."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    found = sorted(set(packages_distributions().get("relax", [])) - {project["name"]})
    if not found:
        return None
    names = " and ".join(found)
    return (
        f"warning: {names} in this environment also installs a package named relax, which hides or "
        f"overwrites this one outside the checkout; pip uninstall {' '.join(found)}"
    )


if __name__ == "__main__":
    if line := warning():
        print(line)

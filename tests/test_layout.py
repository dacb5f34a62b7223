"""The imports point one way, every YAML opens with its command, every preset changes something."""

import ast
import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
FAMILIES = ("toy", "vae", "rl", "permutations", "compare")
MAY_IMPORT = {"compare": {"compare", "vae"}}  # it compares estimators on layers of trained VAEs

# Where a package may be imported; the patterns are relative to the root.
ONLY_IN = {
    "hydra": ("experiments/run/config.py", "experiments/*/__main__.py"),
    "omegaconf": ("experiments/run/config.py", "experiments/*/__main__.py"),
    "wandb": ("experiments/run/tracking.py",),
    "gymnasium": ("experiments/rl/envs.py", "experiments/rl/bandit.py"),
    "torchvision": ("experiments/vae/data.py", "scripts/*.py"),
}
# What a layer must not import: scripts -> experiments -> relax.
NOT_FROM = {
    "relax": ("experiments", "scripts", "tests"),
    "experiments": ("scripts", "tests"),
    "scripts": ("tests",),
}


def imports(path: Path) -> Iterator[str]:
    """Absolute dotted names that a file imports, `from a import b` as a.b."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def relative_imports(path: Path) -> bool:
    """Whether a file has `from .a import b`, which would hide from these rules."""
    tree = ast.parse(path.read_text(), str(path))
    return any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))


def broken_rule(path: str, name: str) -> str | None:
    """Why the file at `path` must not import `name`, or None where it may."""
    layer, top = path.split("/")[0], name.split(".")[0]
    if layer == "relax" and top not in {"relax", "torch", *sys.stdlib_module_names}:
        return "relax imports torch, the standard library and itself"
    if top in NOT_FROM[layer]:
        return f"{layer} must not import {top}"
    if top in ONLY_IN and not any(fnmatch(path, pattern) for pattern in ONLY_IN[top]):
        return f"{top} belongs in {' and '.join(ONLY_IN[top])}"
    if layer == "experiments" and name.startswith(tuple(f"experiments.{f}" for f in FAMILIES)):
        family = name.split(".")[1]
        importer = path.split("/")[1]
        if family in FAMILIES and family not in MAY_IMPORT.get(importer, {importer}):
            return f"experiments.{family} is for itself and for scripts"
    return None


def violations(root: Path) -> list[str]:
    found = []
    for path in sorted(path for layer in NOT_FROM for path in root.glob(f"{layer}/**/*.py")):
        place = path.relative_to(root).as_posix()
        if relative_imports(path):
            found.append(f"{place}: relative import")
        rules = ((name, broken_rule(place, name)) for name in imports(path))
        found += [f"{place} imports {name}: {rule}" for name, rule in rules if rule]
    return found


def test_imports_point_one_way():
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("relax/a.py", "import numpy as np"),
        ("relax/a.py", "from experiments.run.config import Experiment"),
        ("relax/estimators/a.py", "from ..surrogates import mlp"),
        ("experiments/toy/a.py", "from omegaconf import OmegaConf"),
        ("experiments/vae/a.py", "def f():\n    import wandb"),
        ("experiments/rl/a.py", "import gymnasium as gym"),
        ("experiments/vae/a.py", "from torchvision.datasets import MNIST"),
        ("experiments/vae/a.py", "from experiments.toy.loop import train"),
        ("experiments/rl/a.py", "from experiments import vae"),
        ("experiments/run/tracking.py", "import experiments.rl.loop"),
        ("experiments/vae/a.py", "from experiments.compare import measure"),
        ("experiments/toy/a.py", "from scripts import style"),
        ("scripts/a.py", "import wandb"),
        ("scripts/a.py", "from tests.helpers import objectives"),
    ],
)
def test_a_broken_rule_is_found(tmp_path, place, line):
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text(line)
    assert len(violations(tmp_path)) == 1


def opening(path: Path) -> str:
    """The comment that a YAML file opens with."""
    lines = path.read_text().splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "\n".join(line.removeprefix("#").strip() for line in lines[:end])


def composed(family: str, overrides: list[str]):
    """The family's configuration, as its entry point would have it."""
    from hydra import compose, initialize_config_dir

    importlib.import_module(f"experiments.{family}.__main__")  # registers the schema
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(family, overrides=overrides)


def yamls(pattern: str) -> list:
    paths = sorted(CONFIGS.glob(pattern))
    return [pytest.param(path, id=path.relative_to(CONFIGS).as_posix()) for path in paths]


@pytest.mark.parametrize("path", yamls("**/*.yaml"))
def test_yaml_opens_with_the_command_that_uses_it(path):
    text = opening(path)
    assert re.search(r"(python -m experiments\.|make [a-z])", text), "no command"
    assert re.search(rf"\b{path.stem}\b", text), "the command does not use this file"
    for family, rest in re.findall(r"python -m experiments\.(\w+)(.*)", text):
        words = [word for word in shlex.split(rest, comments=True) if "=" in word]
        composed(family, [word for word in words if not word.startswith("hydra")])


def leaves(tree: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@pytest.mark.parametrize("path", yamls("preset/*/*.yaml"))
def test_preset_differs_from_the_default_in_what_it_lists(path):
    from omegaconf import OmegaConf

    listed = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    groups = listed.pop("defaults", [])
    listed.pop("preset", None)  # its own name
    family = path.parent.name
    default = composed(family, ["~preset"])
    preset = composed(family, [f"preset={family}/{path.stem}"])
    assert groups or listed, "the preset lists nothing"
    assert preset != default
    for key, _ in leaves(listed):
        before, after = OmegaConf.select(default, key), OmegaConf.select(preset, key)
        assert before != after, f"{key} is {after} without this preset as well"

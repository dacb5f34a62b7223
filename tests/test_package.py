"""`pip install .` gives the core alone, with torch as its only requirement."""

import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_the_core_alone(tmp_path):
    source = tmp_path / "source"  # a build writes beside what it builds
    source.mkdir()
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in ("relax", "experiments", "scripts"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--no-index", "--wheel-dir", tmp_path, source], check=True)

    with zipfile.ZipFile(next(tmp_path.glob("relax_gradients-*.whl"))) as wheel:
        names = wheel.namelist()
        metadata = next(name for name in names if name.endswith("/METADATA"))
        requires = Parser().parsestr(wheel.read(metadata).decode()).get_all("Requires-Dist")
    code = {name for name in names if ".dist-info/" not in name}
    core = {path.relative_to(ROOT).as_posix() for path in (ROOT / "relax").rglob("*.py")}
    assert code == core | {"relax/py.typed"}
    assert [line for line in requires if "extra ==" not in line] == ["torch>=2.6"]

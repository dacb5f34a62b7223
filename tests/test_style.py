"""Figures are drawn with our settings alone, whatever the user's matplotlib is set to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import style

ROOT = Path(__file__).parents[1]
DRAW = """
import sys
from pathlib import Path
from scripts import style

@style.applied()
def draw():
    fig, ax = style.plt.subplots(figsize=(2, 2))
    ax.plot([1, 2], [3, 1e-3], label="$x^2$ %")
    ax.legend()
    style.save(fig, Path(sys.argv[1]))

draw()
"""


def drawn(place: Path, **settings: str) -> bytes:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MPL", "MATPLOTLIB"))}
    command = [sys.executable, "-c", DRAW, place / "figure"]
    subprocess.run(command, cwd=ROOT, env=environment | settings, check=True, timeout=100)
    return (place / "figure.png").read_bytes()


@pytest.fixture(scope="module")
def usual(tmp_path_factory) -> bytes:
    return drawn(tmp_path_factory.mktemp("usual"))


@pytest.mark.parametrize(
    "backend", ["module://matplotlib_inline.backend_inline", "TkAgg", "no-such-backend"]
)
def test_the_backend_of_the_environment_is_not_used(tmp_path, usual, backend):
    assert drawn(tmp_path, MPLBACKEND=backend) == usual


@pytest.mark.parametrize(
    "lines",
    [
        "text.usetex: True",
        "backend: no-such-backend",
        "savefig.format: svg\nsavefig.bbox: tight\nsavefig.transparent: True",
        "axes.facecolor: black\nfont.family: serif\nlines.linewidth: 9\npath.simplify: False",
    ],
)
def test_the_user_s_matplotlibrc_changes_no_pixel(tmp_path, usual, lines):
    (tmp_path / "matplotlibrc").write_text(lines)
    assert drawn(tmp_path, MATPLOTLIBRC=str(tmp_path / "matplotlibrc")) == usual


def test_the_settings_are_given_back():
    before = dict(style.matplotlib.rcParams)
    with style.applied():
        assert style.matplotlib.rcParams["savefig.dpi"] == 150
    assert dict(style.matplotlib.rcParams) == before


def test_labels_of_tagged_runs():
    assert [style.label(name) for name in ("relax", "a2c", "exact")] == (
        ["RELAX", "A2C", "exact gradient"]
    )
    assert style.label("relax-lr3e-3") == "RELAX (lr3e-3)"
    assert style.label("relax_score-lr3e-3") == "RELAX, score only (lr3e-3)"
    assert style.colour("relax-eta1") == style.colour("relax") != style.colour("relax_score")

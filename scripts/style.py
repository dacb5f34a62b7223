"""How the figures look: one colour per estimator everywhere, safe for colour-blind readers.

The colours are Okabe and Ito's. What the paper measured is dashed and dark, ours is solid.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Read when matplotlib is imported; a name that it does not know there would end the import.
os.environ["MPLBACKEND"] = "Agg"
import matplotlib
import matplotlib.pyplot as plt
import matplotlib.style
import numpy as np

COLOURS = {
    "exact": "#333333",
    "reinforce": "#D55E00",
    "rebar": "#0072B2",
    "relax": "#009E73",
    "lax": "#009E73",  # RELAX for continuous actions
    "a2c": "#E69F00",
    "muprop": "#CC79A7",
    "nvil": "#8C6D31",
    "concrete": "#56B4E9",
    "straight_through": "#999999",
    "rao_relax": "#C2185B",
    "double_cv": "#D08C00",  # the others' would be those of ARMS and RLOO
    "reinmax": "#332288",
}
OTHERS = ("#882255", "#117733", "#332288", "#AA4499", "#44AA99", "#DDCC77", "#661100", "#6699CC")
LABELS = {
    "exact": "exact gradient",
    "nvil": "NVIL",
    "muprop": "MuProp",
    "concrete": "Concrete",
    "straight_through": "straight-through",
    "relax_squared": "RELAX, squared error",
    "relax_score": "RELAX, score only",
    "relax_biased": "RELAX, biased z~",
    "relax_published": "RELAX, as published",
    "rao_relax": "rao_relax",
    "reinforce_loo2": "REINFORCE, leave-one-out, 2 samples",
    "rebar_tucker": "REBAR, Tucker's relaxation",
    "relax_surrogate_only": "RELAX, surrogate of z only",
    "lax_squared": "LAX, squared error",
    "lax_score": "LAX, score only",
}
SETTINGS = {
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
    "svg.hashsalt": "relax",
}
WIDTH = 9.2  # inches: the text stays legible where a README shows the picture 830 pixels wide


def colour(name: str) -> str:
    """The estimator's colour, whatever its tag; relax_biased has its own, always the same."""
    base = name.partition("-")[0]
    return COLOURS.get(base) or OTHERS[sum(base.encode()) % len(OTHERS)]


def label(name: str) -> str:
    """relax -> RELAX, relax-lr3e-3 -> RELAX (lr3e-3)"""
    base, _, tag = name.partition("-")
    said = LABELS.get(base, base.upper() if base.isalnum() else base.replace("_", " "))
    return f"{said} ({tag})" if tag else said


def line(name: str) -> str | tuple:
    """A tagged run shares its estimator's colour and is dotted."""
    return (0, (1, 1)) if "-" in name else "-"


def dark(name: str) -> tuple[float, ...]:
    """The colour of what the paper measured."""
    return tuple(0.6 * x for x in matplotlib.colors.to_rgb(colour(name)))


@contextmanager
def applied() -> Iterator[None]:
    """Draw with the settings of every figure, whatever the user's matplotlibrc says."""
    with matplotlib.style.context(["default", SETTINGS]):
        yield


def band(ax, x: np.ndarray, values: np.ndarray, name: str, **line) -> np.ndarray:
    """Median over seeds with the 10-90 % band, values [points, seeds]; returns the median."""
    q10, median, q90 = np.nanquantile(values, [0.1, 0.5, 0.9], axis=1)
    if values.shape[1] > 1:
        shade(ax, x, q10, q90, name)
    ax.plot(x, median, color=colour(name), **{"linewidth": 2, **line})
    return median


def shade(ax, x: np.ndarray, low: np.ndarray, high: np.ndarray, name: str) -> None:
    """A band with edges, so that two that overlap can be told apart."""
    ax.fill_between(x, low, high, color=colour(name), alpha=0.13, linewidth=0)
    for edge in (low, high):
        ax.plot(x, edge, color=colour(name), linewidth=0.7, alpha=0.8)


def paper(ax, x, y, name: str, **line) -> None:
    """The paper's own curve."""
    style = {"linestyle": (0, (4, 1.5)), "linewidth": 1.1, "color": dark(name), **line}
    ax.plot(x, y, **style)


def spread(heights: list[float], gap: float) -> list[float]:
    """The heights moved apart, so that labels `gap` high do not overlap."""
    order = np.argsort(heights)
    placed = np.array(heights, dtype=float)[order]
    for _ in range(200):
        overlap = np.maximum(gap - np.diff(placed), 0) / 2
        if overlap.max(initial=0) < 1e-3 * gap:
            break
        placed[:-1] -= overlap
        placed[1:] += overlap
    moved = np.empty_like(placed)
    moved[order] = placed
    return moved.tolist()


def end_labels(
    ax, ends: dict[str, tuple[float, str]], gap: float = 0.07, named: bool = True
) -> None:
    """The estimators' names right of the axes: name -> (height of its curve's end, more text)."""
    low, high = ax.get_ylim()
    heights = spread([min(max(y, low), high) for y, _ in ends.values()], gap * (high - low))
    for (name, (_, more)), y in zip(ends.items(), heights, strict=True):
        ax.annotate(
            label(name) + more if named else more,
            (1.01, y),
            xycoords=("axes fraction", "data"),
            color=colour(name),
            va="center",
            fontweight="bold",
            fontsize=9.5,
        )


def legend(fig, names: Iterable[str], theirs: str) -> None:
    """The estimators' names below all panels, and what is dashed if anything is."""
    keys = [plt.Line2D([], [], color=colour(n), linestyle=line(n), linewidth=2) for n in names]
    words = [label(name) for name in names]
    if theirs:
        keys.append(plt.Line2D([], [], color="#222222", linestyle=(0, (4, 1.5)), linewidth=1.1))
        words.append(theirs)
    fig.legend(keys, words, loc="outside lower center", ncols=len(keys), columnspacing=1.4)


def save(fig, path: Path) -> Path:
    """PNG and PDF, the same bytes every time; where the PNG is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = path.with_name(path.name + ".png")
    fig.savefig(picture, metadata={"Software": None})
    fig.set_layout_engine("none")  # done: not again for the second file
    fig.savefig(path.with_name(path.name + ".pdf"), metadata={"CreationDate": None})
    plt.close(fig)
    return picture

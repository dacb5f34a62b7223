"""How figures look: labels, colours and the parts that all of them share.

The colours are Okabe and Ito's, safe for colour-blind readers; an estimator has the same colour in
every figure. The paper's curves are dashed and dark, ours are solid.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

# matplotlib reads this when it is imported, and an unknown name would end the import.
os.environ["MPLBACKEND"] = "Agg"
import matplotlib
import matplotlib.pyplot as plt
import matplotlib.style
import numpy as np
import pandas as pd

from experiments.run.errors import UserError

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
    "unbiased_reinmax": "#C2185B",
    "double_cv": "#D08C00",  # the palette below would give it the colour of another method
    "reinmax": "#332288",
    "rloo": "#777777",
    "disarm": "#6699CC",
    "arms": "#AA4499",
    "carms": "#AA4499",  # ARMS for classes
    "relax_benchmark": "#009E73",
    "debiased_reinmax": "#661100",
    "st_gumbel": "#882255",
}
OTHERS = ("#882255", "#117733", "#332288", "#AA4499", "#44AA99", "#DDCC77", "#661100", "#6699CC")
# A name is otherwise written in capitals if it is one word, and with spaces if it has several.
LABELS = {
    "exact": "exact gradient",
    "muprop": "MuProp",
    "concrete": "Concrete",
    "disarm": "DisARM",
    "reinmax": "ReinMax",
    "double_cv": "Double CV",
    "straight_through": "straight-through",
    "relax_squared": "RELAX, squared error",
    "relax_score": "RELAX, score only",
    "relax_biased": "RELAX, biased z~",
    "relax_published": "RELAX, as published",
    "relax_benchmark": "RELAX (Shi et al.)",
    "st_gumbel": "ST Gumbel",
    "unbiased_reinmax": "unbiased ReinMax",
    "debiased_reinmax": "debiased ReinMax",
    "gumbel_sinkhorn": "Gumbel-Sinkhorn",
    "reinforce_loo2": "REINFORCE, leave-one-out, 2 samples",
    "rebar_tucker": "REBAR, Tucker's relaxation",
    "relax_surrogate_only": "RELAX, surrogate of z only",
    "lax_squared": "LAX, squared error",
    "lax_score": "LAX, score only",
}
TITLES = {  # environments and data sets
    "mnist": "MNIST",
    "omniglot": "Omniglot",
    "omniglot_small": "Omniglot small",
    "cartpole": "CartPole",
    "lunarlander": "LunarLander",
    "pendulum": "InvertedPendulum",
}
OURS = {"color": "#555555", "linewidth": 2}
BAND = {"color": "#555555", "linewidth": 7, "alpha": 0.25}
PAPER = {"linestyle": (0, (4, 1.5)), "linewidth": 1.1}
SETTINGS = {
    "font.size": 10.5,
    "axes.titlesize": 11,
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


def base(name: str) -> str:
    """The estimator of a run with a tag: relax of relax-lr3e-3."""
    return name.partition("-")[0]


def colour(name: str) -> str:
    """The colour of an estimator, whatever the tag; relax_biased has one of its own."""
    name = base(name)
    return COLOURS.get(name) or OTHERS[sum(name.encode()) % len(OTHERS)]


def label(name: str) -> str:
    """relax -> RELAX, relax-lr3e-3 -> RELAX (lr3e-3), rloo-2 (two samples) -> RLOO-2"""
    name, _, tag = name.partition("-")
    text = LABELS.get(name, name.upper() if name.isalnum() else name.replace("_", " "))
    if tag.isdigit():
        return f"{text}-{tag}"
    return f"{text} ({tag})" if tag else text


def case_title(case: str) -> str:
    """mnist-linear1 -> MNIST linear1, cartpole -> CartPole"""
    name, _, model = case.partition("-")
    return f"{TITLES.get(name, name.title())} {model}".rstrip()


def line(name: str) -> str | tuple:
    """The line style: a run with a tag shares its estimator's colour and is dotted."""
    return (0, (1, 1)) if "-" in name else "-"


def dark(name: str) -> tuple[float, ...]:
    """The colour of the paper's curve of an estimator."""
    return tuple(0.6 * x for x in matplotlib.colors.to_rgb(colour(name)))


@contextmanager
def applied() -> Iterator[None]:
    """Draw with the settings of every figure, whatever the user's matplotlibrc says."""
    with matplotlib.style.context(["default", SETTINGS]):
        yield


def band(ax, values: pd.DataFrame, name: str, **line) -> float:
    """Draw the median over seeds and the 10-90 % band; returns where the median ends.

    Args:
        values: a row per point of the x axis, its index, and a column per seed.
    """
    q10, median, q90 = np.nanquantile(values, [0.1, 0.5, 0.9], axis=1)
    if values.shape[1] > 1:
        shade(ax, values.index, q10, q90, name)
    ax.plot(values.index, median, color=colour(name), **{"linewidth": 2, **line})
    return float(median[-1])


def shade(ax, x: np.ndarray, low: np.ndarray, high: np.ndarray, name: str) -> None:
    """A band with edges, so that two overlapping bands remain distinguishable."""
    ax.fill_between(x, low, high, color=colour(name), alpha=0.13, linewidth=0)
    for edge in (low, high):
        ax.plot(x, edge, color=colour(name), linewidth=0.7, alpha=0.8)


def paper(ax, x, y, name: str, **line) -> None:
    """A curve of the paper."""
    ax.plot(x, y, **{**PAPER, "color": dark(name), **line})


def finding(fig, text: str) -> None:
    """What a figure shows, as its title."""
    fig.suptitle(text, x=0.01, ha="left", fontsize=11.5, fontweight="bold")


def spread(heights: list[float], gap: float, low: float, high: float) -> list[float]:
    """The heights moved apart within [low, high], so that labels of height `gap` do not overlap."""
    order = np.argsort(heights)
    placed = np.clip(np.array(heights, dtype=float)[order], low, high)
    for _ in range(200):
        overlap = np.maximum(gap - np.diff(placed), 0) / 2
        if overlap.max(initial=0) < 1e-3 * gap:
            break
        placed[:-1] -= overlap
        placed[1:] += overlap
        placed = np.clip(placed, low, high)
    moved = np.empty_like(placed)
    moved[order] = placed
    return moved.tolist()


def end_labels(ax, ends: dict[str, float], texts: dict[str, str] | None = None, gap=0.07) -> None:
    """Text to the right of the axes, at the heights where the estimators' curves end.

    Args:
        ends: estimator -> height of the end of its curve.
        texts: estimator -> text; the estimator's label where it is missing.
    """
    low, high = ax.get_ylim()
    heights = spread(list(ends.values()), gap * (high - low), low, high)
    for name, y in zip(ends, heights, strict=True):
        ax.annotate(
            (texts or {}).get(name, label(name)),
            (1.01, y),
            xycoords=("axes fraction", "data"),
            color=colour(name),
            va="center",
            fontweight="bold",
            fontsize=9.5,
        )


def legend(fig, entries: Iterable[tuple[str, dict]], **look) -> None:
    """One legend below all panels, in two or three rows if it is long: (text, style) per entry."""
    texts, styles = zip(*entries, strict=True)
    keys = [plt.Line2D([], [], **style) for style in styles]
    length = len("".join(texts)) + 8 * len(keys)
    rows = 1 if length < 130 else 2 if length < 220 else 3
    fig.legend(keys, texts, loc="outside lower center", ncols=-(-len(keys) // rows), **look)


def paper_entry(text: str) -> tuple[str, dict]:
    """The legend's entry for the paper's curves."""
    return text, {**PAPER, "color": "#222222"}


def estimator_entry(name: str) -> tuple[str, dict]:
    """The legend's entry for an estimator."""
    return label(name), {"color": colour(name), "linestyle": line(name), "linewidth": 2}


def save(fig, path: Path) -> Path:
    """PNG and PDF, the same bytes every time; where the PNG is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = path.with_name(path.name + ".png")
    fig.savefig(picture, metadata={"Software": None})
    fig.set_layout_engine("none")  # done: not again for the second file
    fig.savefig(path.with_name(path.name + ".pdf"), metadata={"CreationDate": None})
    plt.close(fig)
    return picture


# ---- commands ----


def upload(runs: Path, family: str, preset: str, case: str, pictures: Iterable[Path]) -> None:
    """Show pictures in W&B, in the group of the runs that they were drawn from, if W&B has any."""
    folder = runs / family / preset / case
    if any(folder.glob("*/wandb.json")):
        from experiments.run.tracking import show_figures  # imports torch and W&B: two seconds

        show_figures(folder, f"{family}-{preset}-{case}", runs, pictures)


def command(main: Callable, description: str, preset: str | None = None, **options: type) -> None:
    """Run a figures' program: a preset, where results and runs are, and options of its own."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("preset", nargs="?" if preset else None, default=preset)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    for name, kind in options.items():
        parser.add_argument(f"--{name}", type=kind)
    try:
        main(**vars(parser.parse_args()))
    except UserError as error:
        sys.exit(f"error: {error}")

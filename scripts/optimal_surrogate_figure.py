"""python -m scripts.optimal_surrogate_figure: the learned surrogate beside the optimal one.

Reads results/toy/optimal/, which `python -m experiments.toy.optimal_surrogate` writes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from scripts import style

FINDING = "LAX's learned surrogate approaches the optimal one, which is not f"
F = {"color": "#999999", "linestyle": "--"}
OPTIMAL = {"color": "black", "linewidth": 1}


def draw(folder: Path, figures: Path) -> Path:
    """One column per f: above the surrogates, below the variance during training."""
    surrogates = pd.read_csv(folder / "surrogates.csv")
    variance = pd.read_csv(folder / "variance.csv")
    names = list(dict.fromkeys(surrogates["f"]))
    bits = [name for name in dict.fromkeys(variance["f"]) if name not in names]
    with style.applied():
        fig, axes = plt.subplots(2, 3, figsize=(style.WIDTH, 5.6))
        for column, name in enumerate(names):
            draw_surrogates(axes[0, column], surrogates[surrogates["f"] == name])
            axes[0, column].set_title(f"f: {name}")
        draw_variances(axes[1, 0], variance, names)
        for ax, name in zip(axes[1, 1:], bits, strict=True):
            draw_bits(ax, variance[variance["f"] == name])
            ax.set_title(f"8 bits: {name}")
        axes[1, 1].set_ylabel("variance")
        style.legend(fig, entries())
        style.finding(fig, FINDING)
        return style.save(fig, figures / "toy-optimal-surrogate")


def entries() -> list[tuple[str, dict]]:
    names = ("reinforce", "local_expectation", "relax")
    return [
        ("f", F),
        ("optimal c*", OPTIMAL),
        ("LAX's learned c: median", {"color": style.colour("lax"), "linewidth": 1.8}),
        ("10-90 % of the seeds", {**style.BAND, "color": style.colour("lax")}),
        *map(style.estimator_entry, names),
    ]


def draw_surrogates(ax: plt.Axes, table: pd.DataFrame) -> None:
    colour = style.colour("lax")
    ax.plot(table["x"], table["value"], **F)
    ax.plot(table["x"], table["optimal"], **OPTIMAL)
    ax.fill_between(table["x"], table["q10"], table["q90"], color=colour, alpha=0.25, linewidth=0)
    ax.plot(table["x"], table["median"], color=colour, linewidth=1.8)
    ax.set_xlabel("x")


def draw_variances(ax: plt.Axes, variance: pd.DataFrame, names: list[str]) -> None:
    """Of each f the variance of LAX's estimate over that of REINFORCE; the optimum has none."""
    for name, line in zip(names, ("-", "--", ":"), strict=True):
        rows = variance[variance["f"] == name]
        plain = rows.loc[rows["estimator"] == "reinforce", "variance"].item()
        median = rows[rows["estimator"] == "lax"].groupby("step")["variance"].median() / plain
        ax.plot(median.index, median, color=style.colour("lax"), linestyle=line, label=name)
    logarithmic(ax)
    ax.set_yscale("log")
    ax.set_title("Var[LAX] / Var[REINFORCE]")
    ax.legend()


def draw_bits(ax: plt.Axes, rows: pd.DataFrame) -> None:
    for name, group in rows.groupby("estimator"):
        median = group.groupby("step")["variance"].median()
        if len(median) > 1:
            ax.plot(median.index, median, color=style.colour(name))
        else:
            ax.axhline(median.item(), color=style.colour(name))
    logarithmic(ax)
    ax.set_ylim(bottom=0)


def logarithmic(ax: plt.Axes) -> None:
    """Steps of training on a logarithmic axis that has room for step 0."""
    ax.set_xscale("symlog", linthresh=10)
    ax.set_xlabel("steps of training c")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    results = parser.parse_args().results
    print(draw(results / "toy" / "optimal", results / "figures"))


if __name__ == "__main__":
    main()

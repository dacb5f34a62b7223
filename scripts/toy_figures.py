"""The toy's figures from its CSV files: python -m scripts.toy_figures paper

For every case of the preset two pictures under results/figures/: <preset>-<case>-curves and
-relaxation, as PNG and PDF.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from experiments.run.errors import UserError, check
from experiments.run.files import read_table
from scripts import style
from scripts.media import shown

WINDOW = 500  # steps that a point of the log-variance is averaged over, as in the paper
ORDER = ("reinforce", "rebar", "relax", "exact")


@style.applied()
def main(preset: str, results: Path, t: float | None = None, runs: Path = Path("runs")) -> None:
    case = "t*" if t is None else f"t{t!r}"
    cases = sorted((results / "toy" / preset).glob(f"{case}/summary.csv"))
    mend = f"make reproduce-toy PRESET={preset}" + ("" if t is None else f" T={t!r}")
    check(cases, f"{results / 'toy' / preset / case} holds no results: {mend}")
    for summary in cases:
        case = summary.parent
        published = paper_curves(case.name)
        stem = results / "figures" / f"toy-{preset}-{case.name}"
        with shown(runs, "toy", preset, case.name) as show:
            show(curves_figure(case, published, Path(f"{stem}-curves")))
            if (case / "relaxation.csv").exists():
                show(relaxation_figure(case, published, Path(f"{stem}-relaxation")))
        print(f"{stem}-*.png")


def paper_curves(case: str) -> dict[str, dict]:
    """The paper's series of this case, figure -> estimator -> {x, y}."""
    file = Path(__file__).parents[1] / "results" / "paper" / "toy.json"
    everything = json.loads(file.read_text())
    return {
        key.split()[0]: figure["series"]
        for key, figure in everything.items()
        if key.endswith(f" {case}")
    }


def load(case: Path) -> dict[str, dict[str, np.ndarray]]:
    """estimator -> its columns, the usual ones first."""
    files = {file.stem: file for file in case.glob("*.csv")}
    names = [*(n for n in ORDER if n in files), *sorted(files.keys() - {*ORDER})]
    return {n: read_table(files[n]) for n in names if n not in ("summary", "relaxation")}


def matrix(table: dict[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps [points], values [points, seeds]) of one metric."""
    seeds = len(np.unique(table["seed"]))
    values, steps = table[name].reshape(-1, seeds), table["step"].reshape(-1, seeds)[:, 0]
    measured = ~np.isnan(values).all(axis=1)
    return steps[measured], values[measured]


def rolling(values: np.ndarray, points: int) -> np.ndarray:
    """Mean over the last `points` rows, from the row on that has as many behind it."""
    windows = np.lib.stride_tricks.sliding_window_view(values, points, axis=0)
    there = ~np.isnan(windows)
    return np.nansum(windows, axis=-1) / np.maximum(there.sum(-1), 1)


# ---- loss and log-variance ----


def curves_figure(case: Path, published: dict[str, dict], path: Path) -> Path:
    tables = load(case)
    t = float(case.name[1:])
    fig, (left, right) = plt.subplots(1, 2, figsize=(style.WIDTH, 4.3))
    draw_loss(left, tables, published.get("loss", {}), t)
    draw_variance(right, tables, published.get("log_variance", {}))
    for ax in (left, right):
        ax.set_xlabel("step (one sample each)")
        ax.set_xlim(left=0)
        ax.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x else "0")
    seeds = max(len(np.unique(table["seed"])) for table in tables.values())
    keys = [plt.Line2D([], [], color="#555555", linewidth=2)]
    names = [f"ours: median and 10-90 % of {seeds} seeds"]
    if published:
        keys.append(plt.Line2D([], [], color="#222222", linestyle=(0, (4, 1.5)), linewidth=1.1))
        names.append("the paper: one run")
    fig.legend(keys, names, loc="outside lower center", ncols=2)
    fig.suptitle(found(tables, t), fontsize=10.5)
    return style.save(fig, path)


def found(tables, t: float) -> str:
    """In how many seeds every estimator has found out which side of the coin is better."""
    counts = []
    for name, table in tables.items():
        steps, theta = matrix(table, "theta")
        if theta.shape[1] > 1:
            right = (theta[-1] < 0.5) if t < 0.5 else (theta[-1] > 0.5)
            counts.append(f"{style.label(name)} {right.sum()} of {right.size}")
    when = f"{steps[-1]:,.0f}".replace(",", " ")
    side = "b = 0, θ < .5" if t < 0.5 else "b = 1, θ > .5"
    return f"Seeds on the better side ({side}) after {when} steps: {', '.join(counts)}"


def draw_loss(ax, tables, published, t: float) -> None:
    ends = {}
    for name, table in tables.items():
        steps, loss = matrix(table, "loss")
        median = style.band(
            ax, steps, loss, name, **({"linestyle": ":"} if name == "exact" else {})
        )
        ends[name] = (median[-1], "")
    for name, curve in published.items():
        if name != "exact":  # the paper's used a wrong derivative
            style.paper(ax, curve["x"], curve["y"], name)
    best = min(t**2, (1 - t) ** 2)
    start = (t**2 + (1 - t) ** 2) / 2
    ax.axhline(best, color="#333333", linewidth=0.8)
    ax.annotate("optimum", (0.99, best), xycoords=("axes fraction", "data"), ha="right", va="top")
    ax.set_ylim(best - 0.1 * (start - best), None)
    ax.set_title(f"Expected loss E[(b - {t:g})²]: lower is better")
    style.end_labels(ax, ends)


def draw_variance(ax, tables, published) -> None:
    ends, levels = {}, {}
    for name, table in tables.items():
        if "log_variance" not in table:
            continue
        steps, values = matrix(table, "log_variance")
        if not len(steps):
            continue  # there was no variance to measure
        points = max(1, min(len(steps) // 2, int(WINDOW / (steps[0] or 1))))
        median = style.band(ax, steps[points - 1 :], rolling(values, points), name)
        ends[name] = (median[-1], "")
        levels[name] = np.nanmean(values)
    for name, curve in published.items():
        style.paper(ax, curve["x"], curve["y"], name)
    if {"relax", "reinforce"} <= levels.keys():
        ratio = np.exp(levels["reinforce"] - levels["relax"])
        ax.set_title(f"ln Var[g]: RELAX 1/{round_number(ratio)} of REINFORCE")
    else:
        ax.set_title("ln Var[g]: lower is better")
    style.end_labels(ax, ends)


def round_number(x: float) -> str:
    """11384 -> 11 000"""
    digits = 10 ** max(int(np.floor(np.log10(x))) - 1, 0)
    return f"{round(x / digits) * digits:,}".replace(",", " ")


# ---- what the estimators see of f ----


def relaxation_figure(case: Path, published: dict[str, dict], path: Path) -> Path:
    table = read_table(case / "relaxation.csv")
    t = float(case.name[1:])
    steps = np.unique(table["step"])[[0, -1]].astype(int)
    size = (style.WIDTH, 7.2)
    fig, axes = plt.subplots(3, 2, figsize=size, sharex=True, sharey="row")
    for step, (top, middle, bottom) in zip(steps, axes.T, strict=True):
        top.set_title(f"after {step} steps of training at θ = .5")
        draw_hard(top, t)
        draw_surrogate(middle, table, step, "rebar")
        draw_surrogate(bottom, table, step, "relax")
        bottom.axhline(((1 - t) ** 2 + t**2) / 2, color="black", linewidth=1, linestyle=":")
        bottom.set_xlabel("u, the noise behind z (b = 0 left of .5, b = 1 right of it)")
    for row, label in zip(axes, ("f(H(z))", "REBAR: f(σ(z/λ))", "RELAX: c(z)"), strict=True):
        row[0].set_ylabel(label)
        low, high = row[0].get_ylim()
        row[0].set_ylim(low, high + 0.3 * (high - low))  # room for words
    for ax, name in zip(axes[1:, 0], ("rebar", "relax"), strict=True):
        if curve := published.get("relaxation", {}).get(name):
            style.paper(ax, curve["x"], curve["y"], name, linewidth=1.8, label="the paper")
            ax.legend(loc="lower left")
    words(axes[0, 0], "the truth: a step, and the shaded side is the better one")
    words(axes[1, 0], "lowest between b = 0 and b = 1:\nit leads to neither side")
    words(axes[1, 1], "λ and η are all that can change: still a valley")
    words(axes[2, 0], "no shape of its own yet: the seeds (thin) disagree")
    words(axes[2, 1], "the dotted constant f(1)(1 - θ) + f(0)θ\nleaves no variance at all")
    for ax in axes.flat:
        ax.axvspan(*((0, 0.5) if t < 0.5 else (0.5, 1)), color="#FFF3C4", alpha=0.6, zorder=0)
    return style.save(fig, path)


def words(ax, text: str) -> None:
    ax.text(0.5, 0.97, text, transform=ax.transAxes, ha="center", va="top", fontsize=9.5)


def draw_hard(ax, t: float) -> None:
    """f of the coin, and where it wants the coin to go."""
    zero, one = t**2, (1 - t) ** 2
    ax.plot([0, 0.5, 0.5, 1], [zero, zero, one, one], color="black", linewidth=2)
    ax.margins(y=0.2)
    tip, tail = (0.1, 0.45) if zero < one else (0.9, 0.55)
    middle = (zero + one) / 2
    arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 2}
    ax.annotate("", (tip, middle), (tail, middle), arrowprops=arrow)
    better = 0 if zero < one else 1
    ax.text((tip + tail) / 2, middle, f"f rewards b = {better}\n", ha="center", va="center")


def draw_surrogate(ax, table, step: int, name: str) -> None:
    chosen = (table["step"] == step) & (table["estimator"] == name)
    curves = {c: table["value"][chosen & (table["curve"] == c)] for c in np.unique(table["curve"])}
    u = table["u"][chosen & (table["curve"] == "median")]
    style.shade(ax, u, curves["q10"], curves["q90"], name)
    for curve, values in curves.items():
        if curve.startswith("seed"):
            ax.plot(u, values, color=style.colour(name), linewidth=0.7, alpha=0.6)
    ax.plot(u, curves["median"], color=style.colour(name), linewidth=2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", default="paper")
    parser.add_argument("--t", type=float, help="this case only")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    try:
        main(arguments.preset, arguments.results, arguments.t, arguments.runs)
    except UserError as error:
        sys.exit(f"error: {error}")

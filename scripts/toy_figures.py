"""The toy's figures from its CSV files: python -m scripts.toy_figures paper

For every case of the preset two pictures under results/figures/, toy-<preset>-<case>-curves and
-relaxation, as PNG and PDF.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from experiments.run.errors import check
from scripts import style
from scripts.results import Results, estimators, number, read
from scripts.runs import TOY, ToyRun

WINDOW = 500  # steps that a point of the log-variance is averaged over, as in the paper
OPTIMUM = {"color": "#333333", "linewidth": 0.8}


@style.applied()
def main(preset: str, results: Path, t: float | None = None, runs: Path = Path("runs")) -> None:
    case = "t*" if t is None else f"t{t!r}"
    cases = sorted((results / "toy" / preset).glob(f"{case}/summary.csv"))
    command = f"make reproduce-toy PRESET={preset}" + ("" if t is None else f" T={t!r}")
    check(cases, f"{results / 'toy' / preset / case} holds no results: {command}")
    for summary in cases:
        case = summary.parent
        stem = results / "figures" / f"toy-{preset}-{case.name}"
        pictures = [curves_figure(case, Path(f"{stem}-curves"))]
        if (case / "relaxation.csv").exists():
            pictures.append(relaxation_figure(case, Path(f"{stem}-relaxation")))
        style.upload(runs, "toy", preset, case.name, pictures)
        print(f"{stem}-*.png")


def load(case: Path) -> dict[str, ToyRun]:
    """Every estimator's run, the paper's estimators first."""
    t = float(case.name[1:])
    return {name: ToyRun(read(case / f"{name}.csv"), t) for name in estimators(case, TOY)}


# ---- loss and log-variance ----


def curves_figure(case: Path, path: Path) -> Path:
    runs, paper = load(case), Results()
    t = float(case.name[1:])
    fig, (left, right) = plt.subplots(1, 2, figsize=(style.WIDTH, 4.3))
    loss, variance = (
        paper.paper_series(f"{what} {case.name}") for what in ("loss", "log_variance")
    )
    draw_loss(left, runs, loss, t)
    draw_variance(right, runs, variance)
    for ax in (left, right):
        ax.set_xlabel("step (one sample each)")
        ax.set_xlim(left=0)
        ax.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x else "0")
    seeds = max(run.seeds for run in runs.values())
    entries = [(f"ours: median of {seeds} seeds", style.OURS), ("10-90 % of the seeds", style.BAND)]
    if loss or variance:
        entries.append(style.paper_entry("the paper: one run"))
    style.legend(fig, [*entries, ("the optimum", OPTIMUM)])
    style.finding(fig, counts(runs))
    return style.save(fig, path)


def counts(runs: dict[str, ToyRun]) -> str:
    """How many seeds of every estimator end on the better side of the coin."""
    several = {name: run for name, run in runs.items() if run.seeds > 1}
    texts = [
        f"{style.label(name)} {run.on_better_side.sum()}/{run.seeds}"
        for name, run in several.items()
    ]
    t = next(iter(runs.values())).t
    better = "b = 0" if t < 0.5 else "b = 1"
    return f"Seeds that end on the better side ({better}): {', '.join(texts)}"


def draw_loss(ax, runs: dict[str, ToyRun], paper: dict, t: float) -> None:
    ends = {}
    for name, run in runs.items():
        dotted = {"linestyle": ":"} if name == "exact" else {}
        ends[name] = style.band(ax, run.loss, name, **dotted)
    for name, curve in paper.items():
        if name != "exact":  # the paper's used a wrong derivative
            style.paper(ax, curve["x"], curve["y"], name)
    best = min(t**2, (1 - t) ** 2)
    start = (t**2 + (1 - t) ** 2) / 2
    ax.axhline(best, **OPTIMUM)
    ax.set_ylim(best - 0.1 * (start - best), None)
    ax.set_title(f"Expected loss E[(b - {t:g})²]: lower is better")
    style.end_labels(ax, ends)


def draw_variance(ax, runs: dict[str, ToyRun], paper: dict) -> None:
    measured = {name: run.log_variance for name, run in runs.items() if len(run.log_variance)}
    ends = {name: style.band(ax, rolling(values), name) for name, values in measured.items()}
    for name, curve in paper.items():
        style.paper(ax, curve["x"], curve["y"], name)
    if {"relax", "reinforce"} <= measured.keys():
        levels = {name: np.nanmean(values) for name, values in measured.items()}
        ratio = np.exp(levels["reinforce"] - levels["relax"])
        rounded = number(float(f"{ratio:.2g}"), 0)
        ax.set_title(f"ln Var[g]: RELAX 1/{rounded} of REINFORCE")
    else:
        ax.set_title("ln Var[g]: lower is better")
    style.end_labels(ax, ends)


def rolling(values: pd.DataFrame) -> pd.DataFrame:
    """Means over the last WINDOW steps, from the first step that has as many before it."""
    points = max(1, min(len(values) // 2, int(WINDOW / (values.index[0] or 1))))
    return values.rolling(points, min_periods=1).mean().iloc[points - 1 :]


# ---- what the estimators see of f ----


def relaxation_figure(case: Path, path: Path) -> Path:
    table, paper = read(case / "relaxation.csv"), Results().paper_series(f"relaxation {case.name}")
    t = float(case.name[1:])
    fig, axes = plt.subplots(3, 2, figsize=(style.WIDTH, 7.2), sharex=True, sharey="row")
    steps = (int(table["step"].min()), int(table["step"].max()))
    for step, (top, middle, bottom) in zip(steps, axes.T, strict=True):
        top.set_title(f"after {step} steps of training at θ = .5")
        draw_hard(top, t)
        draw_surrogate(middle, table, step, "rebar")
        draw_surrogate(bottom, table, step, "relax")
        bottom.axhline(constant(t), color="black", linewidth=1, linestyle=":")
        bottom.set_xlabel("u, the noise behind z (b = 0 left of .5, b = 1 right of it)")
    for row, label in zip(axes, ("f(H(z))", "REBAR: f(σ(z/λ))", "RELAX: c(z)"), strict=True):
        row[0].set_ylabel(label)
        low, high = row[0].get_ylim()
        row[0].set_ylim(low, high + 0.3 * (high - low))  # room for words
    for ax, name in zip(axes[1:, 0], ("rebar", "relax"), strict=True):
        if name in paper:
            style.paper(ax, paper[name]["x"], paper[name]["y"], name, linewidth=1.8)
    explain(axes)
    entries = [("median", style.OURS), ("10-90 % of the seeds", style.BAND)]
    entries += [("single seeds", {**style.OURS, "linewidth": 0.7})]
    style.legend(fig, [*entries, style.paper_entry("the paper: one run")] if paper else entries)
    style.finding(fig, distances(table, t))
    for ax in axes.flat:
        ax.axvspan(*((0, 0.5) if t < 0.5 else (0.5, 1)), color="#FFF3C4", alpha=0.6, zorder=0)
    return style.save(fig, path)


def constant(t: float) -> float:
    """f(1)(1 - theta) + f(0) theta at theta = .5, the surrogate that leaves no variance."""
    return ((1 - t) ** 2 + t**2) / 2


def distances(table: pd.DataFrame, t: float) -> str:
    """How far the surrogates are in the end from the constant that leaves no variance."""
    late = table[(table["step"] == table["step"].max()) & (table["curve"] == "median")]
    away = (late["value"] - constant(t)).abs().groupby(late["estimator"]).max()
    return (
        f"RELAX's c comes within {away['relax']:.2g} of the optimal constant, "
        f"REBAR's within {away['rebar']:.2g}"
    )


def explain(axes) -> None:
    """A sentence at the top of a panel about what it shows."""
    words(axes[0, 0], "f is a step; the shaded side is the better one")
    words(axes[1, 0], "lowest between b = 0 and b = 1:\nit leads to neither side")
    words(axes[1, 1], "only λ and η can change: still a valley")
    words(axes[2, 0], "no common shape yet: the seeds disagree")
    words(axes[2, 1], "the dotted constant f(1)(1 - θ) + f(0)θ\nleaves no variance at all")


def words(ax, text: str) -> None:
    ax.text(0.5, 0.97, text, transform=ax.transAxes, ha="center", va="top", fontsize=9.5)


def draw_hard(ax, t: float) -> None:
    """f of the coin, and an arrow towards the lower side."""
    zero, one = t**2, (1 - t) ** 2
    ax.plot([0, 0.5, 0.5, 1], [zero, zero, one, one], color="black", linewidth=2)
    ax.margins(y=0.2)
    tip, tail = (0.1, 0.45) if zero < one else (0.9, 0.55)
    middle = (zero + one) / 2
    arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 2}
    ax.annotate("", (tip, middle), (tail, middle), arrowprops=arrow)
    better = 0 if zero < one else 1
    above = middle + 0.06 * abs(one - zero)
    ax.text((tip + tail) / 2, above, f"f rewards b = {better}", ha="center", va="bottom")


def draw_surrogate(ax, table: pd.DataFrame, step: int, name: str) -> None:
    """A surrogate over u: its median between its quantiles, and single seeds as thin lines."""
    chosen = table[(table["step"] == step) & (table["estimator"] == name)]
    curves = chosen.pivot(index="u", columns="curve", values="value")
    style.shade(ax, curves.index, curves["q10"], curves["q90"], name)
    for curve in curves:
        if curve.startswith("seed"):
            ax.plot(curves[curve], color=style.colour(name), linewidth=0.7, alpha=0.6)
    ax.plot(curves["median"], color=style.colour(name), linewidth=2)


if __name__ == "__main__":
    style.command(main, __doc__, preset="paper", t=float)

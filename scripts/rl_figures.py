"""The policy-gradient figures from CSV files: python -m scripts.rl_figures paper

For every environment of the preset a picture results/figures/rl-<preset>-<env>, as PNG and PDF: the
return and the log-variance, with the paper's curves over ours.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from experiments.rl.results import restricted
from experiments.run.errors import check
from scripts import style
from scripts.report.rl import LENGTHS
from scripts.results import Results, config, estimators, read
from scripts.runs import POLICIES


@style.applied()
def main(preset: str, results: Path, runs: Path = Path("runs")) -> None:
    root = results / "rl" / preset
    cases = [env for env in LENGTHS if any((root / env).glob("*-solved.csv"))]
    check(cases, f"{root} holds no results: make reproduce-rl PRESET={preset}")
    for case in cases:
        path = results / "figures" / f"rl-{preset}-{case}"
        style.upload(runs, "rl", preset, case, [figure(root, case, path)])
        print(f"{path}.png")


def load(case: Path, suffix: str = "") -> dict[str, pd.DataFrame]:
    """The files <estimator><suffix>.csv, the paper's estimators first."""
    return {name: read(case / f"{name}{suffix}.csv") for name in estimators(case, POLICIES, suffix)}


def papers(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The runs of the paper's estimators, those with a tag included."""
    return {name: table for name, table in tables.items() if style.base(name) in POLICIES}


# ---- figures ----


def figure(root: Path, case: str, path: Path) -> Path:
    paper = Results()
    measured = load(root / f"{case}-variance")
    tables = papers(load(root / case))
    fig, axes = plt.subplot_mosaic(
        "AA;BC" if measured else "A", figsize=(style.WIDTH, 7.8 if measured else 4.6)
    )
    style.finding(fig, f"{style.TITLES[case]}, {solve_times(root / case)}")
    draw_return(axes["A"], tables, paper.paper_series(f"return {case}"), case)
    if measured:
        draw_training(axes["B"], measured, paper.paper_series(f"log_variance {case}"))
        draw_one_policy(axes["C"], measured)
    seeds = max(table["seed"].nunique() for table in tables.values())
    variance = " (variance: 1 seed)" if measured else ""
    entries = [(f"ours: mean of {seeds} seeds{variance}", style.OURS)]
    entries += [("quartiles", style.BAND), style.paper_entry("the paper: mean of 5 seeds")]
    if any("-" in name for name in tables):
        entries.append(("other settings", {**style.OURS, "linestyle": style.line("relax-tag")}))
    style.legend(fig, entries)
    return style.save(fig, path)


def solve_times(case: Path) -> str:
    """The mean steps until solved; a seed that does not solve it counts with all its steps."""
    texts = []
    for name, table in load(case, "-solved").items():
        if name not in POLICIES:
            continue
        done, seeds = int((table["solved_frames"] >= 0).sum()), len(table)
        steps = thousands(float(f"{restricted(table).mean():.3g}")) if done else "not"
        missed = "" if done == seeds else f" ({done} of {seeds} seeds)"
        texts.append(f"{style.label(name)} {steps}{missed}")
    return f"mean steps until solved: {', '.join(texts)}"


def by_frames(table: pd.DataFrame, points: int = 100) -> pd.DataFrame:
    """Returns on a common grid of frames, up to those that every seed reached; a column a seed."""
    end = table.groupby("seed")["frames"].max().min()
    grid = np.linspace(0, end, points + 1)[1:]
    measured = table.dropna(subset="return").groupby("seed")
    curves = {seed: np.interp(grid, one["frames"], one["return"]) for seed, one in measured}
    return pd.DataFrame(curves, index=grid)


def draw_return(ax, tables: dict[str, pd.DataFrame], paper: dict, case: str) -> None:
    goal = config(f"env/{case}")["solved"]
    returns = {name: by_frames(table) for name, table in tables.items()}
    for name, values in returns.items():
        if name in POLICIES:  # the mean is enough for a run with a tag
            low, high = np.quantile(values, [0.25, 0.75], axis=1)
            style.shade(ax, values.index, low, high, name)
        mean = values.mean(axis=1)
        ax.plot(mean, linewidth=2, color=style.colour(name), linestyle=style.line(name))
    for name, curve in paper.items():
        style.paper(ax, curve["x"], curve["y"], name)
    ax.axhline(goal, color="#333333", linewidth=0.8)
    ax.set_xlabel("steps in the environment")
    ax.set_ylabel("sum of rewards")
    ax.set_title(
        f"return of an episode (solved: the last 100 average more than {goal:g}, the line)"
    )
    ax.set_xlim(0, max(values.index[-1] for values in returns.values()))
    ax.xaxis.set_major_formatter(thousands)
    style.end_labels(ax, {name: values[-5:].to_numpy().mean() for name, values in returns.items()})


def draw_training(ax, measured: dict[str, pd.DataFrame], paper: dict) -> None:
    """Each estimator's log-variance along its own training, as the paper shows it."""
    lines = {name: log_variance(table, style.base(name)) for name, table in measured.items()}
    for name, values in lines.items():
        ax.plot(values, linewidth=2, color=style.colour(name), linestyle=style.line(name))
    for name, curve in paper.items():
        style.paper(ax, curve["x"], curve["y"], name)
    finish_variance(ax, "ln Var[gradient], each in its own training", lines)


def draw_one_policy(ax, measured: dict[str, pd.DataFrame]) -> None:
    """Every estimator at the policies of one training, on the same episodes."""
    trained = next(name for name in ("a2c", *measured) if name in measured)
    table = measured[trained]
    names = [key.removeprefix("logvar_") for key in table if key.startswith("logvar_")]
    lines = {name: log_variance(table, name) for name in names}
    for name, values in lines.items():
        ax.plot(values, color=style.colour(name), linewidth=1.6)
    finish_variance(ax, f"ln Var[gradient], all at {style.label(trained)}'s policies", lines)


def log_variance(table: pd.DataFrame, name: str) -> pd.Series:
    return table.set_index("episodes")[f"logvar_{name}"]


def finish_variance(ax, title: str, lines: dict[str, pd.Series]) -> None:
    ax.set_xlabel("training episode")
    ax.set_title(title)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter(thousands)
    style.end_labels(ax, {name: values.iloc[-3:].mean() for name, values in lines.items()})


def thousands(x: float, _=None) -> str:
    if x >= 1_000_000:
        return f"{x / 1_000_000:g}M"
    return f"{x / 1000:g}k" if x >= 1000 else f"{x:g}"


if __name__ == "__main__":
    style.command(main, __doc__, preset="paper")

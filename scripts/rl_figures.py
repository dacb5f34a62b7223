"""The policy-gradient figures from CSV files: python -m scripts.rl_figures paper

For every environment of the preset a picture results/figures/rl-<preset>-<env>, as PNG and PDF: the
return and the log-variance, with the paper's curves over ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats

from experiments.rl.results import restricted
from experiments.run.errors import check
from scripts import style
from scripts.intervals import Interval, log_rank, mean, ratio, solved_by
from scripts.report import rl_tables
from scripts.report.rl import LENGTHS, p_value, times
from scripts.results import Results, config, estimators, plural, read
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
    measured, tables = load(root / f"{case}-variance"), papers(load(root / case))
    shares = root / f"{case}-terms" / "a2c.csv"
    rows = ["AA", "DE", *(["BC"] if measured else []), *(["FF"] if shares.exists() else [])]
    fig, axes = plt.subplot_mosaic(";".join(rows), figsize=(style.WIDTH, 1.0 + 3.3 * len(rows)))
    solved = {name: t for name, t in load(root / case, "-solved").items() if name in POLICIES}
    style.finding(fig, f"{style.TITLES[case]}, {solve_times(solved)}")
    draw_return(axes["A"], tables, paper.paper_series(f"return {case}"), case)
    draw_solved(axes["D"], solved)
    draw_ratio(axes["E"], solved)
    if measured:
        draw_training(axes["B"], measured, paper.paper_series(f"log_variance {case}"))
        draw_one_policy(axes["C"], measured)
    if shares.exists():
        draw_terms(axes["F"], rl_tables.term_shares(read(shares)))
    seeds = max(table["seed"].nunique() for table in tables.values())
    variance = f" (variance: mean of {seeds_of(measured)})" if measured else ""
    entries = [(f"ours: interquartile mean of {seeds} seeds{variance}", style.OURS)]
    entries += [("95 % interval over seeds", style.BAND)]
    entries += [style.paper_entry("the paper: mean of 5 seeds")]
    if any("-" in name for name in tables):
        entries.append(("other settings", {**style.OURS, "linestyle": style.line("relax-tag")}))
    style.legend(fig, entries)
    return style.save(fig, path)


def seeds_of(tables: dict[str, pd.DataFrame]) -> str:
    """The fewest seeds of any: 5, or 1 seed."""
    return plural(min(table["seed"].nunique() for table in tables.values()), "seed")


def draw_solved(ax, solved: dict[str, pd.DataFrame]) -> None:
    """The share of seeds that have solved the task by a number of steps."""
    ends = {}
    for name, table in solved.items():
        steps, shares = solved_by(times(table))
        end = table["frames"].min()
        x, y = np.r_[0, steps[steps < end], end], np.r_[0, shares[steps < end]]
        y = np.r_[y, y[-1]]
        ax.step(x, y, where="post", linewidth=2, color=style.colour(name))
        ends[name] = y[-1]
    ax.set(title="share of seeds that have solved the task", xlabel="steps in the environment")
    ax.set_ylim(0, 1.1)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter(thousands)
    style.end_labels(ax, ends)


def draw_ratio(ax, solved: dict[str, pd.DataFrame]) -> None:
    """A2C's mean steps until solved over each method's, against the length of the run."""
    for name in (name for name in rl_tables.METHODS if name in solved and "a2c" in solved):
        end = min(solved[key]["frames"].min() for key in ("a2c", name))
        lengths = np.linspace(0.1, 1, 19) * end
        both = [restricted(solved[key]) for key in ("a2c", name)]
        found = [
            ratio(*(steps.clip(max=length) for steps in both), draws=1000) for length in lengths
        ]
        style.shade(ax, lengths, [r.low for r in found], [r.high for r in found], name)
        ax.plot(lengths, [r.value for r in found], linewidth=2, color=style.colour(name))
    ax.axhline(1, color="#333333", linewidth=0.8)
    ax.set(title="A2C's mean steps until solved over the method's", xlabel="length of the run")
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter(thousands)


def draw_terms(ax, shares: list[dict[str, Interval]]) -> None:
    """Where A2C's variance comes from, and what the method gains, at three policies."""
    names = list(shares[0])
    for index, point in enumerate(shares):
        x = np.arange(len(names)) + 0.25 * (index - 1)
        value = [point[name].value for name in names]
        reach = [point[name].high - point[name].value for name in names]
        grey = str(0.75 - 0.25 * index)
        ax.bar(x, value, 0.23, yerr=reach, color=grey, label=rl_tables.POINTS[index])
    ax.set_xticks(np.arange(len(names)), names)
    ax.axhline(0, color="#333333", linewidth=0.8)
    ax.set_ylabel("% of the variance")
    ax.set_title("Variance of A2C's gradient at one step: its terms, and what the method removes")
    ax.set_ylim(min(-10, max(-100, ax.get_ylim()[0])), 120)
    ax.legend(loc="upper right", ncols=3)


def solve_times(solved: dict[str, pd.DataFrame]) -> str:
    """The mean steps until solved, where a seed that does not solve the task counts with all its
    steps, and what the log-rank test says of A2C and the method."""
    texts = []
    for name, table in solved.items():
        done, seeds = int((table["solved_frames"] >= 0).sum()), len(table)
        steps = thousands(float(f"{restricted(table).mean():.3g}")) if done else "not"
        missed = "" if done == seeds else f" ({done} of {seeds} seeds)"
        texts.append(f"{style.label(name)} {steps}{missed}")
    text = f"mean steps until solved: {', '.join(texts)}"
    for name in (name for name in rl_tables.METHODS if name in solved and "a2c" in solved):
        p = log_rank(times(solved["a2c"]), times(solved[name]))
        text += f"\nA2C and {style.label(name)}: log-rank test, p {p_value(p)}"
    return text


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
    end = max(values.index[-1] for name, values in returns.items() if name in POLICIES)
    returns = {name: values[values.index <= end] for name, values in returns.items()}
    for name, values in returns.items():
        if name in POLICIES:  # the mean is enough for a run with a tag
            style.shade(ax, values.index, *interquartile_interval(values.to_numpy()), name)
        middle = stats.trim_mean(values, 0.25, axis=1)
        look = {"color": style.colour(name), "linestyle": style.line(name)}
        ax.plot(values.index, middle, linewidth=2, **look)
    for name, curve in paper.items():
        style.paper(ax, curve["x"], curve["y"], name)
    ax.axhline(goal, color="#333333", linewidth=0.8)
    ax.set_xlabel("steps in the environment")
    ax.set_ylabel("sum of rewards")
    ax.set_title(
        f"return of an episode (solved: the last 100 average more than {goal:g}, the line)"
    )
    ax.set_xlim(0, end)
    ax.xaxis.set_major_formatter(thousands)
    style.end_labels(ax, {name: values[-5:].to_numpy().mean() for name, values in returns.items()})


def interquartile_interval(values: np.ndarray, draws: int = 1000) -> np.ndarray:
    """The 95 % interval of the interquartile mean over seeds by the bootstrap; values [N, seeds].

    Source: Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical
    precipice".
    """
    rng, seeds = np.random.default_rng(0), values.shape[1]
    chosen = rng.integers(seeds, size=(draws, seeds))
    means = stats.trim_mean(values[:, chosen], 0.25, axis=2)
    return np.quantile(means, [0.025, 0.975], axis=1)


def draw_training(ax, measured: dict[str, pd.DataFrame], paper: dict) -> None:
    """Each estimator's log-variance along its own training, as the paper shows it."""
    lines = {name: log_variance(table, style.base(name)) for name, table in measured.items()}
    for name, line in lines.items():
        if line.seeds > 1:
            style.shade(ax, line.episodes, line.low, line.high, name)
        look = {"color": style.colour(name), "linestyle": style.line(name)}
        ax.plot(line.episodes, line.mean, linewidth=2, **look)
    for name, curve in paper.items():
        style.paper(ax, curve["x"], curve["y"], name)
    finish_variance(ax, "ln Var[gradient], each in its own training", lines)


def draw_one_policy(ax, measured: dict[str, pd.DataFrame]) -> None:
    """Every estimator at the policies of one training, on the same episodes."""
    trained = next(name for name in ("a2c", *measured) if name in measured)
    table = measured[trained]
    names = [key.removeprefix("logvar_") for key in table if key.startswith("logvar_")]
    lines = {name: log_variance(table, name) for name in names}
    for name, line in lines.items():
        ax.plot(line.episodes, line.mean, color=style.colour(name), linewidth=1.6)
    finish_variance(ax, f"ln Var[gradient], all at {style.label(trained)}'s policies", lines)


class Line(NamedTuple):
    """A log-variance at every measurement, with its 95 % interval over seeds."""

    episodes: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


def log_variance(table: pd.DataFrame, name: str) -> Line:
    """The mean over the seeds; their episodes are averaged as well."""
    measurement = table.groupby("seed").cumcount()
    points = [point for _, point in table.groupby(measurement)]
    episodes = np.array([point["episodes"].mean() for point in points])
    found = [mean(point[f"logvar_{name}"].to_numpy()) for point in points]
    value, low, high = (np.array([getattr(f, key) for f in found]) for key in Interval._fields[:3])
    return Line(episodes, value, low, high, table["seed"].nunique())


def finish_variance(ax, title: str, lines: dict[str, Line]) -> None:
    ax.set_xlabel("training episode")
    ax.set_title(title)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter(thousands)
    style.end_labels(ax, {name: line.mean[-3:].mean() for name, line in lines.items()})


def thousands(x: float, _=None) -> str:
    if x >= 1_000_000:
        return f"{x / 1_000_000:g}M"
    return f"{x / 1000:g}k" if x >= 1000 else f"{x:g}"


if __name__ == "__main__":
    style.command(main, __doc__, preset="paper")

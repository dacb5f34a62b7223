"""The policy-gradient figures from CSV files: python -m scripts.rl_figures paper

Per environment of the preset a picture results/figures/rl-<preset>-<env>, PNG and PDF: the return
and the log-variance, the paper's curves over ours. And results/rl/<preset>/solve.csv: frames to
solve for each arm beside the baseline's, with the interval of the ratio, and the paper's ratio.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from experiments.rl.results import ratio, restricted
from experiments.run.errors import UserError, check
from experiments.run.files import read_table, write_table
from scripts import style
from scripts.media import shown

ORDER = ("reinforce", "a2c", "relax", "lax")
GOALS = {
    "cartpole": ("CartPole", 195),
    "lunarlander": ("LunarLander", 200),
    "pendulum": ("InvertedPendulum", 950),
}
COLUMNS = (
    "case,estimator,seeds,frames,solved,solved_frames,solved_frames_se,ratio,ratio_low,ratio_high,"
    "solved_episodes,paper_episodes,paper_ratio"
)


@style.applied()
def main(preset: str, results: Path, runs: Path = Path("runs")) -> None:
    root = results / "rl" / preset
    cases = [name for name in GOALS if any((root / name).glob("*-solved.csv"))]
    check(cases, f"{root} holds no results: make reproduce-rl PRESET={preset}")
    published = json.loads((Path(__file__).parents[1] / "results/paper/rl.json").read_text())
    for case in cases:
        path = results / "figures" / f"rl-{preset}-{case}"
        with shown(runs, "rl", preset, case) as show:
            show(figure(root, case, published, path))
        print(f"{path}.png")
    rows = [row for case in cases for row in solve_rows(root / case, case, published["table"])]
    write_table(root / "solve.csv", COLUMNS.split(","), rows)
    print(f"{root / 'solve.csv'}")


def load(case: Path, suffix: str = "") -> dict[str, dict[str, np.ndarray]]:
    """arm -> its columns, the usual ones first; `suffix` picks the files."""
    files = {file.stem.removesuffix(suffix): file for file in case.glob(f"*{suffix}.csv")}
    files = {name: file for name, file in files.items() if not name.endswith("-solved")}
    names = [*(n for n in ORDER if n in files), *sorted(files.keys() - {*ORDER, "summary"})]
    return {name: read_table(files[name]) for name in names}


# ---- figures ----


def figure(root: Path, case: str, published: dict, path: Path) -> Path:
    measured = load(root / f"{case}-variance")
    arms = {name: table for name, table in load(root / case).items() if base(name) in ORDER}
    fig, axes = plt.subplot_mosaic(
        "AA;BC" if measured else "A", figsize=(style.WIDTH, 7.8 if measured else 4.6)
    )
    fig.suptitle(found(root / case), fontsize=10.5)
    draw_return(axes["A"], arms, published[f"return {case}"]["series"], case)
    if measured:
        draw_training(axes["B"], measured, published[f"log_variance {case}"]["series"])
        draw_one_policy(axes["C"], measured)
    seeds = max(len(np.unique(table["seed"])) for table in arms.values())
    keys = [plt.Line2D([], [], color="#555555", linewidth=2)]
    keys.append(plt.Line2D([], [], color="#222222", linestyle=(0, (4, 1.5)), linewidth=1.1))
    alone = " (variance: 1 seed)" if measured else ""
    names = [f"ours: mean and quartiles of {seeds} seeds{alone}"]
    names.append("the paper: mean of 5 seeds")
    fig.legend(keys, names, loc="outside lower center", ncols=len(keys))
    return style.save(fig, path)


def base(name: str) -> str:
    """The estimator of a run: relax of relax-lr3e-3."""
    return name.partition("-")[0]


def found(case: Path) -> str:
    """How soon every arm solves it, on average; a seed that does not counts with all it had."""
    told = []
    for name, table in load(case, "-solved").items():
        if base(name) not in ORDER:
            continue
        done, seeds = int((table["solved_frames"] >= 0).sum()), len(table["seed"])
        steps = rounded(restricted(table).mean()) if done else "not"
        missed = "" if done == seeds else f" ({done} of {seeds} solve it)"
        told.append(f"{style.label(name)} {steps}{missed}")
    return f"Steps until solved, mean of seeds: {', '.join(told)}"


def by_frames(table: dict[str, np.ndarray], points: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """(frames [points], return [points, seeds]) on a common grid up to what every seed reached."""
    seeds = np.unique(table["seed"])
    per_seed = [table["seed"] == seed for seed in seeds]
    grid = np.linspace(0, min(table["frames"][here].max() for here in per_seed), points + 1)[1:]
    curves = []
    for here in per_seed:
        there = here & ~np.isnan(table["return"])
        curves.append(np.interp(grid, table["frames"][there], table["return"][there]))
    return grid, np.stack(curves, 1)


def draw_return(ax, arms, published, case: str) -> None:
    title, goal = GOALS[case]
    ends = {}
    for name, table in arms.items():
        frames, values = by_frames(table)
        if name in ORDER:  # of a tagged run the mean is enough
            style.shade(ax, frames, *np.quantile(values, [0.25, 0.75], axis=1), name)
        line = {"color": style.colour(name), "linestyle": style.line(name)}
        ax.plot(frames, values.mean(1), linewidth=2, **line)
        ends[name] = (values[-5:].mean(), "")
    for name, curve in published.items():
        style.paper(ax, curve["x"], curve["y"], name)
    ax.axhline(goal, color="#333333", linewidth=0.8)
    ax.set_xlabel("steps in the environment")
    ax.set_ylabel("sum of rewards")
    ax.set_title(f"{title}: return of an episode (line: solved, when 100 in a row average {goal})")
    ax.set_xlim(0, max(by_frames(table)[0][-1] for table in arms.values()))
    ax.xaxis.set_major_formatter(thousands)
    style.end_labels(ax, ends)


def draw_training(ax, measured, published) -> None:
    """Each arm's log-variance along its own training, as the paper shows it."""
    ends = {}
    for name, table in measured.items():
        values = table[f"logvar_{base(name)}"]
        line = {"color": style.colour(name), "linestyle": style.line(name)}
        ax.plot(table["episodes"], values, linewidth=2, **line)
        ends[name] = (values[-3:].mean(), "")
    for name, curve in published.items():
        style.paper(ax, curve["x"], curve["y"], name)
    finish_variance(ax, "ln Var[gradient], each in its own training", ends)


def draw_one_policy(ax, measured) -> None:
    """Every estimator at the policies of one arm's training, on the same episodes."""
    ends, of = {}, next(name for name in ("a2c", *measured) if name in measured)
    table = measured[of]
    for name in (key.removeprefix("logvar_") for key in table if key.startswith("logvar_")):
        values = table[f"logvar_{name}"]
        ax.plot(table["episodes"], values, color=style.colour(name), linewidth=1.6)
        ends[name] = (values[-3:].mean(), "")
    finish_variance(ax, f"ln Var[gradient], all at {style.label(of)}'s policies", ends)


def finish_variance(ax, title: str, ends: dict) -> None:
    ax.set_xlabel("training episode")
    ax.set_title(title)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter(thousands)
    style.end_labels(ax, ends)


def rounded(x: float) -> str:
    """Three digits: 71356 -> 71.4k"""
    return thousands(float(f"{x:.3g}"))


def thousands(x: float, _=None) -> str:
    if x >= 1_000_000:
        return f"{x / 1_000_000:g}M"
    return f"{x / 1000:g}k" if x >= 1000 else f"{x:g}"


# ---- the table ----


def solve_rows(case: Path, name: str, published: dict) -> list[list]:
    """Each arm's frames to solve, and the baseline's divided by them."""
    arms = {arm: table for arm, table in load(case, "-solved").items()}
    times = {arm: restricted(table) for arm, table in arms.items()}
    theirs = {arm: mean for arm, (mean, _) in published[name].items()}
    rows = []
    for arm, table in arms.items():
        when, done = times[arm], table["solved_frames"] >= 0
        error = when.std(ddof=1) / len(when) ** 0.5 if len(when) > 1 else np.nan
        counts = [len(when), int(table["frames"][0]), int(done.sum())]
        row = [name, arm, *counts, f"{when.mean():.0f}", f"{error:.0f}"]
        compared = "a2c" in times and arm != "a2c"
        row += [f"{x:.2f}" for x in ratio(times["a2c"], when)] if compared else [None] * 3
        row.append(f"{table['solved_episodes'].mean():.0f}" if done.all() else None)
        paper = f"{theirs['a2c'] / theirs[arm]:.2f}" if arm in theirs and arm != "a2c" else None
        rows.append([*row, theirs.get(arm), paper])
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", default="paper")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    try:
        main(arguments.preset, arguments.results, arguments.runs)
    except UserError as error:
        sys.exit(f"error: {error}")

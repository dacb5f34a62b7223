"""The claims about policies: how soon A2C, RELAX and LAX solve a task, and how noisily."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.rl.results import restricted
from experiments.run.statistics import standard_error
from scripts.intervals import Interval, ratio
from scripts.report.claims import Cell, Claim
from scripts.results import Results, average, config, number, plural
from scripts.runs import POLICIES, solved
from scripts.style import TITLES, label

LENGTHS = config("preset/rl/paper")["lengths"]  # environment -> steps
METHOD = {"cartpole": "relax", "lunarlander": "relax", "pendulum": "lax"}  # the paper's


def usual(env: str) -> list[str]:
    """The estimators that have rates for an environment."""
    return [name for name in POLICIES if name in config(f"env/{env}")["rates"]]


def pair_of(env: str) -> tuple[str, str]:
    return "a2c", METHOD[env]


def solve_row(
    results: Results, preset: str, env: str, name: str, table: pd.DataFrame, paper: dict
) -> dict:
    """An estimator's steps until solved, and the baseline's divided by them.

    Args:
        table: when each seed solved it.
        paper: estimator -> mean and error of the paper's times for this environment.
    """
    times, done = restricted(table), table["solved_frames"] >= 0
    baseline = results.table(f"rl/{preset}/{env}/a2c-solved.csv")
    compared = baseline is not None and name != "a2c"
    published = name in paper and name != "a2c"
    return {
        "case": env,
        "estimator": name,
        "seeds": len(table),
        "frames": int(table["frames"].min()),
        "solved": int(done.sum()),
        "solved_frames": float(np.mean(times)),
        "solved_frames_se": standard_error(times),
        "ratio": ratio(restricted(baseline), times) if compared else None,
        "solved_episodes": table["solved_episodes"] if done.all() else None,
        "paper_episodes": paper.get(name),
        "paper_ratio": paper["a2c"][0] / paper[name][0] if published else None,
    }


# ---- claims ----


def claims(results: Results) -> list[Claim]:
    text = (
        "A2C's steps until solved over the method's, means over seeds; a seed that does not solve "
        "it counts with all its steps. The paper's are its table's."
    )
    variance = (
        "A2C's log-variance minus the method's, each along its own training, mean over the "
        "measurements. One run each, as in the paper, which has none at the same policies."
    )
    return [
        Claim(
            "LAX and RELAX need less than half of A2C's steps to solve a task",
            text,
            [faster(results, env, 2.0) for env in LENGTHS],
        ),
        Claim(
            "LAX and RELAX need fewer steps than A2C",
            text,
            [faster(results, env, 1.0) for env in LENGTHS],
        ),
        Claim(
            "LAX's and RELAX's policy gradients have the lower variance",
            variance,
            [lower_variance(results, env) for env in LENGTHS]
            + [lower_at_same_policies(results, env) for env in LENGTHS],
        ),
    ]


def faster(results: Results, env: str, above: float) -> Cell:
    tables = [solved(results, "paper", env, name) for name in pair_of(env)]
    paper = results.paper["table"][env]
    theirs = number(paper["a2c"][0] / paper[METHOD[env]][0], 2)
    if any(table is None for table in tables):
        return Cell(TITLES[env], theirs, None, above, full=False)
    ours = ratio(*(restricted(table) for table in tables))
    unsolved = sum(int((table["solved_frames"] < 0).sum()) for table in tables)
    steps = min(table["frames"].min() for table in tables)
    notes = [f"{plural(unsolved, 'seed')} not solved"] if unsolved else []
    notes += [f"{number(steps, 0)} steps each"] if steps < LENGTHS[env] else []
    full = steps >= LENGTHS[env]
    return Cell(TITLES[env], theirs, ours, above, full=full, note=", ".join(notes))


def variance_table(results: Results, env: str, name: str) -> pd.DataFrame | None:
    """The log-variances along an estimator's own training."""
    table = results.table(f"rl/paper/{env}-variance/{name}.csv")
    return table if table is not None and f"logvar_{name}" in table else None


def lower_variance(results: Results, env: str) -> Cell:
    """Each along its own training, over the episodes that both runs were measured at."""
    series = results.paper_series(f"log_variance {env}")
    names, levels = pair_of(env), []
    start = max(series[name]["x"][0] for name in names)
    theirs = average(series["a2c"], start) - average(series[METHOD[env]], start)
    for name in names:
        table = variance_table(results, env, name)
        if table is not None:
            levels.append(table[f"logvar_{name}"].iloc[1:].mean())  # without the start
    ours = Interval(float(levels[0] - levels[1])) if len(levels) == 2 else None
    return Cell(TITLES[env], number(theirs, 1), ours, above=0.0, digits=1)


def lower_at_same_policies(results: Results, env: str) -> Cell:
    """Both estimators at the same policies, those of A2C's training and of the method's."""
    columns = [f"logvar_{name}" for name in pair_of(env)]
    gaps = []
    for name in pair_of(env):
        table = results.table(f"rl/paper/{env}-variance/{name}.csv")
        if table is not None and set(columns) <= set(table):
            gaps.append((table[columns[0]] - table[columns[1]]).iloc[1:].mean())
    ours = Interval(float(np.mean(gaps))) if len(gaps) == 2 else None
    return Cell(f"{TITLES[env]} at the same policies", "none", ours, above=0.0, digits=1)


def headline(results: Results) -> list[tuple[str, str, str]]:
    """Rows of the front page's table: what, the paper's number, ours."""
    rows = []
    for env in LENGTHS:
        cell = faster(results, env, 2.0)
        what = f"{TITLES[env]}: A2C's steps until solved over {label(METHOD[env])}'s"
        rows.append((what, cell.paper, cell.text))
    return rows

"""The claims about policies: how soon A2C, RELAX and LAX solve a task, and how noisily."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import CensoredData

from experiments.rl.results import restricted
from scripts.intervals import censored, log_rank, mean, ratio
from scripts.report.claims import Cell, Claim
from scripts.results import Results, average, config, number, plural
from scripts.runs import solved
from scripts.style import TITLES, label

LENGTHS = config("preset/rl/paper")["lengths"]  # environment -> steps
METHOD = {"cartpole": "relax", "lunarlander": "relax", "pendulum": "lax"}  # the paper's


def pair_of(env: str) -> tuple[str, str]:
    return "a2c", METHOD[env]


def claims(results: Results) -> list[Claim]:
    ratio_of_means = (
        "A2C's mean steps until solved over the method's, up to the run's length: a seed that does "
        "not solve the task counts with all its steps, so the ratio depends on that length (see "
        "the figures). The paper's ratio is that of the episodes in its table."
    )
    variance = (
        "A2C's log-variance minus the method's, averaged over all measurements but the first, "
        "which is that of the untrained policy; the interval is over seeds."
    )
    return [
        Claim(
            "LAX and RELAX need less than half of A2C's steps to solve a task",
            f"{ratio_of_means} The bootstrap's interval of this ratio decides.",
            [faster(results, env, 2.0) for env in LENGTHS],
        ),
        Claim(
            "LAX and RELAX need fewer steps than A2C",
            f"{ratio_of_means} The log-rank test decides at p < .05.",
            [sooner(results, env) for env in LENGTHS],
        ),
        Claim(
            "LAX's and RELAX's policy gradients have the lower variance during training",
            f"{variance} Each along its own training, as in the paper. A collapsed policy (nearly "
            "deterministic, the task not solved) has a log-variance below -10, so that a single "
            "one dominates the mean.",
            [lower_variance(results, env) for env in LENGTHS],
        ),
        Claim(
            "They have the lower variance at the same policies (our stricter version)",
            f"{variance} Both at the policies of one training.",
            [cell for env in LENGTHS for cell in lower_at_same_policies(results, env)],
        ),
    ]


def faster(results: Results, env: str, above: float) -> Cell:
    tables = [solved(results, "paper", env, name) for name in pair_of(env)]
    paper = results.paper["table"][env]
    theirs = number(paper["a2c"][0] / paper[METHOD[env]][0], 2)
    if any(table is None for table in tables):
        return Cell(TITLES[env], theirs, None, above, full=False)
    ours = ratio(*at_one_length(*tables))
    unsolved = sum(int((table["solved_frames"] < 0).sum()) for table in tables)
    steps = min(table["frames"].min() for table in tables)
    notes = [f"{plural(unsolved, 'seed')} not solved"] if unsolved else []
    notes += [f"{number(steps, 0)} steps each"] if steps < LENGTHS[env] else []
    full = steps >= LENGTHS[env] or not unsolved  # a longer run has the same times
    return Cell(TITLES[env], theirs, ours, above, full=full, note=", ".join(notes))


def sooner(results: Results, env: str) -> Cell:
    """The same ratio; whether the times differ is decided by the log-rank test."""
    cell = faster(results, env, 1.0)
    if cell.ours is None:
        return cell
    tables = [solved(results, "paper", env, name) for name in pair_of(env)]
    p = log_rank(*(times(table) for table in tables))
    note = ", ".join([f"log-rank p {p_value(p)}", *([cell.note] if cell.note else [])])
    return replace(cell, differs=p < 0.05, note=note)


def at_one_length(*tables: pd.DataFrame) -> list[np.ndarray]:
    """The steps until solved of each run's seeds, up to the length of the shortest run."""
    end = min(table["frames"].min() for table in tables)
    return [restricted(table).clip(max=end) for table in tables]


def times(table: pd.DataFrame) -> CensoredData:
    """The steps until solved of a run's seeds."""
    return censored(restricted(table), table["solved_frames"] >= 0)


def p_value(p: float) -> str:
    return "< .001" if p < 0.001 else f"= {number(p, 3)}"


def measured(results: Results, env: str, name: str) -> pd.DataFrame:
    """The log-variances of all estimators along one's training, averaged over the measurements
    after the start: a column per estimator, a row per seed.

    Empty where they were not measured.
    """
    table = results.table(f"rl/paper/{env}-variance/{name}.csv")
    if table is None:
        return pd.DataFrame()
    later = table[table.groupby("seed").cumcount() > 0]
    levels = later.groupby("seed")[[key for key in table if key.startswith("logvar_")]].mean()
    return levels.rename(columns=lambda column: column.removeprefix("logvar_"))


def lower_variance(results: Results, env: str) -> Cell:
    """Each along its own training; the paper's over the episodes at which both were measured."""
    series = results.paper_series(f"log_variance {env}")
    names = pair_of(env)
    start = max(series[name]["x"][0] for name in names)
    theirs = number(average(series["a2c"], start) - average(series[METHOD[env]], start), 1)
    a2c, method = (measured(results, env, name).get(name) for name in names)
    known = a2c is not None and method is not None
    ours = mean((a2c - method).dropna()) if known else None
    return Cell(TITLES[env], theirs, ours, above=0.0, digits=1)


def lower_at_same_policies(results: Results, env: str) -> list[Cell]:
    """Both estimators at the policies of A2C's training, and at those of the method's."""
    return [lower_at_policies_of(results, env, trained) for trained in pair_of(env)]


def lower_at_policies_of(results: Results, env: str, trained: str) -> Cell:
    table, (a2c, method) = measured(results, env, trained), pair_of(env)
    known = {a2c, method} <= set(table)
    ours = mean((table[a2c] - table[method]).dropna()) if known else None
    case = f"{TITLES[env]} at {label(trained)}'s policies"
    return Cell(case, "none", ours, above=0.0, digits=2)


def headline(results: Results) -> list[tuple[str, str, str]]:
    """Rows of the front page's table: what, the paper's number, ours."""
    rows = []
    for env in LENGTHS:
        cell = faster(results, env, 2.0)
        what = f"{TITLES[env]}: A2C's steps until solved over {label(METHOD[env])}'s"
        rows.append((what, cell.paper, cell.text))
    return rows

"""The policies' tables: returns, variances, the grids' winners, and times to solve."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.rl.results import RATES, restricted
from experiments.run.statistics import best_setting
from scripts.report.rl import LENGTHS, METHOD, faster, pair_of, solve_row, usual, variance_table
from scripts.results import (
    NOT_RUN,
    Results,
    covers,
    curve,
    estimators,
    mean_and_error,
    number,
    plus_minus,
    took,
)
from scripts.runs import solved
from scripts.style import TITLES, label


def command(env: str, mode: str = "", preset: str = "paper") -> str:
    names = ",".join(usual(env))
    text = f"python -m experiments.rl preset=rl/{preset} env={env} 'estimator=[{names}]'"
    return f"{text} mode={mode}" if mode else text


def picture(results: Results, env: str) -> str:
    """The environment's figure, with the ratio of the times to solve in its caption."""
    caption = f"{TITLES[env]}: return of an episode, and ln Var of an episode's policy gradient"
    if results.has_picture(f"rl-paper-{env}"):
        ratio = faster(results, env, 2.0).text
        caption += f"; A2C's steps until solved over {label(METHOD[env])}'s: {ratio}"
    return results.picture(f"rl-paper-{env}", f"{caption}.", command(env))


# ---- the figure's panels in numbers ----


def returns(results: Results, env: str) -> list[dict]:
    """The panel of returns: mean over seeds of the returns around a step."""
    series, rows = results.paper_series(f"return {env}"), []
    for steps in (int(LENGTHS[env] * part) for part in (0.02, 0.1, 0.2, 0.4, 0.8)):
        row = {"steps": number(steps, 0)}
        for name in pair_of(env):
            line, table = series[name], results.table(f"rl/paper/{env}/{name}.csv")
            shown = covers(line, steps)
            row[f"{label(name)}, paper"] = (
                number(curve(line, steps), 0) if shown else "off the figure"
            )
            row[f"{label(name)}, ours ± se"] = return_at(table, steps, LENGTHS[env] * 0.01)
        rows.append(row)
    return rows


def return_at(table: pd.DataFrame | None, steps: int, window: float) -> str:
    """The mean over seeds of the returns within `window` steps of `steps`."""
    if table is None:
        return NOT_RUN
    near = table[(table["frames"] - steps).abs() <= window].dropna(subset="return")
    return mean_and_error(near.groupby("seed")["return"].mean(), 0)


def variances(results: Results, env: str) -> list[dict]:
    """The panel of variances, each estimator along its own training."""
    series, rows = results.paper_series(f"log_variance {env}"), []
    end = int(max(series[name]["x"][-1] for name in pair_of(env)))
    for episode in (end * part // 20 for part in (1, 5, 10, 15, 20)):
        row = {"episode": episode}
        for name in pair_of(env):
            row[f"{label(name)}, paper"] = number(curve(series[name], episode), 1)
            table, ours = variance_table(results, env, name), None
            if table is not None and table["episodes"].max() >= 0.9 * episode:
                ours = np.interp(episode, table["episodes"], table[f"logvar_{name}"])
            row[f"{label(name)}, ours"] = number(ours, 1)
        rows.append(row)
    return rows


def variance_times(results: Results, env: str) -> str:
    """What the measurements of the variance took."""
    summary = f"rl/paper/{env}-variance/summary.csv"
    rows = {name: results.row(summary, estimator=name) for name in pair_of(env)}
    return "; ".join(f"{label(name)} {took(row)}" for name, row in rows.items())


def same_policies(results: Results, env: str) -> list[dict]:
    """All estimators at the policies of one training, which the paper does not compare."""
    tables = {n: results.table(f"rl/paper/{env}-variance/{n}.csv") for n in pair_of(env)}
    known = [table for table in tables.values() if table is not None]
    columns = [c for table in known for c in table if c.startswith("logvar_")]
    columns = list(dict.fromkeys(columns)) or [f"logvar_{name}" for name in pair_of(env)]
    rows = []
    for name, table in tables.items():
        row = {"at the policies of": f"{label(name)}'s"}
        for column in columns:
            measured = table is not None and column in table
            level = table[column].iloc[1:].mean() if measured else None  # without the start
            row[label(column.removeprefix("logvar_"))] = number(level, 2)
        rows.append(row)
    return rows


# ---- rates and times to solve ----


def grid(results: Results, env: str) -> list[dict]:
    """The best rates of every estimator's grid: those with the fewest steps until solved."""
    return [grid_row(results, env, name) for name in usual(env)]


def grid_row(results: Results, env: str, name: str) -> dict:
    place = f"rl/paper/{env}-grid"
    rows = [r for r in results.rows(f"{place}/summary.csv") if r["estimator"] == name]
    if solved(results, "paper", f"{env}-grid", name) is None:
        rows = []
    best = rows[0] if rows else {}
    if rows:  # of those that need equally many steps, the one with the highest return
        rows = sorted(rows, key=lambda row: -row["recent"])
        best = rows[best_setting({i: row["solved_frames"] for i, row in enumerate(rows)})]
    when = plus_minus(best.get("solved_frames"), best.get("solved_frames_se"), 0)
    never = best.get("solved") == 0
    return {
        "estimator": label(name),
        "best of its grid": best.get("rates", NOT_RUN),
        "steps": number(best.get("frames"), 0),
        "solved": f"{best['solved']:.0f} of {best['seeds']:.0f}" if best else NOT_RUN,
        "steps to solve ± se": "never" if never else when,
        "last 100 episodes": number(best.get("recent"), 1),
        "wall time of the grid, device": took(best),
    }


def solve_table(results: Results) -> list[dict]:
    """The paper's table of times to solve."""
    rows = []
    for env in LENGTHS:
        summary = {row["estimator"] for row in results.rows(f"rl/paper/{env}/summary.csv")}
        others = {*estimators(results.root / "rl/paper" / env, ()), *summary} - set(usual(env))
        names = [*usual(env), *sorted(others)]
        rows += [solve_cells(results, env, name) for name in names]
    return rows


def solve_cells(results: Results, env: str, name: str) -> dict:
    table, paper = solved(results, "paper", env, name), results.paper["table"][env]
    cells = dict.fromkeys(("rates", "steps", "seeds solved", "steps to solve ± se"), NOT_RUN)
    row, episodes, ratio = {}, NOT_RUN, NOT_RUN
    if table is not None:
        row = solve_row(results, "paper", env, name, table, paper)
        rates = [f"{key}={table[key].iloc[0]:g}" for key in RATES if key in table]
        times = mean_and_error(restricted(table), 0) if row["solved"] else "never"
        counts = f"{row['solved']} of {row['seeds']}"
        cells = dict(
            zip(cells, (" ".join(rates), number(row["frames"], 0), counts, times), strict=True)
        )
        episodes, ratio = row["solved_episodes"], "-" if name == "a2c" else NOT_RUN
        episodes = "not all solved" if episodes is None else mean_and_error(episodes, 0)
        ratio = row["ratio"].text(2) if row["ratio"] else ratio
    summary = results.row(f"rl/paper/{env}/summary.csv", estimator=name) if row else None
    published = name in paper and name != "a2c"
    return {
        "environment": TITLES[env],
        "estimator": label(name),
        **cells,
        "episodes": episodes,
        "episodes, paper": f"{paper[name][0]} ± {paper[name][1]}" if name in paper else "none",
        "A2C's steps over its: [95 %]": ratio,
        "paper's ratio": number(paper["a2c"][0] / paper[name][0], 2) if published else "none",
        "wall time, device": took(summary),
    }

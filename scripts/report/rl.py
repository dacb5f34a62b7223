"""The claims about policies: how soon A2C, RELAX and LAX solve a task, and how noisily."""

from __future__ import annotations

import numpy as np

from experiments.rl.results import ratio, restricted
from scripts.report.claims import Cell, Claim, Interval
from scripts.report.read import Results, Table, average, number
from scripts.style import label

TITLES = {"cartpole": "CartPole", "lunarlander": "LunarLander", "pendulum": "InvertedPendulum"}
METHOD = {"cartpole": "relax", "lunarlander": "relax", "pendulum": "lax"}
USUAL = {
    "cartpole": ("reinforce", "a2c", "relax"),
    "lunarlander": ("a2c", "relax"),
    "pendulum": ("a2c", "lax"),
}
FRAMES = {"cartpole": 250_000, "lunarlander": 5_000_000, "pendulum": 1_000_000}
PRESET = "paper"


def solved(results: Results, case: str, arm: str) -> Table | None:
    """When each seed solved it, where its curve is there as well."""
    place = f"rl/{PRESET}/{case}/{arm}"
    if results.table(f"{place}.csv") is None:
        return None
    return results.table(f"{place}-solved.csv")


# ---- claims ----


def claims(results: Results) -> list[Claim]:
    said = "A2C's steps until solved over the method's, means over seeds; a seed that does not "
    said += "solve it counts with all its steps. The paper's are its table's."
    along = "A2C's log-variance minus the method's, each along its own training, mean over the "
    along += "measurements. One run each, as in the paper, which has none at the same policies."
    return [
        Claim(
            "LAX and RELAX need less than half of A2C's steps to solve a task",
            said,
            [faster(results, env, 2.0) for env in TITLES],
        ),
        Claim(
            "LAX and RELAX need fewer steps than A2C",
            said,
            [faster(results, env, 1.0) for env in TITLES],
        ),
        Claim(
            "LAX's and RELAX's policy gradients have the lower variance",
            along,
            [quieter(results, env) for env in TITLES]
            + [quieter_there(results, env) for env in TITLES],
        ),
    ]


def faster(results: Results, env: str, above: float) -> Cell:
    tables = [solved(results, env, arm) for arm in ("a2c", METHOD[env])]
    paper = results.paper["table"][env]
    theirs = paper["a2c"][0] / paper[METHOD[env]][0]
    ours, note = None, ""
    if all(table is not None for table in tables):
        seeds = min(len(table["seed"]) for table in tables)
        ours = Interval(*ratio(*(restricted(table) for table in tables)), seeds)
        missed = sum(int((table["solved_frames"] < 0).sum()) for table in tables)
        note = f"{missed} seed{'s' * (missed > 1)} not solved" if missed else ""
        if not full(env, *tables):
            had = number(min(table["frames"].min() for table in tables), 0)
            note = f"{note}, {had} steps each" if note else f"{had} steps each"
    return Cell(TITLES[env], number(theirs, 2), ours, above, full=full(env, *tables), note=note)


def full(env: str, *tables: Table | None) -> bool:
    return all(table is not None and table["frames"].min() >= FRAMES[env] for table in tables)


def own_variance(results: Results, env: str, arm: str) -> Table | None:
    table = results.table(f"rl/{PRESET}/{env}-variance/{arm}.csv")
    return table if table and f"logvar_{arm}" in table else None


def quieter(results: Results, env: str) -> Cell:
    """Over the episodes that both runs were measured at, not counting the start."""
    pair = [own_variance(results, env, arm) for arm in ("a2c", METHOD[env])]
    series = results.paper[f"log_variance {env}"]["series"]
    start = max(series[arm]["x"][0] for arm in ("a2c", METHOD[env]))
    theirs = average(series["a2c"], start) - average(series[METHOD[env]], start)
    ours = None
    if all(table is not None for table in pair):
        levels = [
            np.nanmean(table[f"logvar_{arm}"][1:])
            for table, arm in zip(pair, ("a2c", METHOD[env]), strict=True)
        ]
        ours = Interval(float(levels[0] - levels[1]))
    return Cell(TITLES[env], number(theirs, 1), ours, above=0.0, digits=1)


def quieter_there(results: Results, env: str) -> Cell:
    """Both estimators at the same policies, those of either arm's training."""
    method, found = METHOD[env], []
    for arm in ("a2c", method):
        table = results.table(f"rl/{PRESET}/{env}-variance/{arm}.csv") or {}
        if {"logvar_a2c", f"logvar_{method}"} <= table.keys():
            found.append(np.nanmean((table["logvar_a2c"] - table[f"logvar_{method}"])[1:]))
    ours = Interval(float(np.mean(found))) if len(found) == 2 else None
    return Cell(f"{TITLES[env]} at the same policies", "none", ours, above=0.0, digits=1)


def headline(results: Results) -> list[tuple[str, str, str]]:
    """Rows of the README's small table."""
    rows = []
    for env, title in TITLES.items():
        cell = faster(results, env, 2.0)
        what = f"{title}: A2C's steps until solved over {label(METHOD[env])}'s"
        rows.append((what, cell.paper, cell.text))
    return rows

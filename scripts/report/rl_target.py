"""The task of targets: A2C against LAX at several sizes of the policy's step."""

from __future__ import annotations

import pandas as pd

from experiments.rl.results import restricted
from scripts.intervals import log_rank, ratio
from scripts.report.rl import at_one_length, p_value, times
from scripts.report.rl_grids import best_of, grid_rows
from scripts.report.rl_tables import term_shares
from scripts.results import NOT_RUN, Results, mean_and_error, number
from scripts.runs import solved
from scripts.style import label

KLS = ("0.03", "0.1", "0.3", "1")  # targets of an update's KL, in the tags of the runs
COMMAND = (
    "python -m experiments.rl preset=rl/paper env=target 'estimator=[a2c,lax]' batch=100 "
    "'continuous_hidden=[16]' frames=12000 kl=0.3 tag=kl0.3"
)


def rows(results: Results) -> list[dict]:
    """A row per KL: the steps of both at the best of their rates, and their comparison."""
    return [row(results, kl) for kl in KLS]


def row(results: Results, kl: str) -> dict:
    cells = {"target KL": kl}
    for name in ("a2c", "lax"):
        table = solved(results, "paper", "target", f"{name}-kl{kl}")
        cells[f"{label(name)}: steps to solve ± se"] = steps(table)
    return {**cells, "A2C's steps over LAX's": compared(results, f"a2c-kl{kl}", f"lax-kl{kl}")}


def steps(table: pd.DataFrame | None) -> str:
    """The mean steps until solved, and how many seeds solved the task."""
    if table is None:
        return NOT_RUN
    done = int((table["solved_frames"] >= 0).sum())
    return f"{mean_and_error(restricted(table), 0)} ({done} of {len(table)})"


def compared(results: Results, *names: str) -> str:
    """The ratio of the mean steps of two runs, and the log-rank test."""
    tables = [solved(results, "paper", "target", name) for name in names]
    if any(table is None for table in tables):
        return NOT_RUN
    found, p = ratio(*at_one_length(*tables)), log_rank(*map(times, tables))
    return f"{found.text(2)} (log-rank p {p_value(p)})"


def best(results: Results, name: str) -> str | None:
    """The run, such as lax-kl0.3, whose setting was the best of the whole grid."""
    found = {f"{name}-kl{kl}": grid_rows(results, "target", f"{name}-kl{kl}") for kl in KLS}
    if not all(found.values()):
        return None
    return best_of([row for rows in found.values() for row in rows])["estimator"]


def at_their_best(results: Results) -> str:
    """Both at the best setting of their grids, on new seeds."""
    names = [best(results, name) for name in ("a2c", "lax")]
    if None in names:
        return NOT_RUN
    tables = [solved(results, "paper", "target", name) for name in names]
    texts = [f"{label(name)} {steps(table)}" for name, table in zip(names, tables, strict=True)]
    return f"{' and '.join(texts)}, a ratio of {compared(results, *names)}"


def cost(results: Results, kl: str) -> str:
    """LAX's time over A2C's for the same number of steps."""
    place = "rl/paper/target/summary.csv"
    a2c, lax = (results.row(place, estimator=f"{name}-kl{kl}") for name in ("a2c", "lax"))
    if a2c is None or lax is None:
        return NOT_RUN
    return number(lax["seconds"] / a2c["seconds"], 1)


def later(results: Results, kl: str, key: str) -> str:
    """A share of A2C's variance in the middle and at the end of LAX's training, see term_shares."""
    table = results.table(f"rl/paper/target-terms/lax-kl{kl}.csv")
    if table is None:
        return NOT_RUN
    return " and ".join(f"{point[key].text(0)} %" for point in term_shares(table)[1:])

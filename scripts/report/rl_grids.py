"""The policies' learning rates: the best of each grid, and how much they matter."""

from __future__ import annotations

from experiments.rl.results import RATES
from experiments.run.statistics import best_setting
from scripts.report.rl_tables import usual
from scripts.results import NOT_RUN, Results, config, number, plus_minus, took
from scripts.runs import solved
from scripts.style import label


def grid(results: Results, env: str) -> list[dict]:
    """The best rates of every estimator's grid: those with the fewest steps until solved."""
    return [grid_row(results, env, name) for name in usual(env)]


def grid_rows(results: Results, env: str, name: str) -> list[dict]:
    """An estimator's settings in the grid's summary; none if its runs are missing."""
    if solved(results, "paper", f"{env}-grid", name) is None:
        return []
    rows = results.rows(f"rl/paper/{env}-grid/summary.csv")
    return [row for row in rows if row["estimator"] == name]


def best_of(rows: list[dict]) -> dict:
    """The setting that needs the fewest steps; of equals, the one with the highest return."""
    rows = sorted(rows, key=lambda row: -row["recent"])
    return rows[best_setting({i: row["solved_frames"] for i, row in enumerate(rows)})]


def grid_row(results: Results, env: str, name: str) -> dict:
    rows = grid_rows(results, env, name)
    best = best_of(rows) if rows else {}
    when = plus_minus(best.get("solved_frames"), best.get("solved_frames_se"), 0)
    return {
        "estimator": label(name),
        "best of its grid": best.get("rates", NOT_RUN),
        "settings": str(len(rows)) if rows else NOT_RUN,
        "steps": number(best.get("frames"), 0),
        "solved": f"{best['solved']:.0f} of {best['seeds']:.0f}" if best else NOT_RUN,
        "steps to solve ± se": "never" if best.get("solved") == 0 else when,
        "last 100 episodes": number(best.get("recent"), 1),
        "wall time of the grid, device": took(best),
    }


def sensitivity(results: Results, env: str) -> list[dict]:
    """A row per value of the first rate that the grid varies: each estimator's steps until solved
    at the best of its other rates."""
    grids = {name: config(f"env/{env}")["grid"][name] for name in usual(env)}
    values = {key: sorted({v for g in grids.values() for v in g.get(key, [])}) for key in RATES}
    varied = next(key for key in RATES if len(values[key]) > 1)
    cells = {
        value: {
            label(name): reached(results, env, name, varied, value)
            if value in grid.get(varied, [])
            else "-"
            for name, grid in grids.items()
        }
        for value in values[varied]
    }
    return [{varied: f"{value:g}", **row} for value, row in cells.items()]


def reached(results: Results, env: str, name: str, rate: str, value: float) -> str:
    """Steps until solved of the best setting with this rate, or the last returns where no seed
    solved the task."""
    rows = [row for row in grid_rows(results, env, name) if value_of(row, rate) == value]
    if not rows:
        return NOT_RUN
    best = best_of(rows)
    if not best["solved"]:
        return f"never, return {number(best['recent'], 0)}"
    when = plus_minus(best["solved_frames"], best["solved_frames_se"], 0)
    return f"{when} ({best['solved']:.0f} of {best['seeds']:.0f})"


def value_of(row: dict, rate: str) -> float | None:
    """A learning rate in a summary's text, such as "lr=0.01 scale=1"."""
    rates = dict(item.split("=") for item in row["rates"].split())
    return float(rates[rate]) if rate in rates else None

"""The policies' tables: variances at the same policies and their terms, times to solve."""

from __future__ import annotations

import pandas as pd

from experiments.rl.results import RATES, restricted
from scripts.intervals import Interval, log_rank, mean, ratio, sooner
from scripts.report.rl import (
    LENGTHS,
    METHOD,
    at_one_length,
    faster,
    measured,
    p_value,
    pair_of,
    times,
)
from scripts.results import (
    NOT_RUN,
    Results,
    config,
    mean_and_error,
    number,
    plural,
    took,
)
from scripts.runs import POLICIES, solved
from scripts.style import TITLES, label

DETERMINISTIC = 0.01  # nats of entropy per step
POINTS = ("at the start", "in the middle", "at the end")  # of training
RUNS = {  # what the runs shown add to the preset, by environment and mode
    ("cartpole", ""): "seeds=50",
    ("lunarlander", ""): "seeds=20 frames=2000000",
    ("lunarlander", "grid"): "frames=500000",
    ("pendulum", ""): "seeds=20 frames=350000",
    ("pendulum", "grid"): "frames=200000",
}
METHODS = ("relax", "lax")  # whose gain over A2C is shown beside the bound


def usual(env: str) -> list[str]:
    """The estimators that have learning rates for an environment."""
    return [name for name in POLICIES if name in config(f"env/{env}")["rates"]]


def size(results: Results, env: str) -> str:
    """How many seeds A2C and the method have, and how long they were run."""
    names = pair_of(env)
    tables = [solved(results, "paper", env, name) for name in names]
    if any(table is None for table in tables):
        return NOT_RUN
    seeds, steps = min(map(len, tables)), min(table["frames"].min() for table in tables)
    text = f"{plural(seeds, 'seed')} of {number(steps, 0)} steps"
    now = all(has_rates(table, env, name) for table, name in zip(tables, names, strict=True))
    return text if now else f"{text} at the rates of an earlier grid"


def has_rates(table: pd.DataFrame, env: str, name: str) -> bool:
    """Whether a run has the rates that the environment's configuration gives the estimator."""
    rates = config(f"env/{env}")["rates"][name]
    return all(table[key].iloc[0] == rates[key][0] for key in RATES if key in rates)


def command(env: str, mode: str = "") -> str:
    names = ",".join(usual(env))
    text = f"python -m experiments.rl preset=rl/paper env={env} 'estimator=[{names}]'"
    options = [f"mode={mode}" if mode else "", RUNS.get((env, mode), "")]
    return " ".join([text, *filter(None, options)])


def picture(results: Results, env: str) -> str:
    """The environment's figure, with the ratio of the times to solve in its caption."""
    caption = f"{TITLES[env]}: return of an episode, and ln Var of an episode's policy gradient"
    if results.has_picture(f"rl-paper-{env}"):
        ratio = faster(results, env, 2.0).text
        caption += f"; A2C's steps until solved over {label(METHOD[env])}'s: {ratio}"
    return results.picture(f"rl-paper-{env}", f"{caption}.", command(env))


def same_policies(results: Results, env: str) -> list[dict]:
    """All estimators at the policies of one training, ± the standard error over seeds."""
    levels = {name: measured(results, env, name) for name in pair_of(env)}
    names = list(dict.fromkeys(name for level in levels.values() for name in level))
    rows = []
    for trained, level in levels.items():
        cells = {label(n): mean_and_error(level.get(n), 2) for n in names or pair_of(env)}
        rows.append({"at the policies of": label(trained), "seeds": str(len(level)), **cells})
    return rows


def terms_command(env: str) -> str:
    points = {
        "cartpole": "env.variance.every=300",
        "lunarlander": "env.variance.every=1200 env.variance.episodes=60",
        "pendulum": "env.variance.every=40",
    }
    return (
        f"python -m experiments.rl preset=rl/paper env={env} mode=terms 'estimator=[a2c]' seeds=5 "
        f"env.variance.points=3 {points[env]}"
    )


def terms(results: Results, env: str) -> list[dict]:
    """The terms of A2C's variance at three policies of its training, and what the methods gain."""
    table = results.table(f"rl/paper/{env}-terms/a2c.csv")
    if table is None:
        return []
    return [
        {"policies": name, **{key: f"{share.text(0)} %" for key, share in shares.items()}}
        for name, shares in zip(POINTS, term_shares(table), strict=True)
    ]


def term_shares(table: pd.DataFrame) -> list[dict[str, Interval]]:
    """At each point: the terms and the methods' gains in percent, means over policies."""
    point = table.groupby("seed").cumcount()
    return [shares_of(table[point == index]) for index in range(len(POINTS))]


def shares_of(group: pd.DataFrame) -> dict[str, Interval]:
    """Shares of the sum of the terms, and gains over A2C."""
    whole = group[["term_trajectory", "term_action", "term_state"]].sum(axis=1)
    shares = {
        "trajectory": group["term_trajectory"] / whole,
        "action": group["term_action"] / whole,
        "action, exact V": group["term_action_with_exact_value"] / whole,
        "state": group["term_state"] / whole,
    }
    for method in (name for name in METHODS if f"total_{name}" in group):
        shares[f"gain of {label(method)}"] = 1 - group[f"total_{method}"] / group["total_a2c"]
    return {name: mean(100 * share.to_numpy()) for name, share in shares.items()}


def solve_table(results: Results, preset: str = "paper") -> list[dict]:
    """The paper's table of times to solve."""
    return [
        solve_row(results, preset, env, name)
        for env in LENGTHS
        for name in results.names(f"rl/{preset}/{env}", usual(env))
    ]


def solve_row(results: Results, preset: str, env: str, name: str) -> dict:
    table, paper = solved(results, preset, env, name), results.paper["table"][env]
    compared = name in paper and name != "a2c"
    cells = {
        "environment": TITLES[env],
        "estimator": label(name),
        **dict.fromkeys(("rates", "steps", "seeds solved", "collapsed"), NOT_RUN),
        "steps to solve ± se": NOT_RUN,
        "episodes": NOT_RUN,
        "episodes, paper": f"{paper[name][0]} ± {paper[name][1]}" if name in paper else "none",
        "A2C's steps ÷ this, [95 %]": NOT_RUN,
        "P(sooner than A2C)": NOT_RUN,
        "paper's ratio": number(paper["a2c"][0] / paper[name][0], 2) if compared else "none",
        "wall time, device": NOT_RUN,
    }
    return cells if table is None else cells | solve_cells(results, preset, env, name, table)


def solve_cells(
    results: Results, preset: str, env: str, name: str, table: pd.DataFrame
) -> dict[str, str]:
    """The cells of a run, whose seeds' times are `table`."""
    times, done = restricted(table), table["solved_frames"] >= 0
    episodes = mean_and_error(table["solved_episodes"], 0)
    baseline = results.table(f"rl/{preset}/{env}/a2c-solved.csv")
    over = better = "-" if name == "a2c" else NOT_RUN
    if name != "a2c" and baseline is not None:
        over, better = (found(*at_one_length(baseline, table)).text(2) for found in (ratio, sooner))
    rates = [f"{key}={table[key].iloc[0]:g}" for key in RATES if key in table]
    return {
        "rates": " ".join(rates),
        "steps": number(table["frames"].min(), 0),
        "seeds solved": f"{done.sum()} of {len(table)}",
        "collapsed": collapsed(results, preset, env, name, table),
        "steps to solve ± se": mean_and_error(times, 0) if done.any() else "never",
        "episodes": episodes if done.all() else "not all solved",
        "A2C's steps ÷ this, [95 %]": over,
        "P(sooner than A2C)": better,
        "wall time, device": took(results.row(f"rl/{preset}/{env}/summary.csv", estimator=name)),
    }


def collapsed(results: Results, preset: str, env: str, name: str, table: pd.DataFrame) -> str:
    """How many seeds end with a nearly deterministic policy that has not solved the task."""
    curves = results.table(f"rl/{preset}/{env}/{name}.csv")
    if "entropy" not in curves:
        return "-"
    unsolved = table.loc[table["solved_frames"] < 0, "seed"]
    entropy = curves.dropna(subset="entropy").groupby("seed")["entropy"].last()
    return str(int((entropy[entropy.index.isin(unsolved)] < DETERMINISTIC).sum()))


# ---- when a control variate that depends on the action pays ----


def largest_share(results: Results, env: str) -> str:
    """The largest share, at the three policies, of the action term that an exact V leaves."""
    table = results.table(f"rl/paper/{env}-terms/a2c.csv")
    if table is None:
        return NOT_RUN
    shares = [point["action, exact V"] for point in term_shares(table)]
    return f"{max(shares, key=lambda share: share.value).text(0)} %"


def at_one_rate(results: Results, env: str, baseline: str, method: str) -> str:
    """A2C's steps over the method's where both run at one rate, and the log-rank test."""
    tables = [solved(results, "paper", env, name) for name in (baseline, method)]
    if any(table is None for table in tables):
        return NOT_RUN
    found = ratio(*at_one_length(*tables))
    return f"{found.text(2)} (log-rank p {p_value(log_rank(*map(times, tables)))})"

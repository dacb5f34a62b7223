"""Policy gradients: three reward panels, three variance panels, the table of times to solve."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.rl.results import ratio, restricted
from scripts.report.claims import Claim, Interval
from scripts.report.read import (
    NOT_RUN,
    Results,
    Table,
    curve,
    markdown,
    names,
    number,
    plus_minus,
    took,
)
from scripts.report.rl import (
    FRAMES,
    METHOD,
    PRESET,
    TITLES,
    USUAL,
    faster,
    own_variance,
    solved,
)
from scripts.style import label


def command(env: str, mode: str = "", preset: str = PRESET) -> str:
    arms = ",".join(USUAL[env])
    text = f"python -m experiments.rl preset=rl/{preset} env={env} 'estimator=[{arms}]'"
    return f"{text} mode={mode}" if mode else text


def section(results: Results, claims: list[Claim]) -> str:
    parts = [
        "## Policy gradients: A2C against LAX and RELAX\n",
        "The real environments of gymnasium, solved when the mean return of 100 episodes in a row "
        "is above the goal. Each arm runs at the best rates of its own grid, chosen on other seeds "
        "than those shown; A2C gets the same grid as the method. Discrete policies: two layers of "
        "10 ReLU units, one episode an update, RMSProp, entropy .01, gamma .99. Continuous: two "
        "layers of 64, batches of 2500 steps, 25 steps of V(s) a batch, the policy's rate follows "
        "the KL. Behind the paper's arms stand extras, a setting's name in brackets; no claim uses "
        "them.\n",
        *(claim.table() for claim in claims),
        *(environment(results, env) for env in TITLES),
        table(results),
        "Where the interval of a ratio holds 1, the arm differs from A2C by no more than its seeds "
        "do. The paper's LunarLander entries cannot be episodes: five million steps would leave 31 "
        "steps to an episode. Their ratio is compared.\n",
    ]
    return "\n".join(parts)


def environment(results: Results, env: str) -> str:
    title, arms = TITLES[env], ("a2c", METHOD[env])
    caption = f"{title}: return of an episode, and ln Var of an episode's policy gradient"
    if (results.root / "figures" / f"rl-{PRESET}-{env}.png").exists():
        faster_by = faster(results, env, 2.0).text
        caption += f"; A2C's steps until solved over {label(METHOD[env])}'s: {faster_by}"
    parts = [
        f"### {title}\n",
        f"`{command(env)}`, the variance `{command(env, 'variance')}`, the grid "
        f"`{command(env, 'grid')}`\n",
        results.picture(f"rl-{PRESET}-{env}", f"{caption}.", command(env)),
        returns(results, env, arms),
        variances(results, env, arms),
        same_policy(results, env, arms),
        grid(results, env),
    ]
    return "\n".join(part for part in parts if part)


def returns(results: Results, env: str, arms: tuple[str, str]) -> str:
    """Readings of the reward panel: mean over seeds of the returns about that step."""
    series, lines = results.paper[f"return {env}"]["series"], []
    tables = {arm: results.table(f"rl/{PRESET}/{env}/{arm}.csv") for arm in arms}
    for frames in (int(FRAMES[env] * part) for part in (0.02, 0.1, 0.2, 0.4, 0.8)):
        cells = []
        for arm in arms:
            line = series[arm]
            there = line["x"][0] <= frames <= line["x"][-1]
            cells.append(number(curve(line, frames), 0) if there else "off the figure")
            cells.append(return_at(tables[arm], frames, FRAMES[env] * 0.01))
        lines.append([number(frames, 0), *cells])
    head = ["steps", *(f"{label(arm)}, {who}" for arm in arms for who in ("paper", "ours ± se"))]
    return "Return of an episode:\n\n" + markdown(head, lines)


def return_at(found: Table | None, frames: int, window: float) -> str:
    """The mean over seeds of the returns within `window` steps of `frames`."""
    if found is None:
        return NOT_RUN
    here = (abs(found["frames"] - frames) <= window) & ~np.isnan(found["return"])
    seeds = np.unique(found["seed"][here])
    if not len(seeds):
        return NOT_RUN
    means = np.array([found["return"][here & (found["seed"] == seed)].mean() for seed in seeds])
    return plus_minus(means.mean(), error(means), 0)


def error(values: np.ndarray) -> float | None:
    return values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else None


def variances(results: Results, env: str, arms: tuple[str, str]) -> str:
    """Readings of the variance panel, each arm along its own training."""
    series, lines = results.paper[f"log_variance {env}"]["series"], []
    tables = {arm: own_variance(results, env, arm) for arm in arms}
    end = int(max(series[arm]["x"][-1] for arm in arms))
    for episode in (end * part // 20 for part in (1, 5, 10, 15, 20)):
        cells = []
        for arm in arms:
            cells.append(number(curve(series[arm], episode), 1))
            found = tables[arm]
            ours = None
            if found is not None and found["episodes"].max() >= 0.9 * episode:
                ours = np.interp(episode, found["episodes"], found[f"logvar_{arm}"])
            cells.append(number(ours, 1))
        lines.append([str(episode), *cells])
    head = ["episode", *(f"{label(arm)}, {who}" for arm in arms for who in ("paper", "ours"))]
    summary = f"rl/{PRESET}/{env}-variance/summary.csv"
    times = "; ".join(f"{label(a)} {took(results.row(summary, estimator=a))}" for a in arms)
    return (
        "ln Var of an episode's policy gradient (100 episodes at fixed parameters, natural log per "
        "parameter, mean over parameters), along each arm's own training, one seed each "
        f"({times}):\n\n" + markdown(head, lines)
    )


def same_policy(results: Results, env: str, arms: tuple[str, str]) -> str:
    """The comparison that the paper lacks: all the estimators at one policy."""
    lines, columns = [], []
    tables = {arm: results.table(f"rl/{PRESET}/{env}-variance/{arm}.csv") for arm in arms}
    for found in tables.values():
        columns += [key for key in found or {} if key.startswith("logvar_") and key not in columns]
    columns = columns or [f"logvar_{arm}" for arm in arms]
    for arm, found in tables.items():
        cells = [
            number(np.nanmean(found[key][1:]), 2) if found and key in found else NOT_RUN
            for key in columns
        ]
        lines.append([f"{label(arm)}'s", *cells])
    head = ["at the policies of", *(label(key.removeprefix("logvar_")) for key in columns)]
    return (
        "The same, all estimators at the same policies (mean over the measurements; not in the "
        "paper):\n\n" + markdown(head, lines)
    )


def grid(results: Results, env: str) -> str:
    """The grid's winners: the rates with the fewest steps to solve."""
    place, lines = f"rl/{PRESET}/{env}-grid", []
    rows = results.rows(f"{place}/summary.csv")
    for arm in USUAL[env]:
        mine = [row for row in rows if row["estimator"] == arm]
        if not mine or solved(results, f"{env}-grid", arm) is None:
            lines.append((label(arm), *[NOT_RUN] * 6))
            continue
        best = min(mine, key=lambda row: (row["solved_frames"], -row["recent"]))
        when = plus_minus(best["solved_frames"], best["solved_frames_se"], 0)
        when = when if best["solved"] else "never"
        counts = f"{best['solved']:.0f} of {best['seeds']:.0f}"
        cells = (best["rates"], number(best["frames"], 0), counts, when, number(best["recent"], 1))
        lines.append((label(arm), *cells, took(best)))
    head = (
        "arm",
        "best of its grid",
        "steps",
        "solved",
        "steps to solve ± se",
        "last 100 episodes",
        "wall time of the grid, device",
    )
    return "The grid:\n\n" + markdown(head, lines)


# ---- the table ----


def table(results: Results) -> str:
    head = (
        "environment",
        "arm",
        "rates",
        "steps",
        "seeds solved",
        "steps to solve ± se",
        "episodes",
    )
    head += ("episodes, paper", "A2C's steps over its: [95 %]", "paper's ratio")
    head += ("wall time, device",)
    lines = []
    for env in TITLES:
        place = f"rl/{PRESET}/{env}"
        rows = results.rows(f"{place}/summary.csv")
        for arm in names(USUAL[env], results.root / Path(place), rows, ("summary",)):
            lines.append([TITLES[env], label(arm), *solve_cells(results, env, arm)])
    return "### Steps to solve (the paper's table of episodes)\n\n" + markdown(head, lines)


def solve_cells(results: Results, env: str, arm: str) -> list[str]:
    paper = results.paper["table"][env]
    theirs = f"{paper[arm][0]} ± {paper[arm][1]}" if arm in paper else "none"
    times = number(paper["a2c"][0] / paper[arm][0], 2) if arm in paper and arm != "a2c" else "none"
    found, baseline = solved(results, env, arm), solved(results, env, "a2c")
    if found is None:
        return [NOT_RUN] * 5 + [theirs, NOT_RUN, times, NOT_RUN]
    when, done = restricted(found), found["solved_frames"] >= 0
    keys = [key for key in ("lr", "scale", "value_lr", "surrogate_lr") if key in found]
    cells = [" ".join(f"{key}={found[key][0]:g}" for key in keys)]
    cells += [
        number(found["frames"].min(), 0),
        f"{done.sum()} of {len(when)}",
        plus_minus(when.mean(), error(when), 0) if done.any() else "never",
    ]
    episodes = found["solved_episodes"]
    cells.append(
        plus_minus(episodes.mean(), error(episodes), 0) if done.all() else "not all solved"
    )
    compared = "-" if arm == "a2c" else NOT_RUN
    if baseline is not None and arm != "a2c":
        compared = Interval(*ratio(restricted(baseline), when)).text(2)
    row = results.row(f"rl/{PRESET}/{env}/summary.csv", estimator=arm)
    return [*cells, theirs, compared, times, took(row)]

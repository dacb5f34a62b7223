"""The toy: its claims, and the tables of Figures 1 and 2."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scripts.intervals import Interval, mean, paired, share
from scripts.report.claims import Cell, Claim
from scripts.results import (
    NOT_RUN,
    Results,
    average,
    config,
    curve,
    mean_and_error,
    number,
    took,
)
from scripts.runs import ToyRun, covered, toy_runs
from scripts.style import label

T = 0.499
OTHER_T = (0.49, 0.45)
STEPS = config("preset/toy/paper")["steps"]
SETTLED = 490  # steps after which the paper's log-variance curves begin

# ---- claims ----


def claims(results: Results) -> list[Claim]:
    runs = toy_runs(results, T)
    loss, variance = (results.paper_series(f"{what} t{T}") for what in ("loss", "log_variance"))
    way = f"The share of the way from the start to the optimum that is covered after {steps()}."

    def way_covered(says: str, name: str, **bound: float) -> Claim:
        paper = number(covered(curve(loss[name], STEPS), T), 2)
        ours = mean(runs[name].covered) if runs[name] else None
        return Claim(says, way, [Cell(label(name), paper, ours, full=full(runs[name]), **bound)])

    return [
        way_covered("REINFORCE fails on the toy at t = .499", "reinforce", below=0.5),
        noise(runs),
        way_covered(
            "REBAR's fixed surrogate cannot give consistent gradients there", "rebar", below=0.5
        ),
        sides(runs),
        way_covered("RELAX's learned surrogate solves it", "relax", above=0.5),
        lowest(runs, variance),
    ]


def command(t: float) -> str:
    return f"make reproduce-toy T={t:g}".replace("0.", ".")


def steps() -> str:
    return f"{number(STEPS, 0)} steps"


def full(*runs: ToyRun | None) -> bool:
    return all(run is not None and run.steps >= STEPS for run in runs)


def noise(runs: dict[str, ToyRun | None]) -> Claim:
    cells = []
    for name in ("reinforce", "rebar"):
        run = runs[name]
        ours = mean(run.signal) if run and len(run.log_variance) else None
        cells.append(Cell(label(name), "stated", ours, below=1.0, digits=4, full=full(run)))
    text = "The size of the true gradient over the standard deviation of a single sample's."
    return Claim("The noise outweighs the signal for REINFORCE and REBAR", text, cells)


def sides(runs: dict[str, ToyRun | None]) -> Claim:
    """Consistent gradients lead every seed to the better side."""
    cells = []
    for name, bound in (("rebar", {"below": 0.95}), ("relax", {"above": 0.95})):
        run = runs[name]
        ours = share(run.on_better_side) if run else None
        cells.append(Cell(label(name), "one run", ours, full=full(run), **bound))
    text = f"The share of seeds with theta on the better side of .5 after {steps()}."
    return Claim("REBAR's seeds end on both sides, RELAX's on the better one", text, cells)


def lowest(runs: dict[str, ToyRun | None], paper: dict) -> Claim:
    cells, relax = [], runs["relax"]
    for name in ("reinforce", "rebar"):
        run, ours = runs[name], None
        if run and relax and len(run.log_variance) and len(relax.log_variance):
            ours = paired(run.mean_log_variance, relax.mean_log_variance)
        theirs = average(paper[name], SETTLED) - average(paper["relax"], SETTLED)
        case = f"{label(name)} minus RELAX"
        cells.append(
            Cell(case, number(theirs, 1), ours, above=0.0, digits=1, full=full(run, relax))
        )
    text = "The difference of ln Var[gradient], mean over 200 measurements while training."
    return Claim("RELAX's gradient has the lowest variance on the toy", text, cells)


# ---- tables ----


def compared_at(results: Results, t: float) -> int:
    """The last step that the paper's loss curves show, at which ours are read as well."""
    loss = results.paper_series(f"loss t{t}")
    return 3000 if loss and loss["relax"]["x"][-1] < 5000 else STEPS


def losses(results: Results, t: float) -> list[dict]:
    loss = results.paper_series(f"loss t{t}")
    # at another t the paper's figure does not say where its steps end
    variance = results.paper_series(f"log_variance t{t}") if t == T else {}
    at, rows = compared_at(results, t), []
    for name, run in toy_runs(results, t).items():
        paper = number(curve(loss[name], at), 5) if name in loss else "none"
        level = number(average(variance[name], SETTLED), 1) if name in variance else "none"
        row = results.row(f"toy/paper/t{t!r}/summary.csv", estimator=name) if run else None
        known = run is not None and at in run.loss.index
        better = f"{run.on_better_side.sum()} of {run.seeds}" if known else NOT_RUN
        rows.append(
            {
                "estimator": label(name),
                f"loss after {number(at, 0)} steps, paper": paper,
                "ours: median [10 %, 90 %]": quantiles(run, at),
                "mean ± se": mean_and_error(run.loss.loc[at], 6) if known else NOT_RUN,
                "better side": better,
                "ln Var, paper": level,
                "ours ± se": log_variance(run),
                "wall time, device": took(row),
            }
        )
    return rows


def quantiles(run: ToyRun | None, at: int = STEPS) -> str:
    """The median loss at a step with its quantiles over seeds."""
    if run is None or at not in run.loss.index:
        return NOT_RUN
    low, median, high = (number(q, 5) for q in np.quantile(run.loss.loc[at], [0.1, 0.5, 0.9]))
    return f"{median} [{low}, {high}]" if run.seeds > 1 else median


def log_variance(run: ToyRun | None) -> str:
    """The log-variance, mean over measurements and seeds."""
    if run is None:
        return NOT_RUN
    if not len(run.log_variance):
        return "none: it has no noise"
    return mean_and_error(run.mean_log_variance, 2)


def way(results: Results, t: float) -> str:
    """Which share of the way to the optimum each estimator covers: the figure's finding."""
    runs = toy_runs(results, t, ("reinforce", "rebar", "relax"))
    shares = {name: number(run and run.covered.mean(), 2) for name, run in runs.items()}
    return ", ".join(f"{label(name)} {value}" for name, value in shares.items())


def rebar_minus_reinforce(results: Results) -> str:
    """The difference of their losses, which the paper's figure seems to order."""
    runs = toy_runs(results, T, ("rebar", "reinforce"))
    if not all(runs.values()):
        return NOT_RUN
    rebar, reinforce = (run.loss.loc[run.steps] for run in runs.values())
    return paired(rebar, reinforce).text(5)


def distance_ratio(results: Results, t: float, step: int = 5000) -> str:
    """RELAX's distance from the optimum over REINFORCE's, medians over seeds."""
    runs = toy_runs(results, t, ("relax", "reinforce"))
    if not all(run is not None and step in run.loss.index for run in runs.values()):
        return NOT_RUN
    best = min(t**2, (1 - t) ** 2)
    relax, reinforce = (np.median(run.loss.loc[step] - best) for run in runs.values())
    return number(relax / reinforce, 2)


SURROGATES = {"rebar": "f(sigma(z/lambda)), REBAR", "relax": "c(z), RELAX"}


def relaxation(results: Results) -> list[dict]:
    """How far the two surrogates rise and fall over u, early and late."""
    table = results.table(f"toy/paper/t{T}/relaxation.csv")
    rows = []
    for name, text in SURROGATES.items():
        for which, when in ((0, "early"), (-1, "late")):
            step = when if table is None else table["step"].unique()[which]
            rows.append({"surrogate": text, **shape(table, name, step)})
    return rows


def shape(table: pd.DataFrame | None, name: str, step: float | str) -> dict[str, str]:
    """Where one surrogate is lowest, and its rise over u."""
    heads = ("steps", "lowest at u =", "rise from u = 0 to 1: median [10 %, 90 %] of seeds")
    if table is None:
        return dict(zip(heads, (step, NOT_RUN, NOT_RUN), strict=True))
    chosen = table[(table["step"] == step) & (table["estimator"] == name)]
    curves = chosen.pivot(index="u", columns="curve", values="value")
    seeds = curves[[curve for curve in curves if curve.startswith("seed")]]
    low, median, high = np.quantile(seeds.iloc[-1] - seeds.iloc[0], [0.1, 0.5, 0.9])
    rise = Interval(median, low, high).text(4) + f" of {seeds.shape[1]}"
    cells = (f"{step:.0f}", number(curves["median"].idxmin(), 2), rise)
    return dict(zip(heads, cells, strict=True))


def headline(results: Results) -> list[tuple[str, str, str]]:
    """Rows of the front page's table: what, the paper's number, ours."""
    runs = toy_runs(results, T)
    loss, variance = (results.paper_series(f"{what} t{T}") for what in ("loss", "log_variance"))
    rows = []
    for name in ("reinforce", "rebar", "relax"):
        what = f"toy, t = .499: loss after {steps()}, {label(name)}"
        rows.append((what, number(curve(loss[name], STEPS), 5), quantiles(runs[name])))
    for name in ("reinforce", "relax"):
        what = f"toy, t = .499: ln Var[gradient], {label(name)}"
        theirs = number(average(variance[name], SETTLED), 1)
        rows.append((what, theirs, log_variance(runs[name])))
    return rows

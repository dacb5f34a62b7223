"""The toy: its claims, and the table of Figure 1."""

from __future__ import annotations

import numpy as np

from scripts.intervals import mean, paired, share
from scripts.report.claims import Cell, Claim
from scripts.results import NOT_RUN, Results, average, config, curve, mean_and_error, number, took
from scripts.runs import ToyRun, covered, toy_runs
from scripts.style import label

T = 0.499
OTHER_T = (0.49, 0.45)
STEPS = config("preset/toy/paper")["steps"]
SETTLED = 490  # steps after which the paper's log-variance curves begin

# ---- claims ----


def claims(results: Results) -> list[Claim]:
    return [
        way_covered(results, "REINFORCE fails on the toy at t = .499", "reinforce", below=0.5),
        noise(results),
        way_covered(
            results,
            "REBAR's fixed surrogate cannot give consistent gradients there",
            "rebar",
            below=0.5,
        ),
        sides(results),
        way_covered(results, "RELAX's learned surrogate solves it", "relax", above=0.5),
        lowest(results),
    ]


def command(t: float) -> str:
    return f"make reproduce-toy T={t:g}".replace("0.", ".")


def steps() -> str:
    return f"{number(STEPS, 0)} steps"


def full(*runs: ToyRun | None) -> bool:
    return all(run is not None and run.steps >= STEPS for run in runs)


def has_variance(run: ToyRun | None) -> bool:
    return run is not None and len(run.log_variance) > 0


def way_covered(results: Results, says: str, name: str, **bound: float) -> Claim:
    run = toy_runs(results, T)[name]
    paper = covered(curve(results.paper_series(f"loss t{T}")[name], STEPS), T)
    ours = mean(run.covered) if run else None
    cell = Cell(label(name), number(paper, 2), ours, full=full(run), **bound)
    text = f"The share of the way from the start to the optimum that is covered after {steps()}."
    return Claim(says, text, [cell])


def noise(results: Results) -> Claim:
    runs, cells = toy_runs(results, T), []
    signal = {name: mean(run.signal) if has_variance(run) else None for name, run in runs.items()}
    for name in ("reinforce", "rebar"):
        run, ours = runs[name], signal[name]
        cells.append(Cell(label(name), "no number", ours, below=1.0, digits=4, full=full(run)))
    relax = signal["relax"].text(2) if signal["relax"] else NOT_RUN
    text = (
        "The size of the true gradient over the standard deviation of a single-sample estimate. "
        f"For RELAX it is {relax}."
    )
    return Claim("The noise outweighs the signal for REINFORCE and REBAR", text, cells)


def sides(results: Results) -> Claim:
    """Consistent gradients lead every seed to the better side."""
    cells = []
    runs = toy_runs(results, T)
    for name, bound in (("rebar", {"below": 0.95}), ("relax", {"above": 0.95})):
        ours = share(runs[name].on_better_side) if runs[name] else None
        cells.append(Cell(label(name), "one run", ours, full=full(runs[name]), **bound))
    text = f"The share of seeds with theta on the better side of .5 after {steps()}."
    return Claim("REBAR's seeds end on both sides, RELAX's on the better one", text, cells)


def lowest(results: Results) -> Claim:
    runs, paper = toy_runs(results, T), results.paper_series(f"log_variance t{T}")
    relax, cells = runs["relax"], []
    for name in ("reinforce", "rebar"):
        run, ours = runs[name], None
        if has_variance(run) and has_variance(relax):
            ours = paired(run.mean_log_variance, relax.mean_log_variance)
        theirs = number(average(paper[name], SETTLED) - average(paper["relax"], SETTLED), 1)
        case = f"{label(name)} minus RELAX"
        cells.append(Cell(case, theirs, ours, above=0.0, digits=1, full=full(run, relax)))
    text = "The difference in ln Var[gradient], averaged over 200 measurements during training."
    return Claim("RELAX's gradient has the lowest variance on the toy", text, cells)


# ---- the loss ----


def compared_at(results: Results, t: float) -> int:
    """The last step that the paper's loss curves show, at which ours are read as well."""
    loss = results.paper_series(f"loss t{t}")
    return 3000 if loss and loss["relax"]["x"][-1] < 5000 else STEPS


def losses(results: Results, t: float) -> list[dict]:
    """The loss, the seeds on the better side and the log-variance of every estimator."""
    at = compared_at(results, t)
    return [loss_row(results, t, at, name, run) for name, run in toy_runs(results, t).items()]


def loss_row(results: Results, t: float, at: int, name: str, run: ToyRun | None) -> dict:
    loss = results.paper_series(f"loss t{t}")
    # at another t the paper's figure does not say where its steps end
    variance = results.paper_series(f"log_variance t{t}") if t == T else {}
    known = run is not None and at in run.loss.index
    row = results.row(f"toy/paper/t{t!r}/summary.csv", estimator=name) if run else None
    paper = number(curve(loss[name], at), 5) if name in loss else "none"
    level = number(average(variance[name], SETTLED), 1) if name in variance else "none"
    better = f"{run.on_better_side.sum()} of {run.seeds}" if known else NOT_RUN
    return {
        "estimator": label(name),
        f"loss after {number(at, 0)} steps, paper": paper,
        "ours: median [10 %, 90 %]": quantiles(run, at),
        "mean ± se": mean_and_error(run.loss.loc[at], 6) if known else NOT_RUN,
        "seeds on the better side": better,
        "ln Var, paper": level,
        "ours ± se": log_variance(run),
        "wall time, device": took(row),
    }


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
    return mean_and_error(run.mean_log_variance, 2) if has_variance(run) else "none: no noise"


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

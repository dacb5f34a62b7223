"""The permutations: their claims, and the tables of their three problems."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from scripts.intervals import mean, paired, share
from scripts.report.claims import Cell, Claim
from scripts.results import NOT_RUN, Results, by_seed, config, number, took
from scripts.runs import PERMUTATIONS
from scripts.style import label

CASE = "matching-n8"
STEPS = config("problem/matching")["steps"]
VARIANCE_SAMPLES = config("problem/matching")["variance_samples"]
NEAR, NEARER = 0.1, 0.01  # distances from the optimum; that of the start is .80
ORDERS_OF = (5, 6, 7)
LISTS_OF = (5, 10, 20)
EVALUATIONS = {"reinforce": "1", "rloo": "2", "relax": "1", "exact": "all orders"}


class Run:
    """One estimator's curves on one case, and its row of summary.csv."""

    def __init__(self, results: Results, case: str, name: str) -> None:
        place = f"permutations/paper/{case}"
        self.table: pd.DataFrame | None = results.table(f"{place}/{name}.csv")
        self.row = results.row(f"{place}/summary.csv", estimator=name) if self.there else None

    @property
    def there(self) -> bool:
        return self.table is not None

    def curve(self, metric: str) -> pd.DataFrame:
        """A row per step, a column per seed."""
        return by_seed(self.table, metric, "step")

    def end(self, metric: str) -> np.ndarray | None:
        """Every seed's last value."""
        return self.curve(metric).iloc[-1].to_numpy() if self.there else None

    def reached(self, gap: float) -> np.ndarray:
        """The first measured step at which each seed is so near to the optimum; nan without one."""
        below = self.curve("gap") < gap
        return np.where(below.any(), below.idxmax(), np.nan)

    @property
    def full(self) -> bool:
        return self.there and self.table["step"].max() >= STEPS

    @property
    def variance(self) -> np.ndarray:
        """Every seed's mean log-variance over training."""
        return self.curve("log_variance").mean().to_numpy()


def published(results: Results, name: str) -> dict:
    return results.paper[f"permutations {CASE}"].get(name, {})


# ---- claims ----


def claims(results: Results) -> list[Claim]:
    """Those of Gadetsky et al. about their toy."""
    found = {name: Run(results, CASE, name) for name in PERMUTATIONS}
    reaches = [
        at_end(results, found, "relax", above=0.5),
        at_end(results, found, "rebar", above=0.5),
        at_end(results, found, "reinforce", below=0.5),
    ]
    reached = f"The share of seeds that come within {NEAR} of the optimum in 50 000 steps."
    pairs = [(found[name], label(name)) for name in ("rebar", "reinforce")]
    relax = found["relax"]
    lower = [cell(slow, relax, name, lambda run: run.variance, 1) for slow, name in pairs]
    faster = [
        cell(slow, relax, name, lambda run: run.curve("loss").mean().to_numpy(), 3)
        for slow, name in pairs
    ]
    return [
        Claim("RELAX and REBAR reach the optimum, REINFORCE does not", reached, reaches),
        Claim(
            "RELAX is faster than REBAR and REINFORCE",
            "The difference of the losses, mean over the 50 000 steps.",
            faster,
        ),
        Claim(
            "RELAX has a lower variance than REBAR and REINFORCE",
            "The difference of ln Var[gradient], mean over training.",
            lower,
        ),
    ]


def at_end(results: Results, found: dict[str, Run], name: str, **bound: float) -> Cell:
    run, when = found[name], published(results, name)["reached"]
    ours = share(~np.isnan(run.reached(NEAR))) if run.there else None
    paper = f"one seed, at step {steps(when)}" if when else "one seed, no"
    return Cell(label(name), paper, ours, full=run.full, **bound)


def cell(slow: Run, fast: Run, name: str, measure, digits: int) -> Cell:
    there = slow.there and fast.there
    ours = paired(measure(slow), measure(fast)) if there else None
    full = slow.full and fast.full
    return Cell(f"{name} minus RELAX", "one seed", ours, above=0.0, digits=digits, full=full)


# ---- tables ----


def matching(results: Results) -> list[dict[str, str]]:
    """The toy of Gadetsky et al., estimator by estimator."""
    rows = []
    for name in PERMUTATIONS:
        run, paper = Run(results, CASE, name), published(results, name)
        rows.append(
            {
                "estimator": label(name),
                "loss at the end, published": number(paper["loss"], 2) if paper else "none",
                "ours, 95 % interval": interval(run.end("loss"), 4),
                "optimum reached at step, published": steps(paper.get("reached")),
                f"within {NEAR}, ours: median [10 %, 90 %]": when_reached(run, NEAR),
                f"within {NEARER}": when_reached(run, NEARER),
                "ln Var at the end, published": str(paper.get("log_variance", "none")),
                "ours: median": variance(run),
                "wall time, device": took(run.row),
            }
        )
    return rows


def interval(values: np.ndarray | None, digits: int) -> str:
    """The mean over seeds with its interval; of one seed the number."""
    if values is None:
        return NOT_RUN
    found = mean(values)
    return number(found.value, digits) if found.seeds == 1 else found.text(digits)


def variance(run: Run) -> str:
    """The median over seeds at the end; a variance of 0 has no logarithm."""
    if not run.there:
        return NOT_RUN
    if "log_variance" not in run.table:
        return "no noise"
    logs = run.end("log_variance")
    zero = int(np.isnan(logs).sum())
    others = f", and 0 in {zero} of {len(logs)} seeds" if zero else ""
    return number(np.nanmedian(logs), 1) + others


def steps(reached: list[int] | None) -> str:
    if not reached:
        return "none"
    return " to ".join(number(step, 0) for step in sorted(set(reached)))


def when_reached(run: Run, gap: float) -> str:
    """Quantiles over seeds, and how many seeds there are; the others count as never."""
    if not run.there:
        return NOT_RUN
    reached = run.reached(gap)
    found = int((~np.isnan(reached)).sum())
    if not found or len(reached) == 1:
        return number(reached[0], 0) if found else "none"
    quantiles = np.quantile(np.nan_to_num(reached, nan=np.inf), [0.1, 0.5, 0.9], method="nearest")
    low, median, high = ("never" if np.isinf(q) else number(q, 0) for q in quantiles)
    count = "" if found == len(reached) else f", {found} of {len(reached)} seeds"
    return f"{median} [{low}, {high}]{count}"


def against_rloo(results: Results) -> str:
    """RELAX's loss minus RLOO's, mean over training, and the ratio of their wall times."""
    relax, rloo = (Run(results, CASE, name) for name in ("relax", "rloo"))
    if not (relax.row and rloo.row):
        return NOT_RUN
    losses = (run.curve("loss").mean().to_numpy() for run in (relax, rloo))
    times = number(relax.row["seconds"] / rloo.row["seconds"], 1)
    return f"{paired(*losses).text(3)} in the loss, mean over the steps, and {times} times the time"


def structure(results: Results) -> list[dict[str, str]]:
    """Score gaps and structural Hamming distances after training."""
    rows = []
    for n, name in product(ORDERS_OF, EVALUATIONS):
        run = Run(results, f"structure-n{n}", name)
        rows.append(
            {
                "nodes": n,
                "estimator": label(name),
                "evaluations of f per step": EVALUATIONS[name],
                "expected gap, nats": interval(run.end("gap"), 2),
                "gap of the likeliest order": interval(run.end("mode_gap"), 2),
                "its Hamming distance": interval(run.end("distance"), 2),
                "the best order's": interval(run.end("best_distance"), 2),
                "wall time, device": took(run.row),
            }
        )
    return rows


def rloo_minus_relax(results: Results) -> str:
    """The paired difference of the expected gaps, by number of nodes."""
    texts = []
    for n in ORDERS_OF:
        ends = [Run(results, f"structure-n{n}", name).end("gap") for name in ("rloo", "relax")]
        missing = any(end is None for end in ends)
        texts.append(f"n = {n}: {NOT_RUN if missing else paired(*ends).text(2)}")
    return ", ".join(texts)


def sorting(results: Results) -> list[dict[str, str]]:
    """Errors of the sorting network on new lists."""
    rows = []
    for n in LISTS_OF:
        run = Run(results, f"sorting-n{n}", "gumbel_sinkhorn")
        rows.append(
            {
                "numbers in a list": n,
                "lists with an error": interval(run.end("lists_wrong"), 3),
                "numbers in a wrong place": interval(run.end("numbers_wrong"), 4),
                "seeds": NOT_RUN if run.row is None else number(run.row["seeds"], 0),
                "wall time, device": took(run.row),
            }
        )
    return rows

"""The permutations' figures from their CSV files: python -m scripts.permutations_figures paper

For every case of the preset one picture under results/figures/, permutations-<preset>-<case>, as
PNG and PDF: two metrics against the training step.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from experiments.run.errors import check
from scripts import style
from scripts.results import Results, by_seed, estimators, number, read
from scripts.runs import PERMUTATIONS

PANELS = {  # metric -> title, by problem
    "matching": {"loss": "E||b - T||²: lower is better", "log_variance": "ln Var[g]"},
    "structure": {
        "gap": "E[BIC] below the best order's, in nats",
        "distance": "Structural Hamming distance",
    },
    "sorting": {
        "loss": "Squared error of the relaxed lists",
        "lists_wrong": "Share of lists with an error",
    },
}


@style.applied()
def main(preset: str, results: Path, runs: Path = Path("runs")) -> None:
    cases = sorted((results / "permutations" / preset).glob("*/summary.csv"))
    command = f"make reproduce-permutations PRESET={preset}"
    check(cases, f"{results / 'permutations' / preset} holds no results: {command}")
    for case in (summary.parent for summary in cases):
        picture = figure(case, results / "figures" / f"permutations-{preset}-{case.name}")
        style.upload(runs, "permutations", preset, case.name, [picture])
        print(picture)


def figure(case: Path, path: Path) -> Path:
    """Two panels of one case."""
    tables = {name: read(case / f"{name}.csv") for name in estimators(case, PERMUTATIONS)}
    panels = PANELS[case.name.partition("-")[0]]
    fig, axes = plt.subplots(1, 2, figsize=(style.WIDTH, 4.3))
    for ax, (metric, title) in zip(axes, panels.items(), strict=True):
        draw(ax, tables, metric)
        ax.set_title(title)
        ax.set_xlabel("step")
        ax.set_xlim(left=0)
        ax.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x >= 1000 else f"{x:g}")
    entries = [(f"ours: median and 10-90 % of {seeds(tables)} seeds", style.OURS)]
    if case.name.startswith("structure"):
        best = next(iter(tables.values()))["best_distance"].mean()
        axes[1].axhline(best, color="#333333", linewidth=0.8)
        entries = [(f"ours: mean of {seeds(tables)} graphs", style.OURS)]
        entries.append(("the best order", {"color": "#333333", "linewidth": 0.8}))
    published = Results().paper.get(f"permutations {case.name}", {})
    if published:
        published_ends(axes[1], published, tables)
        entries.append(("the published end: one run", {"marker": "D", **NO_LINE}))
    style.legend(fig, entries)
    problem, _, items = case.name.partition("-n")
    style.finding(fig, FINDINGS[problem](tables, items))
    return style.save(fig, path)


NO_LINE = {"linestyle": "none", "color": "#222222"}


def draw(ax, tables: dict[str, pd.DataFrame], metric: str) -> None:
    """One metric of all estimators: bands, or means where every seed has a problem of its own."""
    ends = {}
    for name, table in tables.items():
        values = by_seed(table, metric, "step")
        if values.empty:
            continue
        dotted = {"linestyle": ":"} if name == "exact" else {}
        if metric in ("gap", "distance"):
            values = values.mean(axis=1).to_frame()
        ends[name] = style.band(ax, values, name, **dotted)
    style.end_labels(ax, ends)


def near_the_optimum(tables: dict[str, pd.DataFrame], items: str) -> str:
    """When half of the seeds have come near to the optimum."""
    found = {}
    for name, table in tables.items():
        gap = by_seed(table, "gap", "step").median(axis=1)
        if name != "exact":
            near = gap.index[gap < NEAR]
            found[name] = number(near[0], 0) if len(near) else "never"
    steps = ", ".join(f"{style.label(name)} {when}" for name, when in found.items())
    return f"Median steps to {NEAR:g} from the optimum: {steps}"


def last_gaps(tables: dict[str, pd.DataFrame], items: str) -> str:
    """How far the expected score is from the best one at the end."""
    ends = {name: by_seed(table, "gap", "step").iloc[-1].mean() for name, table in tables.items()}
    gaps = [f"{style.label(name)} {gap:.2f}" for name, gap in ends.items() if name != "exact"]
    return f"{items} nodes, nats below the best order: {', '.join(gaps)}"


def sorted_lists(tables: dict[str, pd.DataFrame], items: str) -> str:
    """How many new lists are sorted without an error at the end."""
    wrong = by_seed(tables["gumbel_sinkhorn"], "lists_wrong", "step").iloc[-1].mean()
    return f"Lists of {items} numbers: {1 - wrong:.1%} of new ones are sorted without an error"


FINDINGS = {"matching": near_the_optimum, "structure": last_gaps, "sorting": sorted_lists}
NEAR = 0.1  # E||b - T||², as on the page


def published_ends(ax, published: dict, tables: dict[str, pd.DataFrame]) -> None:
    """The last published log-variances, as marks at the end of the axis."""
    step = max(table["step"].max() for table in tables.values())
    for name, found in published.items():
        if isinstance(found, dict):
            ax.plot(step, found["log_variance"], "D", color=style.dark(name), clip_on=False)


def seeds(tables: dict[str, pd.DataFrame]) -> int:
    return max(table["seed"].nunique() for table in tables.values())


if __name__ == "__main__":
    style.command(main, __doc__, preset="paper")

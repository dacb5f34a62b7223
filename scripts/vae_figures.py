"""The VAE's figures from its CSV files: python -m scripts.vae_figures quick

For every case of the preset: -ELBO in training and on validation and the log-variance of the
gradient at the best learning rate, with the paper's curves over them. For preset=variance:
histograms of the terms of RELAX's estimator.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from experiments.run.errors import check
from experiments.vae.config import Vae
from scripts import style
from scripts.report.vae import PAIR
from scripts.report.vae_tables import RELAXED
from scripts.report.vae_training import COMPARISONS, finding, shared_end, steps_per_epoch
from scripts.results import Results, config, estimators, number, read
from scripts.runs import VAE, VaeRun, best_run, gap

TITLE = {"fontsize": 10.5}
METRICS = {
    "train": "-ELBO in training, nats",
    "valid": "-ELBO on validation",
    "variance_weights": "ln Var, encoder's gradient",
}


@style.applied()
def main(preset: str, results: Path, runs: Path = Path("runs")) -> None:
    folder = results / "vae" / preset
    cases = sorted(case for case in folder.glob("*-*") if list(case.glob("*.csv")))
    check(cases, f"{folder} holds no results: python -m experiments.vae preset=vae/{preset}")
    for case in cases:
        stem = results / "figures" / f"vae-{preset}-{case.name}"
        if (case / "terms.csv").exists():
            picture = terms_figure(case, Path(f"{stem}-terms"))
        else:
            picture = curves_figure(case, Path(f"{stem}-curves"))
        style.upload(runs, "vae", preset, case.name, [picture])
        print(picture)


def load(case: Path) -> dict[str, VaeRun]:
    """Every estimator's run at its best learning rate, the paper's estimators first."""
    results, names = Results(case.parents[2]), estimators(case, VAE)
    names += [name for name in PAIR if case.parent.name == "table1" and name not in names]
    runs = {name: best_run(results, case.parent.name, case.name, name) for name in names}
    return {name: run for name, run in runs.items() if run}


# ---- curves ----


def curves_figure(case: Path, path: Path) -> Path:
    runs = load(case)
    scale, unit = x_axis(case, runs)
    last = last_epoch(case, runs)
    curves = {metric: curves_of(runs, metric, last) for metric in METRICS}
    curves = {metric: rescaled(found, scale) for metric, found in curves.items() if found}
    fig, axes = plt.subplots(1, len(curves), figsize=(style.WIDTH, 4.2))
    paper = Results().paper_series(f"curves {case.name}")
    for ax, (metric, found) in zip(np.atleast_1d(axes), curves.items(), strict=True):
        ax.set_title(METRICS[metric])
        ax.set_xlabel(unit)
        theirs = {n: paper[f"{n} {metric}"] for n in PAIR if n in runs and f"{n} {metric}" in paper}
        draw_curves(ax, metric, found, {n: until(series, last) for n, series in theirs.items()})
    entries = [style.estimator_entry(name) for name in runs]
    if any(run.seeds > 1 for run in runs.values()):
        entries.append(("10-90 % of the seeds around their median", style.BAND))
    shown = conclusion(case, runs)
    if any(min(series["x"]) <= last for series in paper.values()):
        entries.append(style.paper_entry("the paper: one run"))
    brackets = "; brackets: 95 % interval over seeds" if "[" in shown else ""
    style.legend(fig, entries, columnspacing=0.7, title=settings(case, runs) + brackets)
    title = style.case_title(case.name).removesuffix(f" {case.parent.name}")
    style.finding(fig, f"{title}: {shown}")
    return style.save(fig, path)


def last_epoch(case: Path, runs: dict[str, VaeRun]) -> float:
    """Where the curves end; those of a comparison end together, where its table compares them."""
    if case.parent.name in COMPARISONS:
        return shared_end(COMPARISONS[case.parent.name], runs)
    return max(run.epochs for run in runs.values())


def x_axis(case: Path, runs: dict[str, VaeRun]) -> tuple[float, str]:
    """What an epoch is multiplied by, and the label; presets of many estimators show steps."""
    if case.parent.name in COMPARISONS:
        return steps_per_epoch(next(iter(runs.values()))) / 1000, "thousand steps"
    return 1.0, "epoch"


def rescaled(curves: dict[str, pd.DataFrame], scale: float) -> dict[str, pd.DataFrame]:
    return {name: curve.set_axis(curve.index * scale) for name, curve in curves.items()}


def conclusion(case: Path, runs: dict[str, VaeRun]) -> str:
    """REBAR's training score minus RELAX's, or the lowest score where one of the two is missing."""
    if case.parent.name in COMPARISONS:
        return finding(Results(case.parents[2]), COMPARISONS[case.parent.name])
    epoch, difference = gap(*(runs.get(name) for name in PAIR), "train")
    if difference is not None:
        return f"REBAR's training -ELBO minus RELAX's, epoch {epoch:g}: {difference.text(2)} nats"
    ends = {
        name: run.curve("valid").iloc[-1].mean()
        for name, run in runs.items()
        if name not in RELAXED
    }
    best = min(ends, key=ends.get)
    return f"{style.label(best)} has the lowest validation -ELBO in the end, {ends[best]:.1f} nats"


def curves_of(runs: dict[str, VaeRun], metric: str, last: float) -> dict[str, pd.DataFrame]:
    """The curves of a metric until an epoch, without training scores of relaxed samples."""
    curves = {
        name: run.curve(metric, "all").loc[:last]
        for name, run in runs.items()
        if metric != "train" or name not in RELAXED
    }
    return {name: curve for name, curve in curves.items() if len(curve)}


def draw_curves(ax, metric: str, curves: dict[str, pd.DataFrame], paper: dict) -> None:
    """The paper's curves are in nats: there are none of the variance."""
    logarithmic, ends = metric.startswith("variance"), {}
    last = max(curve.index.max() for curve in curves.values())
    for name, values in curves.items():
        marker = "." if len(values) < 8 else None
        values = np.log(values) if logarithmic else values
        end = style.band(ax, values, name, linestyle=style.line(name), marker=marker)
        if name == style.base(name) and values.index.max() == last:
            ends[name] = end
    for name, series in paper.items():
        style.paper(ax, series.index, series, name)
    if not logarithmic:
        ax.set_ylim(*limits([*curves.values(), *(series.to_frame() for series in paper.values())]))
    style.end_labels(ax, ends, {name: f"{end:.1f}" for name, end in ends.items()})


def until(series: dict, last: float) -> pd.Series:
    """The paper's curve as far as ours go."""
    curve = pd.Series(series["y"], index=series["x"])
    return curve[curve.index <= last]


def limits(curves: list[pd.DataFrame]) -> tuple[float, float]:
    """The y axis without the first steep epochs, which would hide the differences later."""
    curves = [curve for curve in curves if len(curve)]
    late = [curve[curve.index >= min(curve.index.max() / 5, 10)] for curve in curves]
    low = min(curve.min().min() for curve in curves)
    high = max(max(curve.max().max() for curve in late), low)
    return low - 0.06 * (high - low), high + 0.03 * (high - low)


def settings(case: Path, runs: dict[str, VaeRun]) -> str:
    """What the figure's runs were trained with; runs with a tag name their own settings."""
    runs = {name: run for name, run in runs.items() if name == style.base(name)} or runs
    names: dict[str, list[str]] = {}  # by learning rate
    for name, run in runs.items():
        names.setdefault(f"{run.row['lr']:g}", []).append(style.label(name))
    usual, *others = sorted(names, key=lambda rate: -len(names[rate]))
    rate = "".join([usual, *(f"; {other} for {', '.join(names[other])}" for other in others)])
    seeds = sorted({run.seeds for run in runs.values()})
    counts = f"{seeds[0]} seed" if seeds == [1] else "/".join(map(str, seeds)) + " seeds"
    batch = config(f"preset/vae/{case.parent.name}").get("batch", Vae.batch)
    return f"batch {batch}, learning rate {rate}, {counts}"


# ---- the terms of RELAX's estimator ----

TERMS = {
    "reinforce_f": "score of f\nunbiased, high variance",
    "reinforce_c": "score of c\nbiased, high variance",
    "reparam_c": "reparameterized c\nbiased, low variance",
    "total": "RELAX: 1st - 2nd + 3rd\nunbiased, low variance",
}
TERM_COLOURS = {"reinforce_f": "reinforce", "total": "relax"}  # the others have REBAR's


def terms_figure(case: Path, path: Path) -> Path:
    """Histograms of each term of RELAX's estimator of one coordinate."""
    counts = read(case / "terms.csv").set_index("left")
    log_variance = read(case / "terms_variance.csv").set_index("term")["log_variance"]
    width = counts.index[1] - counts.index[0]
    fig, axes = plt.subplots(1, 4, figsize=(style.WIDTH, 3.4), sharey=True)
    for ax, (term, title) in zip(axes, TERMS.items(), strict=True):
        density = counts[term] / counts[term].sum() / width
        colour = style.colour(TERM_COLOURS.get(term, "rebar"))
        ax.bar(counts.index, density, width, align="edge", color=colour)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel(f"ln Var {log_variance[term]:.1f}")
        ax.set_xlim(-3, 3)
    axes[0].set_ylabel("density")
    axes[0].set_yscale("log")
    draws = number(counts["total"].sum(), 0)
    unit = "horizontal unit: the standard deviation of the first term"
    fig.supxlabel(f"one coordinate of the gradient, {draws} draws; {unit}", **TITLE)
    fell = log_variance["reinforce_f"] - log_variance["total"]
    title = f"ln Var falls by {fell:.1f} from the score term to the estimate"
    style.finding(fig, f"{style.case_title(case.name)}: {title}")
    return style.save(fig, path)


if __name__ == "__main__":
    style.command(main, __doc__)

"""Training by estimators of the literature and our own: the benchmark, and latents of classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scripts.intervals import Interval
from scripts.report.vae import MNIST, PAIR
from scripts.report.vae_tables import RELAXED, usual
from scripts.results import NOT_RUN, Results, mean_and_error, number, plural
from scripts.runs import VaeRun, best_run, compare, gap, shared_epochs
from scripts.style import case_title, label


class Comparison(NamedTuple):
    """A preset that compares estimators.

    against: the estimator with which the others are compared. named: the one that the figure's
    title compares with it; None is the best of the others. also: runs with a tag.
    """

    preset: str
    case: str
    against: str
    named: str | None = None
    also: tuple[str, ...] = ()


OURS = "unbiased_reinmax"
THREE = f"{OURS}-3"
DIRECT = ("rloo-direct", "relax-direct", "st_gumbel-direct")  # with the direct gradient of log q
BENCHMARK = Comparison("benchmark", "mnist-benchmark", OURS, also=(THREE,))
CATEGORICAL = Comparison("categorical", "mnist-categorical", "st_gumbel", "relax", DIRECT)
MILESTONES = (4_000, 20_000, 40_000, 60_000, 100_000)
COMPARISONS = {comparison.preset: comparison for comparison in (BENCHMARK, CATEGORICAL)}


def names_of(comparison: Comparison) -> list[str]:
    return [*usual(comparison.preset), *comparison.also]


def runs_of(results: Results, comparison: Comparison) -> dict[str, VaeRun]:
    """The runs that exist, by estimator."""
    place = (comparison.preset, comparison.case)
    runs = {name: best_run(results, *place, name) for name in names_of(comparison)}
    return {name: run for name, run in runs.items() if run}


def milliseconds(results: Results, comparison: Comparison, name: str) -> float:
    """Processor time of one training step; nan where it was not measured."""
    row = results.row(
        "bench/vae-steps.csv", preset=comparison.preset, estimator=name.removesuffix("-direct")
    )
    return row["milliseconds"] if row else np.nan


def at_epoch(run: VaeRun, epoch: float, metric: str = "train") -> np.ndarray:
    """A metric of all seeds at an epoch, linear between measurements."""
    curve = run.curve(metric)
    return np.array([np.interp(epoch, curve.index, curve[seed]) for seed in curve])


def shared_end(comparison: Comparison, runs: dict[str, VaeRun]) -> float:
    """The last epoch that all of a preset's estimators have reached; nan where there are none.

    Runs with a tag may be shorter.
    """
    shared = [run for name, run in runs.items() if name not in comparison.also]
    return shared_epochs(*shared) if shared else np.nan


def steps_per_epoch(run: VaeRun) -> float:
    return float(run.row["steps"]) / run.epochs


def equal_time(results: Results, comparison: Comparison, last: float) -> dict[str, float]:
    """Estimator -> the epoch it has reached when the fastest has reached the last one."""
    times = {name: milliseconds(results, comparison, name) for name in names_of(comparison)}
    return {name: last * min(times.values()) / time for name, time in times.items()}


def behind(
    run: VaeRun, other: VaeRun, epochs: tuple[float, float], metric: str = "train"
) -> Interval:
    """run's -ELBO minus that of the other, each at its epoch."""
    values = (at_epoch(run, epochs[0], metric), at_epoch(other, epochs[1], metric))
    return compare(run, other, *values)


def table(results: Results, comparison: Comparison) -> list[dict]:
    """Per estimator its -ELBO, and the difference at equal steps and at equal time.

    All are compared at the last epoch that they share, a shorter run with a tag at its own last.
    """
    runs = runs_of(results, comparison)
    last, ours = shared_end(comparison, runs), runs.get(comparison.against)
    reported = results.paper.get(f"table {comparison.preset}", {})
    rows = []
    for name in names_of(comparison):
        run = runs.get(name)
        end = min(last, run.epochs) if run else last
        epochs = equal_time(results, comparison, end)
        then = (epochs[name], epochs[comparison.against])
        shorter = f" ({number(end * steps_per_epoch(run), 0)} steps)" if end < last else ""
        row = {
            "estimator": label(name) + shorter,
            "training": "relaxed" if name in RELAXED and run else score(run, "train", end),
            "validation": score(run, "valid", end),
            "training, difference": difference(run, ours, (end, end), "train"),
            "validation, difference": difference(run, ours, (end, end), "valid"),
            "ms per step": number(milliseconds(results, comparison, name), 1),
            "training, difference at equal time": difference(run, ours, then, "train"),
            "ln Var, logits": log_variance(run, "logits", end),
            "ln Var, encoder": log_variance(run, "weights", end),
        }
        if reported:
            known = name in reported
            row["reported, 1 000 000 steps"] = number(reported[name], 2) if known else "none"
        rows.append(row)
    return rows


def score(run: VaeRun | None, metric: str, epoch: float) -> str:
    return mean_and_error(at_epoch(run, epoch, metric), 2) if run else NOT_RUN


def difference(
    run: VaeRun | None, ours: VaeRun | None, epochs: tuple[float, float], metric: str
) -> str:
    if run is None or ours is None:
        return NOT_RUN
    if run is ours or (metric == "train" and run.name in RELAXED):
        return "-"
    return behind(run, ours, epochs, metric).text(2) if np.isfinite(epochs).all() else NOT_RUN


def log_variance(run: VaeRun | None, what: str, epoch: float) -> str:
    if run is None:
        return NOT_RUN
    return number(np.log(at_epoch(run, epoch, f"variance_{what}")).mean(), 2)


def on_the_papers_models(results: Results) -> list[dict]:
    """REBAR's and RELAX's -ELBO minus that of ours after preset table1's twenty epochs."""
    rows = []
    for case in MNIST:
        ours = best_run(results, "table1", case, OURS)
        row = {"model": case_title(case), "seeds of ours": ours.seeds if ours else NOT_RUN}
        for name in PAIR:
            run = best_run(results, "table1", case, name)
            for metric, what in (("train", "training"), ("valid", "validation")):
                _, interval = gap(run, ours, metric)
                row[f"{label(name)}, {what}"] = interval.text(2) if interval else NOT_RUN
        rows.append(row)
    return rows


def length(results: Results, comparison: Comparison) -> str:
    """How long the runs are."""
    runs = runs_of(results, comparison)
    if not runs:
        return NOT_RUN
    some = next(iter(runs.values()))
    steps = number(shared_end(comparison, runs) * steps_per_epoch(some), 0)
    return f"{steps} steps, {plural(min(run.seeds for run in runs.values()), 'seed')}"


def finding(results: Results, comparison: Comparison) -> str:
    """An estimator's training -ELBO minus that of the compared one, at the shared end."""
    runs = runs_of(results, comparison)
    others = set(usual(comparison.preset)) - {comparison.against, *RELAXED}
    others = {comparison.named} if comparison.named else others
    if not {comparison.against, *others} <= runs.keys():
        return NOT_RUN
    last = shared_end(comparison, runs)
    named = min(others, key=lambda name: at_epoch(runs[name], last).mean())
    gap = behind(runs[named], runs[comparison.against], (last, last))
    steps = number(last * steps_per_epoch(runs[named]), 0)
    pair = f"{label(named)} minus {label(comparison.against)}"
    return f"-ELBO in training, {pair}: {gap.text(2)} nats after {steps} steps"


def gap_after(
    results: Results,
    comparison: Comparison,
    name: str,
    steps: int | None = None,
    against: str | None = None,
) -> str:
    """An estimator's training -ELBO minus that of another after some steps, or all.

    against: the other one, by default that of the comparison.
    """
    runs, against = runs_of(results, comparison), against or comparison.against
    if not {name, against} <= runs.keys():
        return NOT_RUN
    epoch = steps / steps_per_epoch(runs[name]) if steps else shared_end(comparison, runs)
    if epoch > shared_epochs(runs[name], runs[against]):
        return NOT_RUN
    return behind(runs[name], runs[against], (epoch, epoch)).text(2)


def through_training(results: Results, comparison: Comparison) -> list[dict]:
    """Per estimator the difference in training -ELBO after some numbers of steps."""
    others = [name for name in names_of(comparison) if name != comparison.against]
    return [course(results, comparison, name) for name in others]


def course(
    results: Results, comparison: Comparison, name: str, against: str | None = None
) -> dict[str, str]:
    """The difference to another estimator after some numbers of steps."""
    gaps = (gap_after(results, comparison, name, steps, against) for steps in MILESTONES)
    heads = [f"{number(steps, 0)} steps" for steps in MILESTONES]
    return {"estimator": label(name)} | dict(zip(heads, gaps, strict=True))


def of_three_samples(results: Results) -> list[dict]:
    """ARMS and Double CV against unbiased ReinMax with three samples as well."""
    return [
        course(results, BENCHMARK, name, THREE)
        | {"equal time": at_equal_time(results, BENCHMARK, name, THREE)}
        for name in ("arms", "double_cv")
    ]


def at_equal_time(results: Results, comparison: Comparison, name: str, against: str) -> str:
    """The difference at the processor time at which the first of two runs ends."""
    runs = runs_of(results, comparison)
    if not {name, against} <= runs.keys():
        return NOT_RUN
    pair = runs[name], runs[against]
    times = [milliseconds(results, comparison, n) for n in (name, against)]
    if not np.isfinite(times).all():
        return NOT_RUN
    end = min(run.epochs * time for run, time in zip(pair, times, strict=True))
    return behind(*pair, (end / times[0], end / times[1])).text(2)


def command(comparison: Comparison) -> str:
    return f"python -m experiments.vae preset=vae/{comparison.preset}"


def picture(results: Results, comparison: Comparison) -> str:
    stem = f"vae-{comparison.preset}-{comparison.case}-curves"
    caption = f"{finding(results, comparison)}."
    return results.picture(stem, caption, f"python -m scripts.vae_figures {comparison.preset}")

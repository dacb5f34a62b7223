"""The VAE's claims: which estimator is ahead, and by how much."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.vae.config import Vae
from scripts.intervals import Interval, mean
from scripts.report.claims import Cell, Claim
from scripts.results import Results, config, covers, curve, mean_and_error, number
from scripts.runs import VaeRun, best_run, compare, gap
from scripts.style import case_title, label

PAIR = ("rebar", "relax")
TABLE_1 = ("concrete", "nvil", "muprop", "rebar", "relax")  # the paper's columns
MODELS = ("linear1", "linear2", "nonlinear")
PAPER_CASES = tuple(f"{data}-{model}" for data in ("mnist", "omniglot") for model in MODELS)
MNIST, SMALL = (tuple(f"{d}-{m}" for m in MODELS) for d in ("mnist", "omniglot_small"))
FULL = config("preset/vae/paper")["steps"]
PAPER_EPOCHS = {"mnist": 950, "omniglot": 2080}  # where the paper's curves end
LONG_RATES = {  # of preset long; the first is REBAR's best of five
    "mnist-linear1": (1e-3, 5e-4),
    "mnist-linear2": (1e-3, 5e-4),
    "mnist-nonlinear": (5e-4,),
}
SHORT = (  # preset and case of the runs that are shorter than the paper's
    *(("long", case) for case in MNIST),
    *(("omniglot_small", case) for case in SMALL),
)
PAPER = tuple(("paper", case) for case in PAPER_CASES)
PLACES = (*PAPER, *SHORT)
TABLE_1_PLACES = (*PAPER, *(("table1", case) for case in MNIST))


def command(preset: str, case: str) -> str:
    data, model = case.split("-")
    words = ["python -m experiments.vae", f"preset=vae/{preset}", f"model={model}"]
    words += ["data=omniglot"] if data == "omniglot" else []
    if preset == "long":
        rates = ",".join(f"{rate:g}" for rate in LONG_RATES[case])
        words += ["seeds=8", f"'lr=[{rates}]'"]
    return " ".join(words)


def pair_of(
    results: Results, preset: str, case: str, names: tuple[str, ...] = PAIR
) -> list[VaeRun | None]:
    """The best runs of two estimators."""
    return [best_run(results, preset, case, name) for name in names]


def length(preset: str, case: str) -> int:
    """Epochs of a preset."""
    if preset == "paper":
        return PAPER_EPOCHS[case.split("-")[0]]
    return config(f"preset/vae/{preset}").get("epochs", Vae.epochs)


def where(preset: str, case: str, last: float | None) -> str:
    """MNIST linear1 (long, 100 epochs); the paper's length is not named."""
    if preset == "paper":
        return case_title(case)
    length = f", {last:.0f} epochs" if last else ""
    return f"{case_title(case)} ({preset}{length})"


def last_validation(*runs: VaeRun) -> float:
    """The last epoch at which all runs have a validation score."""
    return min(run.curve("valid").index[-1] for run in runs)


def is_full(*runs: VaeRun | None) -> bool:
    """Whether all runs have the paper's length."""
    return all(run is not None and run.row["steps"] >= FULL for run in runs)


# ---- the paper's curves ----


def paper_gap(
    results: Results,
    case: str,
    metric: str,
    last: float,
    names: tuple[str, ...] = PAIR,
    lowest: bool = False,
) -> str:
    """The paper's difference of two curves at an epoch, or of their lowest points until then."""
    if case not in PAPER_CASES:
        return "other data"
    series, ends = results.paper_series(f"curves {case}"), []
    for name in names:
        line = series.get(f"{name} {metric}", {"x": [], "y": []})
        shown = [y for x, y in zip(line["x"], line["y"], strict=True) if x <= last + 0.5]
        if not shown:
            return "off the figure"
        ends.append(min(shown) if lowest else shown[-1])
    return number(ends[0] - ends[1], 2)


def paper_at(series: dict | None, epoch: float) -> str:
    """The height of a curve of the paper at an epoch."""
    if series is None:
        return "none"
    return number(curve(series, epoch), 2) if covers(series, epoch) else "off the figure"


# ---- claims ----


def claims(results: Results) -> list[Claim]:
    linear = [place for place in PLACES if not place[1].endswith("nonlinear")]
    nonlinear = [place for place in PLACES if place[1].endswith("nonlinear")]
    return [
        Claim(
            "RELAX converges faster than REBAR on every VAE",
            "REBAR's training -ELBO minus RELAX's at the last epoch, nats.",
            [training(results, *place) for place in PLACES],
        ),
        Claim(
            "RELAX reaches the highest training ELBO (Table 1)",
            "The best other estimator's training -ELBO minus RELAX's, nats. Concrete is left out: "
            "it trains on relaxed samples, and its number is not a bound for the discrete model.",
            [best(results, *place) for place in TABLE_1_PLACES],
        ),
        Claim(
            "RELAX is better on validation where the model is linear",
            "REBAR's best validation -ELBO minus RELAX's, nats.",
            [validation(results, *place, PAIR) for place in linear],
        ),
        Claim(
            "RELAX is worse on validation where the model is nonlinear, where it overfits",
            "RELAX's best validation -ELBO minus REBAR's, nats.",
            [validation(results, *place, PAIR[::-1]) for place in nonlinear],
        ),
        Claim(
            "RELAX reaches REBAR's validation score in fewer epochs (linear models)",
            "RELAX's epochs until it reaches the validation score that REBAR has at half of the "
            "run, divided by those epochs (1 means no difference, 2 is the most possible); paired "
            "seeds. The paper counts the epochs to REBAR's best score.",
            [epochs(results, *place) for place in linear],
        ),
        terms(results),
    ]


def training(results: Results, preset: str, case: str) -> Cell:
    """REBAR minus RELAX at the last epoch that both have, the paper's at the same epoch."""
    pair = pair_of(results, preset, case)
    last, ours = gap(*pair, "train")
    paper = paper_gap(results, case, "train", length(preset, case) if ours is None else last)
    place = where(preset, case, last if ours else None)
    return Cell(place, paper, ours, above=0.0, full=is_full(*pair))


def validation(results: Results, preset: str, case: str, names: tuple[str, ...]) -> Cell:
    """The first estimator minus the second, each at its best epoch of those that both have run.

    The paper's numbers at full length are from its table.
    """
    pair, last, ours = pair_of(results, preset, case, names), None, None
    if all(pair):
        last = last_validation(*pair)
        ours = compare(*pair, *(run.curve("valid").loc[:last].min() for run in pair))
    paper = paper_gap(results, case, "valid", last or length(preset, case), names, lowest=True)
    if preset == "paper":
        table = results.paper["table validation"][case]
        paper = number(table[names[0]] - table[names[1]], 2)
    return Cell(where(preset, case, last), paper, ours, above=0.0, full=is_full(*pair))


def best(results: Results, preset: str, case: str) -> Cell:
    """The best of the others minus RELAX in training -ELBO at the end."""
    names = TABLE_1[1:]
    runs = {name: best_run(results, preset, case, name) for name in names}
    table = results.paper["table training"][case]
    ours, note = None, ""
    if all(runs.values()):
        ends = {name: run.curve("train").iloc[-1] for name, run in runs.items()}
        second = min(names[:-1], key=lambda name: ends[name].mean())
        ours = compare(runs[second], runs["relax"], ends[second], ends["relax"])
        note = f"best other: {label(second)}"
    paper = number(min(table[name] for name in names[:-1]) - table["relax"], 2)
    paper += "" if preset == "paper" else " at full length"
    full, last = is_full(*runs.values()), runs["relax"] and runs["relax"].epochs
    return Cell(where(preset, case, last), paper, ours, above=0.0, full=full, note=note)


def epochs(results: Results, preset: str, case: str) -> Cell:
    """Per seed: the epochs until RELAX's validation score is REBAR's at half of the shared run."""
    pair, last, ours = pair_of(results, preset, case), None, None
    if all(pair):
        rebar, relax = (run.curve("valid") for run in pair)
        last = last_validation(*pair)
        half, relax = last / 2, relax.loc[:last]
        seeds = range(min(rebar.shape[1], relax.shape[1]))
        targets = [np.interp(half, rebar.index, rebar.iloc[:, seed]) for seed in seeds]
        times = [first_time(relax.iloc[:, seed], targets[seed]) for seed in seeds]
        ours = mean(np.array(times) / half)
    table = results.paper["table epochs"].get(case)
    paper = f"{table['relax']} / {table['rebar']} epochs to REBAR's best" if table else "other data"
    full = is_full(*pair)
    return Cell(where(preset, case, last), paper, ours, below=1.0, digits=3, full=full)


def first_time(curve: pd.Series, target: float) -> float:
    """When a curve first falls to the target, linear between measurements; else its end."""
    epochs, values = curve.index, curve.to_numpy()
    below = np.flatnonzero(values <= target)
    if not len(below):
        return float(epochs[-1])
    last = below[0]
    first = max(last - 1, 0)
    return float(np.interp(-target, -values[first : last + 1], epochs[first : last + 1]))


def terms(results: Results) -> Claim:
    """The histogram figure: the score term is noisy, the whole estimator is not."""
    place = "vae/variance/mnist-linear1/"
    rows = {row["term"]: row for row in results.rows(f"{place}terms_variance.csv")}
    counts, ours = results.table(f"{place}terms.csv"), None
    if rows and counts is not None:
        value = rows["reinforce_f"]["log_variance"] - rows["total"]["log_variance"]
        reach = 1.96 * 2 / counts["total"].sum() ** 0.5  # two log-variances of normal draws
        ours = Interval(value, value - reach, value + reach)
    theirs = results.paper["table terms"]
    paper = np.log(theirs["reinforce_f"] / theirs["total"])
    return Claim(
        "The score term is noisy, and the control variate removes nearly all of its noise",
        "ln Var of the score term with f minus ln Var of the whole estimator, one coordinate; "
        "the interval is over draws. The paper's is from 10 000 draws in the authors' repository.",
        [
            Cell(
                "MNIST linear1 after 6 000 steps",
                number(paper, 1),
                ours,
                above=0.0,
                digits=1,
                full=False,
                note="one trained model",
            )
        ],
    )


def headline(results: Results) -> list[tuple[str, str, str]]:
    """Rows of the front page's table: what, the paper's number, ours."""
    case, epoch = "mnist-linear1", length("long", "mnist-linear1")
    series, rows = results.paper_series(f"curves {case}"), []
    for name in PAIR:
        run = best_run(results, "long", case, name)
        for metric, what in (("train", "training"), ("valid", "validation")):
            ours = mean_and_error(run.at(metric, epoch) if run else None, 2)
            text = f"VAE, {case_title(case)}: {what} -ELBO at epoch {epoch}, {label(name)}"
            rows.append((text, paper_at(series[f"{name} {metric}"], epoch), ours))
    return rows

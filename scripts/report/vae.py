"""The VAE's claims: which estimator is ahead, and by how much."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.vae.config import Vae
from scripts.intervals import Interval, difference, mean, paired
from scripts.report.claims import Cell, Claim
from scripts.results import Results, config, covers, curve, mean_and_error, number
from scripts.runs import VaeRun, best_run
from scripts.style import case_title, label

MODELS = ("linear1", "linear2", "nonlinear")
PAPER_CASES = tuple(f"{data}-{model}" for data in ("mnist", "omniglot") for model in MODELS)
MNIST, SMALL = (tuple(f"{d}-{m}" for m in MODELS) for d in ("mnist", "omniglot_small"))
FULL = config("preset/vae/paper")["steps"]
PAPER_EPOCHS = {"mnist": 950, "omniglot": 2080}  # where the paper's curves end
TABLE_1 = ("concrete", "nvil", "muprop", "rebar", "relax")  # the paper's columns
LONG_RATES = {  # of preset long; the first is REBAR's best of five
    "mnist-linear1": "1e-3,5e-4",
    "mnist-linear2": "1e-3,5e-4",
    "mnist-nonlinear": "5e-4",
}
SHORT = (
    *(("long", case) for case in MNIST),
    *(("quick", case) for case in MNIST),
    *(("table1", case) for case in MNIST),
    *(("omniglot_small", case) for case in SMALL),
)
PLACES = (*(("paper", case) for case in PAPER_CASES), *SHORT)


def compare(a: VaeRun, b: VaeRun, of_a: np.ndarray, of_b: np.ndarray) -> Interval:
    """The mean of a's numbers minus b's, over paired seeds if the runs have the same seeds."""
    return paired(of_a, of_b) if a.seed == b.seed else difference(of_a, of_b)


def pair_of(results: Results, preset: str, case: str) -> list[VaeRun | None]:
    """REBAR's and RELAX's best runs."""
    return [best_run(results, preset, case, name) for name in ("rebar", "relax")]


def where(preset: str, case: str, run: VaeRun | None) -> str:
    """MNIST linear1 (long, 100 epochs); the paper's length is not named."""
    if preset == "paper":
        return case_title(case)
    length = f", {run.epochs:.0f} epochs" if run else ""
    return f"{case_title(case)} ({preset}{length})"


def is_full(*runs: VaeRun | None) -> bool:
    """Whether all runs have the paper's length."""
    return all(run is not None and run.row["steps"] >= FULL for run in runs)


def shared_epochs(*runs: VaeRun) -> float:
    """The last epoch that all runs have reached, so that none is given more training."""
    return min(run.epochs for run in runs)


def length(preset: str, case: str) -> int:
    """Epochs of a preset."""
    if preset == "paper":
        return PAPER_EPOCHS[case.split("-")[0]]
    return config(f"preset/vae/{preset}").get("epochs", Vae.epochs)


def command(preset: str, case: str) -> str:
    data, model = case.split("-")
    text = f"python -m experiments.vae preset=vae/{preset} model={model}"
    if data == "omniglot":
        text += " data=omniglot"
    if preset == "long":
        text += f" seeds=8 'estimator=[rebar,relax]' 'lr=[{LONG_RATES[case]}]'"
    return text


def paper_curves(results: Results, case: str, metric: str, last: float) -> list[pd.Series]:
    """The paper's REBAR and RELAX curves up to an epoch; empty where they begin later."""
    series = results.paper_series(f"curves {case}")
    curves = []
    for name in ("rebar", "relax"):
        line = series.get(f"{name} {metric}", {"x": [], "y": []})
        values = pd.Series(line["y"], index=line["x"], dtype=float)
        curves.append(values[values.index <= last + 0.5])
    return curves


def paper_gap(case: str, rebar: pd.Series, relax: pd.Series, sign: int = 1) -> str:
    """The paper's REBAR minus its RELAX, each at the last value; -1 turns the sign."""
    if case not in PAPER_CASES:
        return "other data"
    if not (len(rebar) and len(relax)):
        return "off the figure"
    return number(sign * (rebar.iloc[-1] - relax.iloc[-1]), 2)


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
            "in training it sees relaxed samples, and its number is no bound of the model's.",
            [best(results, *p) for p in PLACES if p[0] in ("paper", "quick", "table1")],
        ),
        Claim(
            "RELAX is better on validation where the model is linear",
            "REBAR's best validation -ELBO minus RELAX's, nats.",
            [validation(results, *place) for place in linear],
        ),
        Claim(
            "RELAX overfits more where the model is nonlinear",
            "RELAX's best validation -ELBO minus REBAR's, nats.",
            [validation(results, *place, sign=-1) for place in nonlinear],
        ),
        Claim(
            "RELAX reaches REBAR's validation score in fewer epochs (linear models)",
            "RELAX's epochs until its validation score is REBAR's at half of the run, over that "
            "half (1 is no difference, 2 the most it can be); paired seeds. The paper counts the "
            "epochs to REBAR's best score.",
            [epochs(results, *p) for p in linear if p[0] not in ("quick", "table1")],
        ),
        terms(results),
    ]


def training(results: Results, preset: str, case: str) -> Cell:
    """REBAR minus RELAX at the last epoch that both have, the paper's at the same epoch."""
    pair, last, ours = pair_of(results, preset, case), length(preset, case), None
    if all(pair):
        last, ours = gap(*pair, "train")
    paper = paper_gap(case, *paper_curves(results, case, "train", last))
    return Cell(where(preset, case, pair[1]), paper, ours, above=0.0, full=is_full(*pair))


def gap(a: VaeRun | None, b: VaeRun | None, metric: str) -> tuple[float, Interval | None]:
    """The last epoch at which both have the metric, and a's mean minus b's there."""
    if a is None or b is None:
        return np.nan, None
    epoch = float(a.curve(metric).index.intersection(b.curve(metric).index)[-1])
    return epoch, compare(a, b, a.at(metric, epoch), b.at(metric, epoch))


def validation(results: Results, preset: str, case: str, sign: int = 1) -> Cell:
    """REBAR minus RELAX, each at its best epoch of those that both have run; -1 turns the sign.

    The paper's numbers at full length are its table's.
    """
    pair, last, ours = pair_of(results, preset, case), length(preset, case), None
    if all(pair):
        last = shared_epochs(*pair)
        lowest = [run.curve("valid").loc[:last].min() for run in pair[::sign]]
        ours = compare(*pair[::sign], *lowest)
    theirs = [curve.cummin() for curve in paper_curves(results, case, "valid", last)]
    if preset == "paper":
        table = results.paper["table validation"][case]
        theirs = [pd.Series(table[name]) for name in ("rebar", "relax")]
    paper = paper_gap(case, *theirs, sign)
    return Cell(where(preset, case, pair[1]), paper, ours, above=0.0, full=is_full(*pair))


def best(results: Results, preset: str, case: str) -> Cell:
    """The best of the others minus RELAX in training -ELBO at the end."""
    names = ("nvil", "rebar", "relax") if preset == "quick" else TABLE_1[1:]
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
    full = is_full(*runs.values())
    return Cell(where(preset, case, runs["relax"]), paper, ours, above=0.0, full=full, note=note)


def epochs(results: Results, preset: str, case: str) -> Cell:
    """Per seed: the epochs until RELAX's validation score is REBAR's at half of the shared run."""
    pair, ours = pair_of(results, preset, case), None
    if all(pair):
        rebar, relax = (run.curve("valid") for run in pair)
        last = shared_epochs(*pair)
        half, relax = last / 2, relax.loc[:last]
        seeds = range(min(rebar.shape[1], relax.shape[1]))
        targets = [np.interp(half, rebar.index, rebar.iloc[:, seed]) for seed in seeds]
        times = [first_time(relax.iloc[:, seed], targets[seed]) for seed in seeds]
        ours = mean(np.array(times) / half)
    table = results.paper["table epochs"].get(case)
    paper = f"{table['relax']} / {table['rebar']} epochs to REBAR's best" if table else "other data"
    return Cell(where(preset, case, pair[1]), paper, ours, below=1.0, full=is_full(*pair))


def first_time(curve: pd.Series, target: float) -> float:
    """When a curve first falls to the target, linear between measurements; else its end."""
    epochs, values = curve.index, curve.to_numpy()
    below = np.flatnonzero(values <= target)
    if not len(below):
        return float(epochs[-1])
    i = below[0]
    if i == 0:
        return float(epochs[0])
    share = (values[i - 1] - target) / (values[i - 1] - values[i])
    return float(epochs[i - 1] + share * (epochs[i] - epochs[i - 1]))


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
        "The score term is noisy, and the control variate takes nearly all of its noise away",
        "ln Var of the score term with f minus ln Var of the whole estimator, one coordinate; "
        "the interval is over draws. The paper's is of 10 000 draws in the authors' repository.",
        [Cell("MNIST linear1 after 6 000 steps", number(paper, 1), ours, above=0.0, digits=1)],
    )


def headline(results: Results) -> list[tuple[str, str, str]]:
    """Rows of the front page's table: what, the paper's number, ours."""
    case, epoch = "mnist-linear1", length("long", "mnist-linear1")
    series, rows = results.paper_series(f"curves {case}"), []
    for name in ("rebar", "relax"):
        run = best_run(results, "long", case, name)
        for metric, what in (("train", "training"), ("valid", "validation")):
            ours = mean_and_error(run.at(metric, epoch) if run else None, 2)
            text = f"VAE, {case_title(case)}: {what} -ELBO at epoch {epoch}, {label(name)}"
            rows.append((text, paper_at(series[f"{name} {metric}"], epoch), ours))
    return rows

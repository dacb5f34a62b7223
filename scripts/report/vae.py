"""The VAE's claims, from the runs under results/vae: which estimator is ahead, and by how much."""

from __future__ import annotations

import numpy as np

from scripts.report.claims import Cell, Claim, Interval, difference, mean, paired
from scripts.report.read import Results, number, plus_minus
from scripts.style import label

DATA = {"mnist": "MNIST", "omniglot": "Omniglot"}
MODELS = ("linear1", "linear2", "nonlinear")
CASES = tuple(f"{data}-{model}" for data in DATA for model in MODELS)
FULL = 2_000_000  # steps of the paper's runs
PAPER_EPOCHS = {"mnist": 950, "omniglot": 2080}  # where its curves end
LENGTHS = {"long": 100, "quick": 20}  # epochs
TABLE_1 = ("concrete", "nvil", "muprop", "rebar", "relax")
LONG = {  # rates of the runs of 100 epochs; the first is REBAR's best of five
    "mnist-linear1": "1e-3,5e-4",
    "mnist-linear2": "1e-3,5e-4",
    "mnist-nonlinear": "5e-4",
}
SHORT = (*(("long", case) for case in LONG), *(("quick", f"mnist-{model}") for model in MODELS))


class Arm:
    """One estimator at its best learning rate: its curves and its row of summary.csv."""

    def __init__(self, table: dict, row: dict):
        here = np.isclose(table["lr"], row["lr"])
        self.row, self.steps = row, int(row["steps"])
        self.table = {name: column[here] for name, column in table.items()}
        self.seed = np.unique(self.table["seed"])
        self.seeds = len(self.seed)

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(epochs [points], values [points, seeds]) where it was measured."""
        values = self.table[name].reshape(-1, self.seeds)
        there = ~np.isnan(values).any(axis=1)
        return self.table["epoch"].reshape(-1, self.seeds)[there, 0], values[there]

    def at(self, name: str, epoch: float) -> np.ndarray | None:
        """The values of all seeds at an epoch, None where it was not measured."""
        epochs, values = self.curve(name)
        found = np.flatnonzero(np.isclose(epochs, epoch))
        return values[found[0]] if len(found) else None


def arm(results: Results, preset: str, case: str, estimator: str) -> Arm | None:
    table = results.table(f"vae/{preset}/{case}/{estimator}.csv")
    rows = results.rows(f"vae/{preset}/{case}/summary.csv")
    rows = [row for row in rows if row["estimator"] == estimator and np.isfinite(row["valid"])]
    if table is None or not rows:
        return None
    return Arm(table, min(rows, key=lambda row: row["valid"]))


def compare(a: Arm, b: Arm, of_a: np.ndarray, of_b: np.ndarray) -> Interval:
    """The mean of a's numbers minus b's, over paired seeds where they share them."""
    shared = np.array_equal(a.seed, b.seed)
    return paired(of_a, of_b) if shared else difference(of_a, of_b)


def where(preset: str, case: str, found: Arm | None) -> str:
    """MNIST linear1 (long, 100 epochs); the paper's length is not named"""
    data, model = case.split("-")
    if preset == "paper":
        return f"{DATA[data]} {model}"
    length = f", {found.table['epoch'].max():.0f} epochs" if found else ""
    return f"{DATA[data]} {model} ({preset}{length})"


def shared_epochs(*found: Arm) -> float:
    """The last epoch that all have reached, so that none is given more training."""
    return float(min(arm.table["epoch"].max() for arm in found))


def command(preset: str, case: str) -> str:
    data, model = case.split("-")
    given = f"preset=vae/{preset} model={model}"
    given += " data=omniglot" if data == "omniglot" else ""
    given += f" seeds=8 'estimator=[rebar,relax]' 'lr=[{LONG[case]}]'" if preset == "long" else ""
    return f"python -m experiments.vae {given}"


PLACES = (*(("paper", case) for case in CASES), *SHORT)


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
            "while it trains it sees relaxed samples, and its number bounds nothing.",
            [best(results, *place) for place in PLACES if place[0] != "long"],
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
            [epochs(results, *place) for place in linear if place[0] != "quick"],
        ),
        terms(results),
    ]


def training(results: Results, preset: str, case: str) -> Cell:
    """REBAR minus RELAX at the last epoch that both have, the paper's at the same epoch."""
    pair = [arm(results, preset, case, name) for name in ("rebar", "relax")]
    last, ours, full = length(preset, case), None, False
    if all(pair):
        last = float(np.intersect1d(*(found.curve("train")[0] for found in pair))[-1])
        ours = compare(*pair, *(found.at("train", last) for found in pair))
        full = all(found.steps >= FULL for found in pair)
    there = paper_curve(results, case, "train", last)
    paper = number(there[0][-1] - there[1][-1], 2) if all(map(len, there)) else "off the figure"
    return Cell(where(preset, case, pair[1]), paper, ours, above=0.0, full=full)


def validation(results: Results, preset: str, case: str, sign: int = 1) -> Cell:
    """REBAR minus RELAX, each at its best epoch of those that both have run; the paper's at full
    length its table's."""
    pair = [arm(results, preset, case, name) for name in ("rebar", "relax")]
    last, ours, full = length(preset, case), None, False
    if all(pair):
        last, lowest = shared_epochs(*pair), []
        for found in pair[::sign]:
            at, values = found.curve("valid")
            lowest.append(values[at <= last].min(axis=0))
        ours = compare(*pair[::sign], *lowest)
        full = all(found.steps >= FULL for found in pair)
    there = paper_curve(results, case, "valid", last)
    if preset == "paper":
        table = results.paper["table validation"][case]
        there = [table["rebar"]], [table["relax"]]
    known = all(map(len, there))
    paper = number(sign * (min(there[0]) - min(there[1])), 2) if known else "off the figure"
    return Cell(where(preset, case, pair[1]), paper, ours, above=0.0, full=full)


def length(preset: str, case: str) -> int:
    """Epochs of a preset."""
    return LENGTHS.get(preset, PAPER_EPOCHS[case.split("-")[0]])


def paper_curve(results: Results, case: str, metric: str, last: float) -> list[np.ndarray]:
    """The paper's REBAR and RELAX curves up to an epoch; empty where they begin later."""
    lines = (results.paper[f"curves {case}"]["series"][f"{n} {metric}"] for n in ("rebar", "relax"))
    return [np.array(line["y"])[np.array(line["x"]) <= last + 0.5] for line in lines]


def best(results: Results, preset: str, case: str) -> Cell:
    """The best of the others minus RELAX in training -ELBO at the end."""
    names = TABLE_1[1:] if preset == "paper" else ("nvil", "rebar", "relax")
    found = {name: arm(results, preset, case, name) for name in names}
    table = results.paper["table training"][case]
    paper = min(table[name] for name in names[:-1]) - table["relax"]
    ours, full, note = None, False, ""
    if all(found.values()):
        ends = {name: f.curve("train")[1][-1] for name, f in found.items()}
        second = min(names[:-1], key=lambda name: ends[name].mean())
        ours = compare(found[second], found["relax"], ends[second], ends["relax"])
        note = f"best other: {label(second)}"
        full = all(f.steps >= FULL for f in found.values())
    place = where(preset, case, found["relax"])
    theirs = number(paper, 2) + ("" if preset == "paper" else " at full length")
    return Cell(place, theirs, ours, above=0.0, full=full, note=note)


def epochs(results: Results, preset: str, case: str) -> Cell:
    """Per seed: the epochs until RELAX's validation score is REBAR's at half of the shared run."""
    pair = [arm(results, preset, case, name) for name in ("rebar", "relax")]
    table = results.paper["table epochs"][case]
    ours = None
    if all(pair):
        (slow, rebar), (fast, relax) = (found.curve("valid") for found in pair)
        half, last = shared_epochs(*pair) / 2, shared_epochs(*pair)
        seeds = range(min(rebar.shape[1], relax.shape[1]))
        targets = [np.interp(half, slow, rebar[:, s]) for s in seeds]
        reached = fast <= last
        times = [first_time(fast[reached], relax[reached, s], targets[s]) for s in seeds]
        ours = mean(np.array(times) / half)
    full = all(found is not None and found.steps >= FULL for found in pair)
    paper = f"{table['relax']} / {table['rebar']} epochs to REBAR's best"
    return Cell(where(preset, case, pair[1]), paper, ours, below=1.0, full=full)


def first_time(epochs: np.ndarray, values: np.ndarray, target: float) -> float:
    """When a curve first falls to the target, linear between measurements; else its end."""
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
    """Rows of the README's small table."""
    series, rows = results.paper["curves mnist-linear1"]["series"], []
    for name in ("rebar", "relax"):
        for metric, what in (("train", "training"), ("valid", "validation")):
            found = arm(results, "long", "mnist-linear1", name)
            values = found.at(metric, 100) if found else None
            line = series[f"{name} {metric}"]
            paper = number(np.interp(100, line["x"], line["y"]), 2)
            text = f"VAE, MNIST linear1: {what} -ELBO at epoch 100, {label(name)}"
            rows.append((text, paper, number(None, 2) if values is None else spread(values)))
    return rows


def spread(values: np.ndarray) -> str:
    """Mean over seeds ± standard error."""
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else None
    return plus_minus(values.mean(), error, 2)

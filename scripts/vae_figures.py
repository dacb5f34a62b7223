"""The VAE's figures and tables from its CSV files: python -m scripts.vae_figures quick

For every case of the preset: -ELBO while training and on validation and the log-variance of the
gradient, with the paper's curves over them, and results/vae/<preset>/<case>/table.md. With several
learning rates the curves are the best one's, and the validation score is drawn against the rate;
for preset=variance the estimators' variances at the same weights and the histograms of RELAX's
terms.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from experiments.run.errors import UserError, check
from experiments.run.files import read_table, write_whole
from scripts import style
from scripts.media import shown

ORDER = ("reinforce", "nvil", "muprop", "concrete", "straight_through", "rebar", "relax")
RELAXED = ("concrete",)  # trains on a relaxed objective, which is no bound of the discrete model
TITLE = {"fontsize": 10.5}
STEPS = {"mnist": 2083, "digits": 54}  # per epoch of 24
SPAN = 40  # nats above the best that the picture of the rates shows


@style.applied()
def main(preset: str, results: Path, runs: Path = Path("runs")) -> None:
    folder = results / "vae" / preset
    cases = sorted(case for case in folder.glob("*-*") if list(case.glob("*.csv")))
    check(cases, f"{folder} holds no results: python -m experiments.vae preset=vae/{preset}")
    for case in cases:
        stem = results / "figures" / f"vae-{preset}-{case.name}"
        with shown(runs, "vae", preset, case.name) as show:
            for picture in figures(case, stem):
                show(picture)
        if (case / "summary.csv").exists():
            write_whole(case / "table.md", table(preset, case, published()).encode())
        print(f"{stem}-*.png")


def figures(case: Path, stem: Path) -> Iterator[Path]:
    """Draw what the case has results for."""
    if (case / "variance.csv").exists():
        yield variance_figure(case, Path(f"{stem}-estimators"))
        if (case / "terms.csv").exists():
            yield terms_figure(case, Path(f"{stem}-terms"))
        return
    if len(all_rows(case)) > len(best_rows(case)):
        yield rates_figure(case, Path(f"{stem}-rates"))
    yield curves_figure(case, published(), Path(f"{stem}-curves"))


def published() -> dict:
    """What the paper's figures and tables say."""
    file = Path(__file__).parents[1] / "results" / "paper" / "vae.json"
    return json.loads(file.read_text())


def load(case: Path) -> dict[str, dict[str, np.ndarray]]:
    """estimator -> the columns of its best learning rate, the usual estimators first."""
    files = {file.stem: file for file in case.glob("*.csv") if file.stem != "summary"}
    names = [*(n for n in ORDER if n in files), *sorted(files.keys() - {*ORDER})]
    best = chosen(case)
    tables = {name: read_table(files[name]) for name in names}
    return {
        name: {key: column[np.isclose(table["lr"], best[name])] for key, column in table.items()}
        for name, table in tables.items()
    }


def chosen(case: Path) -> dict[str, float]:
    """estimator -> the learning rate with the best validation -ELBO."""
    return {row["estimator"]: float(row["lr"]) for row in best_rows(case)}


def all_rows(case: Path) -> list[dict]:
    """The rows of summary.csv, the usual estimators first."""
    table = read_table(case / "summary.csv")
    rows = [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]
    order = {name: i for i, name in enumerate(ORDER)}
    return sorted(rows, key=lambda r: (order.get(r["estimator"], 99), r["estimator"], r["lr"]))


def best_rows(case: Path) -> list[dict]:
    """Of each estimator the row with the best validation -ELBO; a diverged rate has none."""
    best: dict[str, dict] = {}
    for row in all_rows(case):
        held = best.get(row["estimator"])
        if held is None or np.isnan(held["valid"]) or row["valid"] < held["valid"]:
            best[row["estimator"]] = row
    return list(best.values())


def curve(table: dict[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """(epochs [points], values [points, seeds]) where the metric was measured."""
    seeds = len(np.unique(table["seed"]))
    if name not in table:
        return np.empty(0), np.empty((0, seeds))
    values, epochs = table[name].reshape(-1, seeds), table["epoch"].reshape(-1, seeds)[:, 0]
    there = ~np.isnan(values).all(axis=1)
    return epochs[there], values[there]


# ---- curves ----

METRICS = {  # column -> title
    "train": "-ELBO in training, nats",
    "valid": "-ELBO on validation",
    "variance_weights": "ln Var, encoder's gradient",
}


def curves_figure(case: Path, paper: dict, path: Path) -> Path:
    tables = load(case)
    metrics = {
        m: t for m, t in METRICS.items() if any(len(curve(x, m)[0]) for x in tables.values())
    }
    fig, axes = plt.subplots(1, len(metrics), figsize=(style.WIDTH, 4.2))
    series = paper.get(f"curves {case.name}", {}).get("series", {})
    for ax, (metric, title) in zip(axes, metrics.items(), strict=True):
        ax.set_title(title)
        ax.set_xlabel("epoch")
        ends = {}
        for name, table in tables.items():
            epochs, values = curve(table, metric)
            if not len(epochs) or (name in RELAXED and metric == "train"):
                continue
            values = np.log(values) if metric.startswith("variance") else values
            marks = {"linestyle": style.line(name), "marker": "." if len(epochs) < 8 else None}
            median = style.band(ax, epochs, values, name, **marks)
            ends[name] = (median[-1], f"{median[-1]:.1f}")
        limits(ax, metric, tables)
        last = max((table["epoch"].max() for table in tables.values()), default=1)
        for name in ("rebar", "relax"):
            line = series.get(f"{name} {metric}")
            if line and name in tables:
                x, y = np.array(line["x"]), np.array(line["y"])
                style.paper(ax, x[x <= last], y[x <= last], name)
        style.end_labels(ax, ends, named=False)
    shown = any(np.array(line["x"]).min() <= last for line in series.values())
    style.legend(fig, tables, "the paper: one run" if shown else "")
    fig.suptitle(f"{named(case)}, {settings(case)}", **TITLE)
    return style.save(fig, path)


def named(case: Path) -> str:
    """mnist-linear1 -> MNIST linear1"""
    data, model = case.name.split("-")
    return f"{data.upper() if data == 'mnist' else data.title()} {model}"


def limits(ax, metric: str, tables: dict) -> None:
    """Leave out the first steep epochs, so that the estimators can be told apart."""
    if metric.startswith("variance"):
        return
    late = []
    for name, table in tables.items():
        epochs, values = curve(table, metric)
        if name in RELAXED and metric == "train":
            continue
        late.append(np.nanmax(values[epochs >= min(epochs.max() / 5, 10)], initial=-np.inf))
        late.append(np.nanmin(values, initial=np.inf))
    low, high = min(late), max(v for v in late if np.isfinite(v))
    ax.set_ylim(low - 0.06 * (high - low), high + 0.03 * (high - low))


def settings(case: Path) -> str:
    """What the usual estimators were trained with; a run with a tag names what is its own."""
    rows = [row for row in best_rows(case) if row["estimator"] in ORDER] or best_rows(case)
    rates = {style.label(row["estimator"]): f"{float(row['lr']):g}" for row in rows}
    same = len(set(rates.values())) == 1
    told = next(iter(rates.values())) if same else ", ".join(f"{k} {v}" for k, v in rates.items())
    seeds = sorted({int(row["seeds"]) for row in rows})
    many = "/".join(map(str, seeds))
    return f"batch 24, learning rate {told}, {many} seed{'s' * (seeds != [1])}"


def rates_figure(case: Path, path: Path) -> Path:
    table = read_table(case / "summary.csv")
    fig, ax = plt.subplots(figsize=(style.WIDTH, 4))
    low = np.nanmin(table["valid"])
    ends, top = {}, min(np.nanmax(table["valid"]), low + SPAN)
    for name in dict.fromkeys(table["estimator"].tolist()):
        mine = table["estimator"] == name
        order = np.argsort(table["lr"][mine])
        x, y = table["lr"][mine][order], table["valid"][mine][order]
        line = {"color": style.colour(name), "linestyle": style.line(name)}
        ax.plot(x, y, marker="o", linewidth=2, **line)
        best = np.nanargmin(y)
        ends[name] = (min(y[-1], top), f": best {y[best]:.1f} at {x[best]:g}")
    ax.set_xscale("log")
    ax.set_ylim(low - 0.1 * (top - low), top + 0.1 * (top - low))
    ax.set_xlabel("learning rate")
    ax.set_ylabel("-ELBO on validation, nats")
    epochs = int(table["steps"].max()) // STEPS.get(case.name.split("-")[0], 2083)
    seeds = int(table["seeds"].max())
    many = "1 seed" if seeds == 1 else f"{seeds} seeds"
    ax.set_title(f"{named(case)} after {epochs} epochs, by learning rate ({many} each)")
    style.end_labels(ax, ends)
    return style.save(fig, path)


# ---- the same weights ----

BIASED = ("concrete", "straight_through")


def variance_figure(case: Path, path: Path) -> Path:
    table = read_table(case / "variance.csv")
    order = np.argsort(table["variance_logits"])[::-1]
    names, values = table["estimator"][order].tolist(), table["variance_logits"][order]
    reference = table["variance_logits"][table["estimator"] == "reinforce_loo2"][0]
    fig, ax = plt.subplots(figsize=(style.WIDTH, 4.2))
    for y, (name, value) in enumerate(zip(names, values, strict=True)):
        hatch = "///" if name in BIASED else None
        base = name if name in style.COLOURS else name.split("_")[0]
        ax.barh(y, value, color=style.colour(base), alpha=0.85, hatch=hatch)
        whole = f" {value:,.0f}".replace(",", " ")
        told = f"{whole}, {value / reference:.3g} x"
        ax.annotate(told, (value, y), va="center", fontsize=9.5)
    labels = [style.label(name) for name in names]
    ax.set_yticks(
        range(len(names)),
        [f"{x} (biased)" * (n in BIASED) or x for n, x in zip(names, labels, strict=True)],
    )
    ax.set_xscale("log")
    ax.set_xlim(right=values.max() * 20)
    ax.set_xlabel("variance of one image's gradient in the logits, summed; x: leave-one-out's")
    fig.suptitle(f"{named(case)}, all estimators at the same weights: {compared(table)}", **TITLE)
    ax.grid(axis="y", visible=False)
    return style.save(fig, path)


def compared(table: dict[str, np.ndarray]) -> str:
    """What the picture shows of RELAX and REBAR."""
    found = dict(zip(table["estimator"].tolist(), table["variance_logits"], strict=True))
    return f"RELAX has {found['relax'] / found['rebar']:.2f} of REBAR's variance"


TERMS = {
    "reinforce_f": "score of f\nunbiased, high variance",
    "reinforce_c": "score of c\nbiased, high variance",
    "reparam_c": "reparameterized c\nbiased, low variance",
    "total": "RELAX: 1st - 2nd + 3rd\nunbiased, low variance",
}


def terms_figure(case: Path, path: Path) -> Path:
    table, spread = read_table(case / "terms.csv"), read_table(case / "terms_variance.csv")
    width = np.diff(table["left"])[0]
    fig, axes = plt.subplots(1, 4, figsize=(style.WIDTH, 3.4), sharey=True)
    for ax, (term, title) in zip(axes, TERMS.items(), strict=True):
        density = table[term] / table[term].sum() / width
        name = "relax" if term == "total" else "reinforce" if term == "reinforce_f" else "rebar"
        ax.bar(table["left"], density, width, align="edge", color=style.colour(name))
        value = spread["log_variance"][spread["term"] == term][0]
        ax.set_title(title, fontsize=10)
        ax.set_xlabel(f"ln Var {value:.1f}")
        ax.set_xlim(-3, 3)
    axes[0].set_ylabel("density")
    axes[0].set_yscale("log")
    unit = "unit: the standard deviation of the first"
    fig.suptitle(f"{named(case)}: one coordinate of the gradient, 10 000 draws; {unit}", **TITLE)
    return style.save(fig, path)


# ---- tables ----


def table(preset: str, case: Path, paper: dict) -> str:
    """Markdown: ours beside the paper's."""
    head = f"Made by `python -m scripts.vae_figures {preset}` from the CSV files beside it; "
    lines = [f"# {case.name}, preset {preset}", "", head + "-ELBO in nats, lower is better."]
    lines += ["The paper's numbers are of one run at its best rate; its end is epoch 960.", ""]
    lines += [*score_table(case, paper), ""]
    return "\n".join([*lines, epochs_line(case, paper)]).rstrip() + "\n"


def score_table(case: Path, paper: dict) -> list[str]:
    columns = "estimator|rate|seeds|epochs|training|validation|test|validation, 100 samples"
    columns += (
        "|log variance|paper, same epoch: training|validation|paper, end: training|validation"
    )
    lines = [f"|{columns}|", "|" + "---|" * (columns.count("|") + 1)]
    per_epoch = STEPS.get(case.name.split("-")[0], 2083)
    for row in all_rows(case):
        name = row["estimator"]
        cells = [style.label(name), f"{row['lr']:g}", int(row["seeds"])]
        cells += [f"{row['steps'] / per_epoch:.0f}"]
        cells += [number(row, "train") if name not in RELAXED else "(relaxed)"]
        cells += [number(row, key) for key in ("valid", "test", "valid_iwae")]
        cells += [number(row, "log_variance_weights")]
        epoch = row["steps"] / per_epoch
        cells += [
            at_epoch(paper, case.name, f"{name} {what}", epoch) for what in ("train", "valid")
        ]
        cells += [paper[f"table {what}"].get(case.name, {}).get(name, "") for what in PAPER]
        lines.append("|" + "|".join(str(cell) for cell in cells) + "|")
    return lines


PAPER = ("training", "validation")


def at_epoch(paper: dict, case: str, curve: str, epoch: float) -> str:
    """Where the paper's curve stands at this epoch; empty where its figure does not show it."""
    line = paper.get(f"curves {case}", {}).get("series", {}).get(curve)
    if line is None or not min(line["x"]) <= epoch <= max(line["x"]):
        return ""
    return f"{np.interp(epoch, line['x'], line['y']):.2f}"


def number(row: dict, key: str) -> str:
    value, error = row.get(key, np.nan), row.get(f"{key}_se", np.nan)
    if not isinstance(value, float) or np.isnan(value):
        return ""
    told = isinstance(error, float) and not np.isnan(error)
    return f"{value:.2f}" + (f" ± {error:.2f}" if told else "")


def epochs_line(case: Path, paper: dict) -> str:
    """How soon RELAX reaches REBAR's best validation score within the same budget."""
    tables = load(case)
    if not {"rebar", "relax"} <= tables.keys():
        return ""
    (x, rebar), (y, relax) = (curve(tables[name], "valid") for name in ("rebar", "relax"))
    rebar, relax = rebar.mean(1), relax.mean(1)
    first = np.flatnonzero(relax <= rebar.min())
    when = f"after {y[first[0]]:.0f}" if len(first) else "not within these epochs"
    line = f"REBAR's best validation score, {rebar.min():.2f}, comes after {x[rebar.argmin()]:.0f} "
    line += f"epochs; RELAX reaches it {when}."
    theirs = paper["table epochs"].get(case.name)
    if theirs:
        line += f" (Paper, of 960 epochs: {theirs['rebar']} and {theirs['relax'] or 'never'}.)"
    return line


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", help="whose results: smoke, quick, rates, long, variance, paper")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    try:
        main(arguments.preset, arguments.results, arguments.runs)
    except UserError as error:
        sys.exit(f"error: {error}")

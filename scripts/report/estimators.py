"""Every estimator: certificates, and the comparison of variance, bias and time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from experiments.run.statistics import best_setting
from scripts.results import NOT_RUN, Results, number

MODELS = ("linear1", "linear2", "nonlinear")
STAGES = ("early", "late")
LAYERS = tuple(f"{model}-{stage}" for stage in STAGES for model in MODELS)  # results/compare/*.csv
NEW = ("unbiased_reinmax", "debiased_reinmax")  # this repository's estimators
MEASURES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "variance": lambda m: m["variance"],
    "variance x evaluations": lambda m: m["variance"] * m["evaluations"],
    "variance x ms": lambda m: m["variance"] * m["milliseconds"],
}
SENSES = {
    "least variance": MEASURES["variance"],
    "variance x time": MEASURES["variance x ms"],
    "variance x evaluations": MEASURES["variance x evaluations"],
}

# ---- certificates ----


def certificates(results: Results) -> list[dict]:
    """One row per estimator: the worst of its rows in certificates.csv."""
    table = results.table("certificates.csv")
    if table is None:
        return []
    return [certificate(name, rows) for name, rows in table.groupby("estimator", sort=False)]


def certificate(name: str, rows: pd.DataFrame) -> dict:
    errors = [text for text in rows["quadrature"].astype(str) if text]
    return {
        "estimator": name,
        "claim": ", ".join(rows["claim"].unique()),
        "distributions": ", ".join(rows["distribution"].unique()),
        "quadrature error": max(
            errors, key=lambda text: float(text.removeprefix("< ")), default="no quadrature"
        ),
        "largest z": number(rows["max_z"].max(), 2),
        "draws": number(rows["draws"].iloc[0], 0),
        "comparisons": number(rows["comparisons"].sum(), 0),
        "holds": "yes" if (rows["holds"] == "yes").all() else "no",
    }


# ---- the comparison, layer by layer ----


def by_layer(results: Results) -> list[dict]:
    """Per layer the best unbiased estimators in three senses, beside RELAX and REBAR."""
    rows = []
    for place in LAYERS:
        table = results.table(f"compare/{place}.csv")
        name = place.replace("_", " ").replace("-", ", ")
        if table is None:
            rows.append({"layer": name, **dict.fromkeys((*SENSES, "RELAX", "REBAR"), NOT_RUN)})
            continue
        for layer, mine in table.groupby("layer"):
            steps = mine["steps"].iloc[0]
            after = f" ({number(steps, 0)} steps)" if steps else ""
            which = f", layer {layer:.0f}" if table["layer"].nunique() > 1 else ""
            rows.append({"layer": f"{name}{after}{which}", **layer_winners(mine)})
    return rows


def layer_winners(rows: pd.DataFrame) -> dict[str, str]:
    """The best unbiased estimators; variances as multiples of REINFORCE's."""
    rows = rows.set_index("estimator")
    unbiased = rows[(rows["unbiased"] == 1) & np.isfinite(rows["variance"])]
    unit = rows["variance"].get("reinforce", np.nan)
    cells = {}
    for head, measure in SENSES.items():
        best = best_setting(measure(unbiased).to_dict())
        cells[head] = f"{best} ({rows['variance'][best] / unit:.2g})"
    for name in ("relax", "rebar"):
        known = name in rows.index
        cells[name.upper()] = f"{rows['variance'][name] / unit:.2g}" if known else NOT_RUN
    return cells


# ---- the comparison, whole models ----


def comparison(results: Results) -> dict[str, pd.DataFrame]:
    """Problem and stage -> its estimators, the layers of a model added up; empty if not run."""
    cells = {}
    for place in LAYERS:
        table = results.table(f"compare/{place}.csv")
        cells[place] = pd.DataFrame() if table is None else add_layers(table)
    return cells


def add_layers(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per estimator: variances, squared biases and times of all layers added up.

    Evaluations are averaged.
    """
    cells = rows.assign(squared_error=rows["bias2_error"] ** 2).groupby("estimator", sort=False)
    sums = cells[["variance", "bias2", "gradient2", "milliseconds", "squared_error"]].sum()
    return sums.assign(
        bias2_error=np.sqrt(sums["squared_error"]),
        evaluations=cells["evaluations"].mean(),
        steps=cells["steps"].first(),
        unbiased=cells["unbiased"].first(),
    )


def late_steps(cells: dict[str, pd.DataFrame]) -> str:
    """How long the models of the late stage were trained."""
    late = {model: cells[f"{model}-late"] for model in MODELS}
    steps = {m: cell["steps"].iloc[0] if len(cell) else None for m, cell in late.items()}
    return ", ".join(f"{number(n, 0)} ({model})" for model, n in steps.items())


def winners(cells: dict[str, pd.DataFrame]) -> list[dict]:
    """The best unbiased estimator by each measure, and the best that is not this repository's."""
    rows = []
    for place, cell in cells.items():
        entries = dict.fromkeys(MEASURES, NOT_RUN)
        if len(cell):
            unbiased = cell[cell["unbiased"] == 1]
            entries = {head: winner(measure(unbiased)) for head, measure in MEASURES.items()}
        rows.append({"model": place.replace("-", ", "), **entries})
    return rows


def winner(values: pd.Series) -> str:
    """unbiased_reinmax-1 20; rebar 2.00x: the best, and the best that is from the literature."""
    published = values[[not name.startswith(NEW) for name in values.index]]
    best, second = values.idxmin(), published.idxmin()
    if best == second:
        return f"**{best}** {values[best]:.3g}"
    return f"{best} {values[best]:.3g}; {second} {published[second] / values[best]:.2f}x"


def variance(row: pd.Series) -> str:
    """The variance, and of a biased estimator the squared bias over the squared gradient."""
    text = f"{row['variance']:.3g}"
    return text if row["unbiased"] else f"{text}, {bias(row)}"


def bias(row: pd.Series) -> str:
    share, error = (row[key] / row["gradient2"] for key in ("bias2", "bias2_error"))
    return f"{share:.2g} +- {error:.1g}"


def variance_time(row: pd.Series) -> str:
    """Variance times milliseconds, and the milliseconds."""
    return f"{row['variance'] * row['milliseconds']:.3g} ({row['milliseconds']:.2g})"


def by_model(cells: dict[str, pd.DataFrame], entry: Callable[[pd.Series], str]) -> list[dict]:
    """A row per estimator, a column per model and stage."""
    rows = []
    for name in dict.fromkeys(name for cell in cells.values() for name in cell.index):
        row = {"estimator": name, "evaluations": ""}
        for place, cell in cells.items():
            column = place.replace("-", " ")
            row[column] = NOT_RUN
            if name in cell.index:
                row[column] = entry(cell.loc[name])
                row["evaluations"] = f"{cell.loc[name, 'evaluations']:g}"
        rows.append(row)
    return rows


# ---- for the front page ----


def certified(results: Results) -> str:
    """How many estimators hold what they claim."""
    rows = certificates(results)
    if not rows:
        return f"{NOT_RUN}: `make certify`"
    hold = sum(row["holds"] == "yes" for row in rows)
    return f"{hold} of {len(rows)} estimators hold what they claim, biased or unbiased"


def unbiased_reinmax(results: Results) -> list[str]:
    """Its variance and time over those of REBAR with coupled noise, per model."""
    texts = []
    for stage in STAGES:
        for model in MODELS:
            table = results.table(f"compare/{model}-{stage}.csv")
            ratios = NOT_RUN
            if table is not None:
                cell = add_layers(table)
                new, old = cell.loc["unbiased_reinmax-1"], cell.loc["rebar-coupled"]
                variance, time = (new[key] / old[key] for key in ("variance", "milliseconds"))
                ratios = f"{variance:.2f} and {time:.2f}"
            texts.append(f"{model}, {stage}: {ratios}")
    return texts

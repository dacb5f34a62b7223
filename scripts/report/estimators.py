"""Every estimator: certificates, and the comparison of variance, bias and time."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from scripts.results import NOT_RUN, Results, number

MODELS = ("linear1", "linear2", "nonlinear")
STAGES = ("early", "late")
PROBLEMS = tuple(
    f"{model}-{stage}" for stage in STAGES for model in MODELS
)  # results/compare/*.csv
CATEGORICAL = tuple(f"categorical-{stage}" for stage in STAGES)
OURS = ("unbiased_reinmax", "debiased_reinmax")  # this repository's estimators
MEASURES = ("variance", "variance x evaluations", "variance x ms")

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


def certified(results: Results) -> str:
    """How many estimators hold what they claim."""
    rows = certificates(results)
    if not rows:
        return f"{NOT_RUN}: `make certify`"
    hold = sum(row["holds"] == "yes" for row in rows)
    return f"{hold} of {len(rows)} estimators are as biased or unbiased as they claim"


# ---- the comparison ----


def comparison(results: Results, problems: tuple[str, ...] = PROBLEMS) -> dict[str, pd.DataFrame]:
    """Problem and stage -> its estimators, the layers of a model added up; empty if not run."""
    cells = {}
    for place in problems:
        table = results.table(f"compare/{place}.csv")
        cells[place] = pd.DataFrame() if table is None else add_layers(table)
    return cells


def add_layers(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per estimator: variances, squared biases and times of all layers added up.

    Evaluations are averaged.
    """
    cells = rows.assign(squared_error=rows["bias2_error"] ** 2).groupby("estimator", sort=False)
    sums = cells[["variance", "bias2", "gradient2", "milliseconds", "squared_error"]].sum()
    evaluations = cells["evaluations"].mean()
    return sums.assign(
        **{
            "bias2_error": np.sqrt(sums["squared_error"]),
            "evaluations": evaluations,
            "variance x evaluations": sums["variance"] * evaluations,
            "variance x ms": sums["variance"] * sums["milliseconds"],
            "steps": cells["steps"].first(),
            "unbiased": cells["unbiased"].first(),
        }
    )


def late_steps(cells: dict[str, pd.DataFrame]) -> str:
    """How long the models of the late stage were trained."""
    late = [cells[f"{model}-late"] for model in MODELS]
    steps = {number(cell["steps"].iloc[0], 0) if len(cell) else NOT_RUN for cell in late}
    return " or ".join(sorted(steps))


def winners(cells: dict[str, pd.DataFrame]) -> list[dict]:
    """The best unbiased estimator by each measure, and the best that is not this repository's."""
    rows = []
    for place, cell in cells.items():
        entries = dict.fromkeys(MEASURES, NOT_RUN)
        if len(cell):
            unbiased = cell[cell["unbiased"] == 1]
            entries = {measure: winner(unbiased[measure]) for measure in MEASURES}
        rows.append({"model": place.replace("-", ", "), **entries})
    return rows


def winner(values: pd.Series) -> str:
    """unbiased_reinmax-1 20; rebar 2.00x: the best, and the best that is from the literature."""
    published = values[~values.index.str.startswith(OURS)]
    best, second = values.idxmin(), published.idxmin()
    if best == second:
        return f"**{best}** {values[best]:.3g}"
    return f"{best} {values[best]:.3g}; {second} {published[second] / values[best]:.2f}x"


def measured(row: pd.Series) -> str:
    """Variance and milliseconds, and of a biased estimator the squared bias."""
    text = f"{row['variance']:.3g} ({row['milliseconds']:.2g} ms)"
    return text if row["unbiased"] else f"{text}, bias² {bias(row)}"


def bias(row: pd.Series) -> str:
    """The squared bias over the squared gradient."""
    share, error = (row[key] / row["gradient2"] for key in ("bias2", "bias2_error"))
    return f"{share:.2g} ± {error:.1g}"


def by_model(cells: dict[str, pd.DataFrame]) -> list[dict]:
    """A row per estimator, a column per model and stage."""
    rows = []
    for name in dict.fromkeys(name for cell in cells.values() for name in cell.index):
        row = {"estimator": name, "evaluations": ""}
        for place, cell in cells.items():
            column = place.replace("-", " ")
            row[column] = NOT_RUN
            if name in cell.index:
                row[column] = measured(cell.loc[name])
                row["evaluations"] = f"{cell.loc[name, 'evaluations']:g}"
        rows.append(row)
    return rows


def by_layer(results: Results) -> list[dict]:
    """The variance in each layer of linear2, late in training and at the end of a longer one."""
    rows = []
    for name in ("rloo-4", "arms-4", "rebar-coupled", "unbiased_reinmax-1"):
        row = {"estimator": name}
        for layer, place in product((1, 2), ("linear2-late", "linear2-100000")):
            found = results.row(f"compare/{place}.csv", estimator=name, layer=layer)
            steps = number(found["steps"], 0) if found else NOT_RUN
            head = f"{'lower' if layer == 1 else 'upper'} layer, {steps} steps"
            row[head] = f"{found['variance']:.3g}" if found else NOT_RUN
        rows.append(row)
    return rows


def unbiased_reinmax(results: Results) -> list[str]:
    """unbiased_reinmax's variance and time over those of REBAR with coupled noise, per model."""
    texts = []
    for place, cell in comparison(results).items():
        ratios = NOT_RUN
        if len(cell):
            measured = cell[["variance", "milliseconds"]]
            variance, time = measured.loc["unbiased_reinmax-1"] / measured.loc["rebar-coupled"]
            ratios = f"{variance:.2f} and {time:.2f}"
        texts.append(f"{place.replace('-', ', ')}: {ratios}")
    return texts


# ---- the categorical VAE ----


def classes(results: Results) -> list[dict]:
    """The categorical VAE's estimators: variance, bias, and from how many rows RELAX is better."""
    cells, rows = comparison(results, CATEGORICAL), []
    for name in dict.fromkeys(name for cell in cells.values() for name in cell.index):
        row = {"estimator": name, "evaluations": NOT_RUN}
        for place, cell in cells.items():
            heads = ("variance", "bias²", "RELAX is better from")
            texts = [NOT_RUN] * len(heads)
            if name in cell.index:
                found = cell.loc[name]
                row["evaluations"] = f"{found['evaluations']:g}"
                texts = [
                    f"{found['variance']:.3g} ({found['milliseconds']:.2g} ms)",
                    "-" if found["unbiased"] else bias(found),
                    breakeven(found, relax(cell)),
                ]
            stage = place.split("-")[1]
            row |= {f"{head}, {stage}": text for head, text in zip(heads, texts, strict=True)}
        rows.append(row)
    return rows


def relax(cell: pd.DataFrame) -> pd.Series:
    """RELAX with the kind of noise that has the smaller variance."""
    rows = cell.loc[["relax", "relax-coupled"]]
    return rows.loc[rows["variance"].idxmin()]


def breakeven(found: pd.Series, relax: pd.Series) -> str:
    """The rows of a batch from which RELAX's mean has the smaller error, bias^2 + variance / n."""
    if found["unbiased"]:
        return "-"
    if not found["bias2"] > 4 * found["bias2_error"]:
        return "no bias found"
    return number(max(1.0, (relax["variance"] - found["variance"]) / found["bias2"]), 0)


def beside_relax(results: Results, name: str) -> str:
    """RELAX's variance over that of an estimator, and what the latter's bias costs, per stage."""
    texts = []
    for place, cell in comparison(results, CATEGORICAL).items():
        if not len(cell):
            return NOT_RUN
        found, best = cell.loc[name], relax(cell)
        ratio = f"{best['variance'] / found['variance']:.1f} times"
        texts.append(f"{place.split('-')[1]} {ratio}, bias² {bias(found)} of the squared gradient")
    return "; ".join(texts)


def ratio(results: Results, place: str, name: str, other: str) -> str:
    """One estimator's variance over another's, at one problem and stage."""
    cell = comparison(results, (place,))[place]
    return f"{cell['variance'][name] / cell['variance'][other]:.2f}" if len(cell) else NOT_RUN

"""The VAE's comparisons beyond the paper's runs.

Table 1's estimators after fewer epochs, overfitting on the small Omniglot sets, and the variances
of all estimators at the same weights.
"""

from __future__ import annotations

import numpy as np

from scripts.report.vae import PAIR, pair_of
from scripts.report.vae_tables import RELAXED, run_row, usual
from scripts.results import NOT_RUN, Results, mean_and_error, number, plural, took
from scripts.runs import VaeRun, best_run, compare, gap
from scripts.style import label

# ---- Table 1's estimators after fewer epochs ----


def order_table(results: Results, case: str) -> list[dict]:
    """Estimators after twenty epochs at their best rates, and how far they are behind RELAX."""
    names = (*usual("table1"), *PAIR)
    runs = {name: best_run(results, "table1", case, name) for name in names}
    if not any(runs.values()):
        return []
    return [order_row(results, case, name, runs) for name in runs]


def order_row(results: Results, case: str, name: str, runs: dict[str, VaeRun | None]) -> dict:
    row = run_row(results, case, name, runs[name])
    keys = ("estimator", "rate", "seeds", "epochs", "train", "valid", "ln Var, logits")
    theirs = results.paper["table training"][case].get(name)
    return {
        **{key: row[key] for key in keys},
        "training minus RELAX's": behind(runs[name], runs["relax"], "train"),
        "validation minus RELAX's": behind(runs[name], runs["relax"], "valid"),
        "training, paper's Table 1": "none" if theirs is None else number(theirs, 2),
    }


def behind(run: VaeRun | None, relax: VaeRun | None, metric: str) -> str:
    """An estimator's -ELBO minus RELAX's at the last epoch that both have."""
    if run is None or relax is None:
        return NOT_RUN
    if run is relax or (metric == "train" and run.name in RELAXED):
        return "-"
    return gap(run, relax, metric)[1].text(2)


# ---- does RELAX overfit more? Omniglot's small background sets ----

LOST = "validation lost since its best epoch"
SCORES = ("training, end", "validation, end", "validation, best epoch", LOST)


def overfitting(results: Results, case: str) -> list[dict]:
    """REBAR and RELAX at the end and at the best epoch on validation, and their differences."""
    pair = pair_of(results, "omniglot_small", case)
    if not any(pair):
        return []
    scores = [end_and_best(run) if run else {} for run in pair]
    rows = []
    for name, run, values in zip(PAIR, pair, scores, strict=True):
        cells = {score: mean_and_error(values.get(score), 2) for score in SCORES}
        rows.append({"estimator": describe(name, run), **cells})
    gaps = dict.fromkeys(SCORES, NOT_RUN)
    if all(pair):
        gaps = {s: compare(*pair, scores[0][s], scores[1][s]).text(2) for s in SCORES}
    return [*rows, {"estimator": "REBAR minus RELAX [95 %]", **gaps}]


def describe(name: str, run: VaeRun | None) -> str:
    if run is None:
        return label(name)
    seeds = plural(run.seeds, "seed")
    return f"{label(name)}, rate {run.row['lr']:g}, {seeds}, {run.epochs:.0f} epochs"


def end_and_best(run: VaeRun) -> dict[str, np.ndarray]:
    """Per seed: both scores at the end, and validation at the seed's best epoch."""
    valid = run.curve("valid")
    trained = run.curve("train").loc[valid.index[-1]].to_numpy()
    lowest, last = valid.min().to_numpy(), valid.iloc[-1].to_numpy()
    return dict(zip(SCORES, (trained, last, lowest, last - lowest), strict=True))


def overfits_more(results: Results, case: str = "omniglot_small-nonlinear") -> str:
    """What RELAX's validation score loses after its best epoch, minus what REBAR's loses."""
    rebar, relax = pair_of(results, "omniglot_small", case)
    if rebar is None or relax is None:
        return NOT_RUN
    return compare(relax, rebar, end_and_best(relax)[LOST], end_and_best(rebar)[LOST]).text(2)


# ---- variances at the same weights ----


def variances(results: Results) -> list[dict]:
    rows = results.rows("vae/variance/mnist-linear1/variance.csv")
    unit = {row["estimator"]: row["variance_logits"] for row in rows}.get("reinforce_loo2")
    return [
        {
            "estimator": label(row["estimator"]),
            "variance, logits": f"{row['variance_logits']:.3g}",
            "variance, encoder weights": f"{row['variance_weights']:.3g}",
            "logits, over leave-one-out's": f"{row['variance_logits'] / unit:.3g}",
            "wall time, device": took(row),
        }
        for row in rows
    ]


TERMS = {
    "reinforce_f": "score of f",
    "reinforce_c": "score of c",
    "reparam_c": "reparameterized c",
    "total": "RELAX: all three",
}


def terms(results: Results) -> list[dict]:
    rows = results.rows("vae/variance/mnist-linear1/terms_variance.csv")
    ours = {row["term"]: f"{row['variance']:.3g} ({row['log_variance']:.1f})" for row in rows}
    theirs = results.paper["table terms"]
    return [
        {
            "term": title,
            "variance (ln), authors' draws": f"{theirs[name]:.3g} ({np.log(theirs[name]):.1f})",
            "ours": ours.get(name, NOT_RUN),
        }
        for name, title in TERMS.items()
    ]

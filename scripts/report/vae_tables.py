"""The VAE's runs one by one, its curves' pictures, and the paper's tables at full length."""

from __future__ import annotations

from collections.abc import Callable

from scripts.report.vae import MNIST, PAIR, PAPER_CASES, SHORT, TABLE_1, command, pair_of, paper_at
from scripts.results import NOT_RUN, Results, config, number, plus_minus, took
from scripts.runs import VaeRun, best_run, gap, vae_runs
from scripts.style import case_title, label

RELAXED = ("concrete",)  # its training number is of relaxed samples
PLACES = (  # whose runs are listed one by one
    *SHORT,
    *((preset, case) for preset in ("table1", "quick", "rates") for case in MNIST),
    ("long-rates", "mnist-linear1"),
)


def usual(preset: str) -> list[str]:
    """The estimators of a preset."""
    for group in config(f"preset/vae/{preset}").get("defaults", []):
        if "override /estimator" in group:
            return group["override /estimator"]
    return list(PAIR)


# ---- runs one by one ----


def runs_table(results: Results, preset: str, case: str) -> list[dict]:
    """Every estimator of a case at each of its learning rates, beside the paper's curves."""
    rows, place = [], f"vae/{preset}/{case}"
    if not (results.root / place).exists():
        return []
    for name in results.names(place, usual(preset)):
        runs = vae_runs(results, preset, case, name)
        chosen = [runs[rate] for rate in sorted(runs)] or [None]
        rows += [run_row(results, case, name, run) for run in chosen]
    return rows


def run_row(results: Results, case: str, name: str, run: VaeRun | None) -> dict:
    row = run.row if run else {}
    scores = {
        what: plus_minus(row.get(what), row.get(f"{what}_se"), 2)
        for what in ("train", "valid", "test")
    }
    if name in RELAXED and run:
        scores["train"] += " (relaxed)"
    if run and (last := run.curve("valid").index[-1]) < run.epochs:
        scores["valid"] += f" (epoch {last:.0f})"
    series = results.paper_series(f"curves {case}")
    paper = {
        f"{what}, paper": paper_at(series.get(f"{name} {what}"), run.epochs) if run else NOT_RUN
        for what in ("train", "valid")
    }
    return {
        "estimator": label(name),
        "rate": f"{row['lr']:g}" if run else NOT_RUN,
        "seeds": run.seeds if run else NOT_RUN,
        "steps": number(row.get("steps"), 0),
        "epochs": number(run and run.epochs, 0),
        **scores,
        "IWAE-100, valid": number(row.get("valid_iwae"), 2),
        "ln Var, logits": number(row.get("log_variance_logits"), 2),
        "ln Var, weights": number(row.get("log_variance_weights"), 2),
        **paper,
        "wall time, device": took(row),
    }


# ---- curves ----


def caption(results: Results, preset: str, case: str) -> str:
    """What the figure of the curves shows, with both training scores at the last shared epoch."""
    text = f"{case_title(case)}, {preset}: -ELBO in training and on validation, ln Var[gradient]"
    pair = pair_of(results, preset, case)
    if not results.has_picture(f"vae-{preset}-{case}-curves"):
        return f"{text}."
    if not all(pair):
        return f"{text}; REBAR beside RELAX: {NOT_RUN}."
    epoch, _ = gap(*pair, "train")
    ends = [f"{label(run.name)} {number(run.at('train', epoch).mean(), 2)}" for run in pair]
    return f"{text}; training at epoch {epoch:.0f}: {', '.join(ends)}."


def curves_picture(results: Results, preset: str, case: str) -> str:
    stem = f"vae-{preset}-{case}-curves"
    return results.picture(stem, caption(results, preset, case), command(preset, case))


# ---- the paper's tables, of runs of its full length ----


def paper_table(
    results: Results, table: str, names: tuple[str, ...], ours: Callable[[dict], str]
) -> list[dict]:
    """One of the paper's tables beside a number of our runs' rows of summary.csv."""
    rows = []
    for case in PAPER_CASES:
        row = {"model": case_title(case)}
        for name in names:
            run = best_run(results, "paper", case, name)
            row[f"{label(name)}, paper"] = number(results.paper[table][case][name], 2)
            row[f"{label(name)}, ours"] = ours(run.row) if run else NOT_RUN
        rows.append(row)
    return rows


def training_table(results: Results) -> list[dict]:
    """Table 1."""
    return paper_table(
        results,
        "table training",
        TABLE_1,
        lambda row: plus_minus(row["train"], row.get("train_se"), 2),
    )


def validation_table(results: Results) -> list[dict]:
    return paper_table(results, "table validation", PAIR, lambda row: number(row["valid_best"], 2))

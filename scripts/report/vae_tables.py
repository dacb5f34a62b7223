"""The VAE's tables beside the paper's: runs one by one, readings of the curves, Table 1."""

from __future__ import annotations

from functools import partial

from scripts.report.vae import (
    PAPER_CASES,
    TABLE_1,
    command,
    pair_of,
    paper_at,
)
from scripts.results import (
    NOT_RUN,
    Results,
    config,
    estimators,
    markdown,
    mean_and_error,
    number,
    plus_minus,
    took,
)
from scripts.runs import VaeRun, best_run, vae_runs
from scripts.style import case_title, label

PAIR = ("rebar", "relax")
RELAXED = ("concrete",)  # its training number is of relaxed samples
EPOCHS = {  # at which the curves are read
    "paper": (100, 250, 500, 950),
    "long": (10, 20, 30, 50, 70, 100),
    "quick": (1, 5, 10, 20),
}


def usual(preset: str) -> list[str]:
    """The estimators of a preset."""
    if preset == "long":
        return list(PAIR)
    for group in config(f"preset/vae/{preset}").get("defaults", []):
        if "override /estimator" in group:
            return group["override /estimator"]
    return list(PAIR)


# ---- runs one by one ----


def runs_table(results: Results, preset: str, case: str) -> list[dict]:
    """Every estimator of a case at each of its learning rates, beside the paper's curves."""
    folder = results.root / "vae" / preset / case
    summary = {row["estimator"] for row in results.rows(f"vae/{preset}/{case}/summary.csv")}
    others = {*estimators(folder, ()), *summary} - set(usual(preset))
    names = [*usual(preset), *sorted(others)]
    rows = []
    for name in names:
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


def table_page(results: Results, preset: str, case: str) -> str:
    """results/vae/<preset>/<case>/table.md"""
    lines = [
        f"# {case}, preset {preset}",
        "",
        f"Written by `python -m scripts.vae_figures {preset}` from the CSV files in this folder.",
        "-ELBO in nats, lower is better. The paper's curves are read at the same epoch.",
        "",
        markdown(runs_table(results, preset, case)),
        epochs_line(results, preset, case),
    ]
    return "\n".join(lines).rstrip() + "\n"


def epochs_line(results: Results, preset: str, case: str) -> str:
    """How soon RELAX reaches REBAR's best validation score within the same number of epochs."""
    pair = pair_of(results, preset, case)
    if not all(pair):
        return ""
    rebar = pair[0].curve("valid").mean(axis=1)
    slow, fast = epochs_to_best(*pair)
    when = "not within these epochs" if fast == "never" else f"after {fast}"
    line = f"REBAR's best validation score, {rebar.min():.2f}, comes after {slow} epochs; "
    line += f"RELAX reaches it {when}."
    if theirs := results.paper["table epochs"].get(case):
        line += f" (Paper, of 960 epochs: {theirs['rebar']} and {theirs['relax'] or 'never'}.)"
    return line


def epochs_to_best(rebar: VaeRun, relax: VaeRun) -> tuple[str, str]:
    """The epochs until each has REBAR's best mean validation score."""
    theirs, ours = (run.curve("valid").mean(axis=1) for run in (rebar, relax))
    reached = ours.index[ours <= theirs.min()]
    return f"{theirs.idxmin():.0f}", f"{reached[0]:.0f}" if len(reached) else "never"


# ---- curves ----


def readings(results: Results, case: str, presets: list[str]) -> list[dict]:
    """The paper's curves and ours at some epochs."""
    series, rows = results.paper_series(f"curves {case}"), []
    runs = {(p, n): best_run(results, p, case, n) for p in presets for n in PAIR}
    for preset in presets:
        for epoch in EPOCHS[preset]:
            row = {"epoch": epoch, "preset": preset}
            for metric in ("train", "valid"):
                for name in PAIR:
                    run = runs[preset, name]
                    values = run.at(metric, epoch) if run else None
                    column = f"{label(name)} {metric}"
                    row[f"{column}, paper"] = paper_at(series[f"{name} {metric}"], epoch)
                    row[f"{column}, ours"] = mean_and_error(values, 2)
            rows.append(row)
    return rows


def caption(results: Results, preset: str, case: str) -> str:
    """What the figure of the curves shows, with both training scores at the end."""
    title = case_title(case)
    text = f"{title}, {preset}: -ELBO in training and on validation, ln Var[gradient]"
    if results.has_picture(f"vae-{preset}-{case}-curves"):
        runs = {name: best_run(results, preset, case, name) for name in PAIR}
        ends = [f"{label(n)} {number(run and run.row['train'], 2)}" for n, run in runs.items()]
        text += f"; in training at the end {', '.join(ends)}"
    return f"{text}."


def curves_picture(results: Results, preset: str, case: str) -> str:
    stem = f"vae-{preset}-{case}-curves"
    return results.picture(stem, caption(results, preset, case), command(preset, case))


# ---- learning rates and the paper's tables ----


def rates(results: Results, case: str) -> list[dict]:
    """REBAR and RELAX at the paper's five rates."""
    runs = {name: vae_runs(results, "rates", case, name) for name in PAIR}
    rows = []
    for lr in config("preset/vae/rates")["lr"]:
        row = {"learning rate": f"{float(lr):g}"}
        for name in PAIR:
            run = runs[name].get(float(lr))
            for metric in ("train", "valid"):
                row[f"{label(name)} {metric}"] = number(run and run.row[metric], 2)
        rows.append(row)
    times = {"learning rate": "all five: wall time, device"}
    for name in PAIR:
        first = next(iter(runs[name].values()), None)
        times[f"{label(name)} train"] = took(first and first.row)
        times[f"{label(name)} valid"] = "-"
    return [*rows, times]


def paper_table(results: Results, table: str, names: tuple[str, ...], ours) -> list[dict]:
    """One of the paper's tables beside our runs of the paper's length; ours(name, pair, run)."""
    rows = []
    for case in PAPER_CASES:
        theirs, row = results.paper[table][case], {"model": case_title(case)}
        for name in names:
            value = theirs[name] or "never"
            digits = partial(number, digits=2) if isinstance(value, float) else str
            row[f"{label(name)}, paper"] = digits(value)
            row[f"{label(name)}, ours"] = ours(case, name)
        rows.append(row)
    return rows


def table_1(results: Results) -> list[dict]:
    def ours(case: str, name: str) -> str:
        run = best_run(results, "paper", case, name)
        row = run.row if run else {}
        return plus_minus(row.get("train"), row.get("train_se"), 2)

    return paper_table(results, "table training", TABLE_1, ours)


def validation_table(results: Results) -> list[dict]:
    def ours(case: str, name: str) -> str:
        run = best_run(results, "paper", case, name)
        return number(run and run.row["valid_best"], 2)

    return paper_table(results, "table validation", PAIR, ours)


def epochs_table(results: Results) -> list[dict]:
    def ours(case: str, name: str) -> str:
        pair = pair_of(results, "paper", case)
        return epochs_to_best(*pair)[PAIR.index(name)] if all(pair) else NOT_RUN

    return paper_table(results, "table epochs", PAIR, ours)

"""The VAE's sections: six pairs of curves, the three tables, variances at the same weights."""

from __future__ import annotations

import numpy as np

from scripts.report import vae_residual
from scripts.report.claims import Claim
from scripts.report.read import NOT_RUN, Results, markdown, names, number, plus_minus, took
from scripts.report.vae import (
    CASES,
    DATA,
    LONG,
    SHORT,
    TABLE_1,
    Arm,
    arm,
    command,
    spread,
)
from scripts.style import label

EPOCHS = {
    "paper": (100, 250, 500, 950),
    "long": (10, 20, 30, 50, 70, 100),
    "quick": (1, 5, 10, 20),
}
QUICK = ("reinforce", "nvil", "concrete", "rebar", "relax")
RELAXED = ("concrete",)  # its training number is of relaxed samples
IGNORE = ("summary", "variance", "terms", "terms_variance")


def section(results: Results, claims: list[Claim]) -> str:
    parts = [
        "## The discrete VAE\n",
        "200 Bernoulli latents a layer, batch 24, Adam with beta2 = .99999, one lambda and one eta "
        "per layer, fixed binarization drawn once from a fixed seed (the paper's was another draw "
        "from the same images). All numbers are -ELBO in nats, lower is better; ours are means "
        "over seeds ± their standard error, at the learning rate with the best validation score. "
        "Presets: `paper` is the paper's 2 000 000 steps, `long` 100 of its 960 epochs at the rate "
        "that `rates` found best for REBAR, for both; `quick` 20 epochs at 5e-4. Behind the "
        "paper's estimators stand extras, a setting's name in brackets; no claim uses them. "
        "`rao_relax` is RELAX with c = f and the noise of z given b integrated out; it also leaves "
        "out the slope of log q(b) at its own b, noise of mean 0 that the others carry as in the "
        "authors' code. `lr1e-4` is one seed at that rate: on the nonlinear model the paper's "
        "REBAR falls about as ours does there, and its RELAX as ours at 5e-4 or faster, so that "
        "the early gap between the two may be one of rates.\n",
        *(claim.table() for claim in claims),
        vae_residual.section(results),
        "### Six VAE curves\n",
        *(curves(results, case) for case in CASES),
        "### The runs one by one\n",
        *(runs(results, preset, case) for preset, case in SHORT),
        "### Which learning rate\n",
        "The paper's five after 20 epochs, one seed, all five in one process.\n",
        *(rates(results, case) for case in LONG),
        training(results),
        validation(results),
        epochs_table(results),
        same_weights(results),
    ]
    return "\n".join(parts)


# ---- curves ----


def curves(results: Results, case: str) -> str:
    """A picture per preset, and readings of both curves at some epochs."""
    presets = ["paper", *(preset for preset, place in SHORT if place == case)]
    parts = [f"**{title(case)}**\n"]
    for preset in presets:
        stem = f"vae-{preset}-{case}-curves"
        caption = f"{title(case)}, {preset}: -ELBO in training and on validation, ln Var[gradient]"
        if (results.root / "figures" / f"{stem}.png").exists():
            caption += f"; in training at the end {ends(results, preset, case)}"
        parts.append(results.picture(stem, f"{caption}.", command(preset, case)))
    head = ["epoch", "preset"]
    columns = [(name, metric) for metric in ("train", "valid") for name in ("rebar", "relax")]
    head += [f"{label(n)} {m}, {who}" for n, m in columns for who in ("paper", "ours")]
    rows = [
        [str(epoch), preset, *readings(results, preset, case, epoch, columns)]
        for preset in presets
        for epoch in EPOCHS[preset]
    ]
    return "\n".join((*parts, markdown(head, rows)))


def ends(results: Results, preset: str, case: str) -> str:
    """The two training scores that the picture compares."""
    rows = {n: arm(results, preset, case, n) for n in ("rebar", "relax")}
    return ", ".join(f"{label(n)} {number(a and a.row['train'], 2)}" for n, a in rows.items())


def readings(results: Results, preset: str, case: str, epoch: int, columns) -> list[str]:
    series, cells = results.paper[f"curves {case}"]["series"], []
    for name, metric in columns:
        line, found = series[f"{name} {metric}"], arm(results, preset, case, name)
        there = line["x"][0] <= epoch <= line["x"][-1]
        cells.append(
            number(np.interp(epoch, line["x"], line["y"]), 2) if there else "off the figure"
        )
        values = found.at(metric, epoch) if found else None
        cells.append(NOT_RUN if values is None else spread(values))
    return cells


# ---- tables ----


def runs(results: Results, preset: str, case: str) -> str:
    """Every estimator of one case: what summary.csv tells at the best learning rate."""
    place = f"vae/{preset}/{case}"
    usual = QUICK if preset == "quick" else ("rebar", "relax")
    rows = results.rows(f"{place}/summary.csv")
    head = ("estimator", "rate", "seeds", "steps", "train", "valid", "test", "IWAE-100, valid")
    head += ("ln Var, logits", "ln Var, weights", "wall time, device")
    found = {
        n: arm(results, preset, case, n) for n in names(usual, results.root / place, rows, IGNORE)
    }
    table = markdown(head, [(label(n), *run_cells(f)) for n, f in found.items()])
    return f"**{title(case)}, {preset}**, `{command(preset, case)}`\n\n{table}"


def run_cells(found: Arm | None) -> list[str]:
    if found is None:
        return [NOT_RUN] * 10
    row = found.row
    cells = [f"{row['lr']:g}", str(found.seeds), number(row["steps"], 0)]
    cells += [plus_minus(row[m], row[f"{m}_se"], 2) for m in ("train", "valid", "test")]
    cells[-3] += " (relaxed)" * (row["estimator"] in RELAXED)
    cells += [
        number(row[m], 2) for m in ("valid_iwae", "log_variance_logits", "log_variance_weights")
    ]
    return [*cells, took(row)]


def rates(results: Results, case: str) -> str:
    pair, place = ("rebar", "relax"), f"vae/rates/{case}"
    run = command("rates", case) + " 'estimator=[rebar,relax]'"
    found: dict[tuple[str, float], dict] = {
        (row["estimator"], row["lr"]): row
        for row in results.rows(f"{place}/summary.csv")
        if results.table(f"{place}/{row['estimator']}.csv")
    }
    lines = []
    for lr in (5e-3, 1e-3, 5e-4, 1e-4, 5e-5):
        rows = [found.get((name, lr), {}) for name in pair]
        cells = [number(row.get(metric), 2) for row in rows for metric in ("train", "valid")]
        lines.append((f"{lr:g}", *cells))
    times = {name: next((row for (n, _), row in found.items() if n == name), None) for name in pair}
    lines.append(("all five: wall time, device", *(c for n in pair for c in (took(times[n]), "-"))))
    head = ("learning rate", *(f"{label(n)} {m}" for n in pair for m in ("train", "valid")))
    caption = f"{title(case)}: validation against the rate."
    picture = results.picture(f"vae-rates-{case}-rates", caption, run)
    return f"**{title(case)}**: `{run}`\n\n{picture}\n{markdown(head, lines)}"


def training(results: Results) -> str:
    head = ["model", *(f"{label(name)}, {who}" for name in TABLE_1 for who in ("paper", "ours"))]
    rows = []
    for case in CASES:
        cells = []
        for name in TABLE_1:
            found = arm(results, "paper", case, name)
            cells.append(number(results.paper["table training"][case][name], 2))
            row = found.row if found else {}
            cells.append(plus_minus(row.get("train"), row.get("train_se"), 2))
        rows.append([title(case), *cells])
    return (
        "### Training -ELBO after 2 000 000 steps (Table 1)\n\n"
        f"`{command('paper', 'mnist-linear1')}`, and the other models; days on a CPU. "
        "The paper's first three columns are copied there from Tucker et al. (2017); Concrete's "
        "numbers are of relaxed samples.\n\n" + markdown(head, rows)
    )


def validation(results: Results) -> str:
    head = ("model", "REBAR, paper", "REBAR, ours", "RELAX, paper", "RELAX, ours")
    rows = []
    for case in CASES:
        cells = []
        for name in ("rebar", "relax"):
            found = arm(results, "paper", case, name)
            cells.append(number(results.paper["table validation"][case][name], 2))
            cells.append(number(found and found.row["valid_best"], 2))
        rows.append([title(case), *cells])
    return "### Best validation -ELBO\n\n" + markdown(head, rows)


def epochs_table(results: Results) -> str:
    head = ("model", "REBAR, paper", "REBAR, ours", "RELAX, paper", "RELAX, ours")
    rows = []
    for case in CASES:
        pair = [arm(results, "paper", case, name) for name in ("rebar", "relax")]
        table = results.paper["table epochs"][case]
        ours = epochs_cells(*pair) if all(pair) else (NOT_RUN, NOT_RUN)
        paper = [str(table[name] or "never") for name in ("rebar", "relax")]
        rows.append((title(case), paper[0], ours[0], paper[1], ours[1]))
    return "### Epochs until REBAR's best validation score\n\n" + markdown(head, rows)


def epochs_cells(rebar: Arm, relax: Arm) -> tuple[str, str]:
    (slow, theirs), (fast, ours) = (
        (e, v.mean(1)) for e, v in (rebar.curve("valid"), relax.curve("valid"))
    )
    there = fast[ours <= theirs.min()]
    return f"{slow[theirs.argmin()]:.0f}", f"{there[0]:.0f}" if len(there) else "never"


def title(case: str) -> str:
    data, model = case.split("-")
    return f"{DATA[data]} {model}"


# ---- variances at the same weights ----


def same_weights(results: Results) -> str:
    run = "python -m experiments.compare --only same-weights"
    place, stem = "vae/variance/mnist-linear1", "vae-variance-mnist-linear1"
    parts = [
        "### Variances at the same weights, and the histogram of the estimator's terms\n",
        "What the paper has no table of: one linear1 trained by RELAX for 6 000 steps, every "
        "estimator's phi fitted there, its gradient drawn 400 times on 100 images. Variance of "
        "one image's gradient in the logits, summed over units, mean over images, and of the "
        f"batch's in the encoder's weights, summed. `{run}`\n",
        results.picture(
            f"{stem}-estimators", "The estimators' variances at the same weights.", run
        ),
        variances(results.rows(f"{place}/variance.csv")),
        results.picture(
            f"{stem}-terms", "Draws of the terms of RELAX's estimator, one coordinate.", run
        ),
        terms(results, f"{place}/terms_variance.csv"),
    ]
    return "\n".join(parts)


CONTESTANTS = ("reinforce", "reinforce_loo2", "nvil", "muprop", "rebar", "rebar_tucker", "relax")
CONTESTANTS += ("relax_surrogate_only", "concrete", "straight_through")


def variances(rows: list[dict]) -> str:
    found = {row["estimator"]: row for row in rows}
    yardstick = found.get("reinforce_loo2")
    lines = []
    for name in (*CONTESTANTS, *sorted(found.keys() - set(CONTESTANTS))):
        row = found.get(name)
        if row is None or yardstick is None:
            lines.append((label(name), *[NOT_RUN] * 4))
            continue
        times = row["variance_logits"] / yardstick["variance_logits"]
        cells = (f"{row['variance_logits']:.3g}", f"{row['variance_weights']:.3g}", f"{times:.3g}")
        lines.append((label(name), *cells, took(row)))
    head = (
        "estimator",
        "variance, logits",
        "variance, encoder weights",
        "logits over leave-one-out's",
        "wall time, device",
    )
    return markdown(head, lines)


TERMS = {
    "reinforce_f": "score of f",
    "reinforce_c": "score of c",
    "reparam_c": "reparameterized c",
    "total": "RELAX: all three",
}


def terms(results: Results, place: str) -> str:
    found = {row["term"]: row for row in results.rows(place)}
    lines = []
    for name in TERMS:
        theirs, row = results.paper["table terms"][name], found.get(name)
        ours = f"{row['variance']:.3g} ({row['log_variance']:.1f})" if row else NOT_RUN
        lines.append((TERMS[name], f"{theirs:.3g} ({np.log(theirs):.1f})", ours))
    return markdown(("term", "variance (ln), authors' draws", "ours"), lines)

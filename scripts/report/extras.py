"""What the paper does not have: certificates, the comparison of estimators, the benchmark."""

from __future__ import annotations

import numpy as np

from scripts.report.read import NOT_RUN, Results, markdown, number

MOST = 60  # rows of a benchmark's table that the report shows


def section(results: Results) -> str:
    parts = [certificates(results), comparison(results), benchmark(results)]
    return "\n".join(parts)


# ---- certificates ----


def certificates(results: Results) -> str:
    """One row per estimator: the worst of its rows in certificates.csv."""
    rows = results.rows("certificates.csv")
    text = (
        "## Certificates: is every estimator what it claims to be?\n\n"
        "`make certify` tests each claim: by quadrature over the noise of one coin flip, by "
        "enumeration for several draws and for classes, each coordinate's difference from the "
        "exact gradient in standard errors. Unbiased means below 5 everywhere, biased above 10 "
        "somewhere. The worst over an estimator's settings and distributions; all rows are in "
        "[certificates.csv](certificates.csv).\n\n"
    )
    if not rows:
        return f"{text}{NOT_RUN}: `make certify`\n"
    names = dict.fromkeys(row["estimator"] for row in rows)
    head = ("estimator", "claim", "distributions", "quadrature error", "largest z", "draws")
    head += ("comparisons", "holds")
    lines = [certificate(n, [row for row in rows if row["estimator"] == n]) for n in names]
    return text + markdown(head, lines)


def certificate(name: str, rows: list[dict]) -> tuple[str, ...]:
    errors = [str(row["quadrature"]) for row in rows if str(row["quadrature"])]
    worst = max(errors, key=lambda text: float(text.removeprefix("< ")), default="no quadrature")
    holds = "yes" if all(row["holds"] == "yes" for row in rows) else "no"
    return (
        name,
        ", ".join(dict.fromkeys(row["claim"] for row in rows)),
        ", ".join(dict.fromkeys(row["distribution"] for row in rows)),
        worst,
        number(max(row["max_z"] for row in rows), 2),
        number(rows[0]["draws"], 0),
        number(sum(row["comparisons"] for row in rows), 0),
        holds,
    )


# ---- comparison ----


PROBLEMS = ("bernoulli_toy-start", "categorical_toy-start")
PROBLEMS += tuple(
    f"{m}-{s}" for s in ("early", "late") for m in ("linear1", "linear2", "nonlinear")
)


def comparison(results: Results) -> str:
    text = (
        "## The estimators compared\n\n"
        "`make compare`: at fixed parameters, on the toys and on the layers of VAEs after 1 000 "
        "steps (early) and late in training: variance of one estimate (summed over coordinates, "
        "mean over rows), evaluations of f (relaxed ones included) and CPU time. Per layer the "
        "unbiased estimator that is best in each sense, in brackets its variance over REINFORCE's, "
        "then that of RELAX and REBAR as the paper has them. All estimators: [compare/](compare).\n"
    )
    pictures = {
        "compare": "Variance of an estimate against its time; hollow: biased.",
        "compare-curves": "Training at equal time.",
    }
    shown = [results.picture(name, said, "make compare") for name, said in pictures.items()]
    lines = [line for problem in PROBLEMS for line in compared(results, problem)]
    head = ("layer", "least variance", "variance x time", "variance x evaluations")
    return "\n".join((text, *shown, markdown((*head, "RELAX", "REBAR"), lines)))


def compared(results: Results, problem: str) -> list[tuple[str, ...]]:
    """A line per layer of one problem."""
    rows = results.rows(f"compare/{problem}.csv")
    name, stage = problem.replace("_", " ").split("-")
    if not rows:
        return [(f"{name}, {stage}", *[NOT_RUN] * 5)]
    lines = []
    for layer in dict.fromkeys(row["layer"] for row in rows):
        mine = [row for row in rows if row["layer"] == layer]
        after = f" ({number(mine[0]['steps'], 0)} steps)" if mine[0]["steps"] else ""
        which = f", layer {layer:.0f}" if len({row["layer"] for row in rows}) > 1 else ""
        lines.append((f"{name}, {stage}{after}{which}", *winners(mine)))
    return lines


def winners(rows: list[dict]) -> list[str]:
    """The best of the unbiased in three senses; variances as multiples of REINFORCE's."""
    found = {row["estimator"]: row for row in rows}
    honest = [row for row in rows if row["unbiased"] == 1 and np.isfinite(row["variance"])]
    unit = found["reinforce"]["variance"] if "reinforce" in found else np.nan
    senses = (
        lambda row: row["variance"],
        lambda row: row["variance"] * row["milliseconds"],
        lambda row: row["variance"] * row["evaluations"],
    )
    cells = []
    for sense in senses:
        best = min(honest, key=sense)
        cells.append(f"{best['estimator']} ({best['variance'] / unit:.2g})")
    for name in ("relax", "rebar"):
        cells.append(f"{found[name]['variance'] / unit:.2g}" if name in found else NOT_RUN)
    return cells


# ---- benchmark ----


def benchmark(results: Results) -> str:
    """Per device the floors, the picture and the table."""
    parts = [
        "## Speed\n",
        "Times of training steps beside plain PyTorch code in the same process: ratios are what to "
        "compare.\n",
    ]
    for device, command in (("cpu", "make bench"), ("cuda", "make bench ARGS='--device cuda'")):
        table = results.table(f"bench/{device}.csv")
        if table is None:
            parts.append(f"On {device}: {NOT_RUN}: `{command}`\n")
            continue
        caption = f"Time of a step on {device}: `{command}`"
        parts.append(results.picture(f"bench_{device}", caption, command))
        for name in (f"floors-{device}", device):
            parts.append(as_it_stands(results, f"bench/{name}.csv", command))
    return "\n".join(parts)


def as_it_stands(results: Results, place: str, command: str) -> str:
    """A CSV file as a table, its first rows if there are many."""
    table = results.table(place)
    if table is None:
        return f"{place}: {NOT_RUN}: `{command}`\n"
    rows = list(zip(*table.values(), strict=True))
    lines = [[plain(cell) for cell in row] for row in rows[:MOST]]
    more = f"\nThe other {len(rows) - MOST} rows: {place}\n" if len(rows) > MOST else ""
    return markdown(list(table), lines) + more


def plain(cell) -> str:
    """A number in four digits, text as it is, a dash for what does not apply."""
    if isinstance(cell, str):
        return cell or "-"
    return f"{cell:.4g}" if np.isfinite(cell) else "-"

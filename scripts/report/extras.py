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


def comparison(results: Results) -> str:
    rows = results.rows("compare/comparison.csv")
    text = (
        "## The estimators compared\n\n"
        "`make compare`: at fixed parameters, on the toys and on layers of trained VAEs early and "
        "late: variance of one estimate (summed over coordinates, mean over rows), evaluations of "
        "f (relaxed ones included) and time. Per problem the unbiased estimator that is best in "
        "each sense, in brackets its variance over REINFORCE's, then that of RELAX and REBAR as "
        "the paper has them; all estimators are in compare/comparison.csv.\n\n"
    )
    pictures = sorted(file.stem for file in (results.root / "figures").glob("compare*.png"))
    shown = [results.picture(name, "Variance against time.", "make compare") for name in pictures]
    if not rows:
        return f"{text}{NOT_RUN}: `make compare`\n"
    problems = dict.fromkeys((row["problem"], row["stage"], row["layer"]) for row in rows)
    lines = []
    for key in problems:
        mine = [row for row in rows if (row["problem"], row["stage"], row["layer"]) == key]
        lines.append((f"{key[0]}, {key[1]}, layer {key[2]:.0f}", *winners(mine)))
    head = (
        "problem",
        "least variance",
        "variance x time",
        "variance x evaluations",
        "RELAX",
        "REBAR",
    )
    return text + "\n".join((*shown, markdown(head, lines)))


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
    """Each device's CSV file under results/bench as it stands."""
    parts = [
        "## Speed\n",
        "`make bench`: times of one run on one machine; ratios within a row are what to compare.\n",
    ]
    files = sorted((results.root / "bench").glob("*.csv"))
    for file in files:
        table = results.table(f"bench/{file.name}")
        if table is None:
            continue
        rows = list(zip(*table.values(), strict=True))
        lines = [[plain(cell) for cell in row] for row in rows[:MOST]]
        more = f"\n{len(rows) - MOST} more rows in bench/{file.name}.\n" if len(rows) > MOST else ""
        parts.append(f"**{file.stem}**\n\n{markdown(list(table), lines)}{more}")
    if not files:
        parts.append(f"{NOT_RUN}: `make bench`\n")
    if not any(file.stem.startswith("cuda") for file in files):
        parts.append(f"On a GPU: {NOT_RUN}: `make bench` where there is one.\n")
    return "\n".join(parts)


def plain(cell) -> str:
    """A number in four digits, text as it is, a dash for what does not apply."""
    if isinstance(cell, str):
        return cell or "-"
    return f"{cell:.4g}" if np.isfinite(cell) else "-"

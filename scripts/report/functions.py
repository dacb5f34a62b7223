"""The comparison on functions with exact gradients: winners, losers, and the price of a bias."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scripts.results import NOT_RUN, Results, number

# head of the column -> the settings of which the best counts
GROUPS = {
    "REBAR": ("rebar", "rebar-coupled"),
    "RELAX": ("relax", "relax-coupled"),
    "RELAX, c(z) only": ("relax-black_box",),
    "unbiased_reinmax": ("unbiased_reinmax-1", "unbiased_reinmax-2", "unbiased_reinmax-3"),
    "debiased_reinmax": ("debiased_reinmax",),
    "ARMS, CARMS": ("arms-3", "arms-4", "carms-3", "carms-4"),
    "Double CV": ("double_cv-3",),
    "RODEO": ("rodeo-3",),
    "local_expectation": ("local_expectation",),
}
TIE = 0.03  # of 50 000 normal numbers the variance has an error of .6 %; tails here are heavier
BIASED = ("straight_through", "reinmax", "rao_gumbel", "concrete", "grpo-4")


def cases(results: Results) -> dict[str, pd.DataFrame]:
    """Function and stage -> its estimators, with their cost beside that of leave-one-out."""
    table = results.table("compare/functions.csv")
    found = {}
    if table is not None:
        for (name, stage), rows in table.groupby(["problem", "stage"], sort=False):
            rows = rows.set_index("estimator")
            rows["cost"] = rows["variance"] * rows["evaluations"]
            rows["relative"] = rows["cost"] / rows["cost"]["rloo-2"]
            found[f"{name.replace('_', ' ')}, {stage}"] = rows
    return found


def winners(results: Results) -> list[dict]:
    """Per case the variance at equal evaluations over that of leave-one-out, the best in bold."""
    rows = []
    for case, cell in cases(results).items():
        unbiased = cell[cell["unbiased"] == 1]["relative"]
        best = unbiased.idxmin()
        row = {"function": case}
        for head, names in GROUPS.items():
            known = unbiased[[name for name in names if name in unbiased.index]]
            text = f"{known.min():.3g}" if len(known) else "-"
            row[head] = f"**{text}**" if best in names else text
        others = unbiased[[name for name in unbiased.index if not any_group(name)]]
        row["best of the rest"] = f"{others.idxmin()} {others.min():.3g}"
        rows.append(row)
    return rows


def cost(results: Results, group: str, functions: tuple[str, ...]) -> str:
    """The range over functions and stages of a group's cost (or a setting's): 0.26 to 0.88."""
    settings = [*GROUPS.get(group, (group,))]
    found = [
        cell["relative"].reindex(settings).min()
        for case, cell in cases(results).items()
        if case.split(", ")[0] in functions
    ]
    found = [value for value in found if np.isfinite(value)]
    low, high = (number(limit, 2) for limit in (min(found, default=None), max(found, default=None)))
    return low if low == high else f"{low} to {high}"


def any_group(name: str) -> bool:
    return any(name in names for names in GROUPS.values())


def biased(results: Results) -> list[dict]:
    """bias^2 over the squared gradient, and the evaluations from which no bias is better.

    At E evaluations a mean of estimates has the error bias^2 + variance x evaluations / E.
    """
    rows = []
    for case, cell in cases(results).items():
        best = cell[cell["unbiased"] == 1]["cost"].min()
        row = {"function": case}
        has_gradient = cell["gradient2"].max() > 1e-9 * cell["variance"].max()
        for name in BIASED:
            known = has_gradient and name in cell.index
            row[name] = breakeven(cell.loc[name], best) if known else "-"
        rows.append(row)
    return rows


def breakeven(row: pd.Series, best: float) -> str:
    """.32 (40): the share of bias, and from how many evaluations on the best unbiased one wins."""
    if not row["bias2"] > 4 * row["bias2_error"]:
        return "none found"
    share = row["bias2"] / row["gradient2"]
    evaluations = max(1.0, (best - row["cost"]) / row["bias2"])
    return f"{share:.2g} ({number(float(f'{evaluations:.2g}'), 0)})"


def against(results: Results, ours: str, others: str) -> str:
    """In how many cases one group beats another at equal evaluations, and the range of ratios.

    A smaller difference than the measurement can tell, TIE, is no win.
    """
    ratios = {}
    for case, cell in cases(results).items():
        known = [
            min((cell["relative"][n] for n in GROUPS[group] if n in cell.index), default=np.nan)
            for group in (ours, others)
        ]
        if np.isfinite(known).all():
            ratios[case] = known[0] / known[1]
    if not ratios:
        return NOT_RUN
    values = np.array([*ratios.values()])
    wins, spread = int((values < 1 - TIE).sum()), f"{values.min():.2f} to {values.max():.2f}"
    return f"{wins} of {len(values)} cases ({spread} of its variance)"

"""python -m scripts.compare_figures

results/compare/*.csv drawn and put in tables: figures/compare.png (variance against time),
figures/compare-curves.png (training at equal time) and compare/tables.md.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from scripts import style

RESULTS = Path("results")
MODELS = ("linear1", "linear2", "nonlinear")
STAGES = ("early", "late")
NAMED = {  # the points that carry a name in the figure
    "nvil": "NVIL",
    "rloo-2": "RLOO",
    "disarm-2": "DisARM",
    "arms-3": "ARMS-3",
    "double_cv-3": "Double CV-3",
    "rodeo-3": "RODEO-3",
    "rebar": "REBAR",
    "relax": "RELAX",
    "rao_relax-1": "rao_relax",
    "rao_relax-2": "rao_relax-2",
    "rao_relax-3": "rao_relax-3",
    "local_expectation": "local expectation",
    "concrete": "Concrete",
    "reinmax": "ReinMax",
}
ABLATION = (  # in the tables only: steps on the way, and what does not pay
    *("several_z-2", "pairs_relax-2", "relax_context", "relax_averaged", "rao_relax_context-1"),
    *("rao_relax_lambda-1", "rao_relax_lambda-2", "rao_relax_lambda-3", "concrete_direct"),
)
OWN = ("rao_relax", "several_z", "pairs_relax")  # not from the literature
LEFT_OUT = ("reinforce", "muprop", *ABLATION)  # of the figure


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def cells(rows: list[dict[str, str]]) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    """(problem, stage) -> estimator -> numbers; a model's layers are added up."""
    found: dict = defaultdict(lambda: defaultdict(lambda: defaultdict(float)))
    layers: dict = defaultdict(set)
    for row in rows:
        cell, name = (row["problem"], row["stage"]), row["estimator"]
        layers[cell].add(row["layer"])
        into = found[cell][name]
        into["unbiased"], into["steps"] = float(row["unbiased"]), float(row["steps"])
        for key in ("variance", "bias2", "gradient2", "milliseconds", "evaluations"):
            into[key] += float(row[key] or 0)
        into["bias2_error"] = math.hypot(into["bias2_error"], float(row["bias2_error"] or 0))
    for cell, estimators in found.items():
        for into in estimators.values():
            into["evaluations"] /= len(layers[cell])
    return found


# ---- figures ----


def draw_cell(ax, estimators: dict[str, dict[str, float]]) -> None:
    """Variance against time, log scales; a biased one's bar reaches to its mean squared error."""
    for name, m in estimators.items():
        if name in LEFT_OUT:
            continue
        x, y = m["milliseconds"], m["variance"]
        colour = style.colour(name) if name in NAMED else "#BBBBBB"
        face = colour if m["unbiased"] else "white"
        if not m["unbiased"] and m["bias2"] > 2 * m["bias2_error"]:
            ax.plot([x, x], [y, y + m["bias2"]], "-_", color=colour, linewidth=1.5)
        size = 6.5 if name in NAMED else 4
        ax.plot(x, y, "o", markersize=size, color=colour, mfc=face, mew=1.5, zorder=3)
    ax.set(xscale="log", yscale="log")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(right=12 * ax.get_xlim()[1])  # room for the last name
    ax.set_ylim(bottom=0.6 * ax.get_ylim()[0])


def place_labels(ax, estimators: dict[str, dict[str, float]]) -> None:
    """Names beside their points, where they cover neither each other nor a point.

    In points of 1/72 inch, after the layout: they neither move the axes nor depend on the dpi.
    """
    unit = 72 / ax.figure.dpi
    drawn = {n: m for n, m in estimators.items() if n not in LEFT_OUT}
    at = {
        name: unit * ax.transData.transform((m["milliseconds"], m["variance"]))
        for name, m in drawn.items()
    }
    frame = [unit * edge for edge in ax.bbox.extents]
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in at.values()]
    for name in sorted(at.keys() & NAMED.keys(), key=lambda n: at[n][1]):
        (x, y), text = at[name], NAMED[name]
        width, height = 5.6 * len(text) + 2, 10
        boxes = [
            (x + dx, y + dy, x + dx + width, y + dy + height)
            for dx, dy in around(width, height)
            if x + dx > frame[0] + 2 and frame[1] < y + dy < frame[3] - height
        ]
        free = (box for box in boxes if not any(overlap(box, other) for other in taken))
        box = next(free, boxes[0])
        taken.append(box)
        dx, dy = box[0] - x, box[1] - y
        far = max(-dx - width, dx, -dy - height, dy) > 12
        ax.annotate(
            text,
            (drawn[name]["milliseconds"], drawn[name]["variance"]),
            xytext=(dx, dy),
            textcoords="offset points",
            color=style.colour(name),
            fontsize=8.5,
            va="bottom",
            arrowprops={"arrowstyle": "-", "color": style.colour(name), "lw": 0.6} if far else None,
        ).set_in_layout(False)


def around(width: float, height: float) -> list[tuple[float, float]]:
    """Where a label may start, seen from its point: the nearest first, right before left."""
    middle = -height / 2
    places = [
        (dx, middle + dy)
        for dx in (6, -6 - width, 18, -18 - width, -width / 2)
        for dy in range(-48, 49, 4)
        if abs(dy) > 8 or dx != -width / 2
    ]
    return sorted(
        places, key=lambda p: abs(p[1] - middle) + 2 * (p[0] < 0) + (abs(p[0] + width / 2)) / 8
    )


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def figure(found: dict) -> None:
    """A row of panels per model, early and late in training side by side."""
    fig, axes = plt.subplots(
        len(MODELS), len(STAGES), figsize=(style.WIDTH, 3.5 * len(MODELS)), squeeze=False
    )
    panels = dict(zip(product(MODELS, STAGES), axes.flat, strict=True))
    for cell, ax in panels.items():
        ax.set_title(", ".join(cell))
        ax.set_visible(cell in found)
        if cell in found:
            draw_cell(ax, found[cell])
    for ax in axes[-1]:
        ax.set_xlabel("ms of CPU per estimate (100 images)")
    for ax in axes[:, 0]:
        ax.set_ylabel("variance of the logits' gradient")
    hollow = {"linestyle": "-", "mfc": "white", "label": "biased; the bar adds its squared bias"}
    handles = [
        Line2D([], [], marker="o", color="#555555", **own)
        for own in ({"linestyle": "", "label": "unbiased"}, hollow)
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=2)
    fig.draw_without_rendering()  # lays out
    for cell, ax in panels.items():
        if cell in found:
            place_labels(ax, found[cell])
    style.save(fig, RESULTS / "figures" / "compare")


def curves_figure(rows: list[dict[str, str]]) -> None:
    """-ELBO in training against time, every estimator at the better of its rates."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    fig, axes = plt.subplots(1, len(models), figsize=(style.WIDTH, 4.2), squeeze=False)
    for ax, model in zip(axes[0], models, strict=True):
        ends = {}
        for name, (_, curve) in best_rates(rows, model).items():
            x, y = [p[0] for p in curve], [p[1] for p in curve]
            line = "--" if name in ("rao_relax-2",) else "-"
            ax.plot(x, y, line, color=style.colour(name), linewidth=1.8)
            ends[name] = y[-1]
        low = min(ends.values())
        ax.set_ylim(low - 1, low + 30)
        label_ends(ax, ends)
        ax.set(title=model, xlabel="seconds of CPU, phi included", ylabel="-ELBO in training")
    style.save(fig, RESULTS / "figures" / "compare-curves")


def best_rates(rows: list[dict[str, str]], model: str) -> dict[str, tuple[str, list]]:
    """estimator -> (lr, [(seconds, -ELBO)]) of the rate that ends lowest."""
    curves: dict = defaultdict(list)
    for row in rows:
        if row["model"] == model:
            point = float(row["seconds"]), float(row["train"])
            curves[row["estimator"], row["lr"]].append(point)
    best: dict = {}
    for (name, lr), curve in curves.items():
        if name not in best or curve[-1][1] < best[name][1][-1][1]:
            best[name] = lr, curve
    return best


def label_ends(ax, ends: dict[str, float]) -> None:
    low, high = ax.get_ylim()
    names = sorted(ends, key=ends.get)
    clipped = [min(ends[n], high) for n in names]
    for name, y in zip(names, style.spread(clipped, 0.05 * (high - low)), strict=True):
        ax.annotate(
            f"{NAMED.get(name, name)} {ends[name]:.1f}",
            (1.01, y),
            xycoords=("axes fraction", "data"),
            color=style.colour(name),
            va="center",
            fontsize=9,
        )


# ---- tables ----


def tables(found: dict) -> str:
    parts = [
        head(found),
        winners(found),
        by_cell(found, "variance"),
        by_cell(found, "time"),
        toys(found),
    ]
    return "\n".join(parts)


HEAD = """# Every estimator compared

Written by `make compare` from the CSV files beside this one. Each cell is a model trained by REBAR
on MNIST, binarized anew in every batch, at rate 1e-3: early is 1 000 steps of 100 images, late
{late} steps of 24.

Variance of one estimate of the gradient in the logits, at fixed weights, summed over units (and
layers), mean over 100 training images. phi (eta, lambda, gamma, alpha, the networks) is fitted on
other images first: 150 to 600 steps, which is short for RODEO, NVIL and MuProp. ms: CPU time of one
estimate for all 100 images, one thread, without fitting phi. `-K` is the number of samples. Of two
layers the upper is measured at one sample of the lower, the lower with the upper drawn anew; their
variances and times are added, their evaluations averaged.

`rao_relax` is this repository's, at a fixed lambda of .1; `rao_relax_lambda` learns lambda as well,
which pays late in training. Other ways to carry RELAX further: `several_z-2` (REBAR averaged over
two z~ per b) and `pairs_relax-2` (antithetic b inside RELAX, `rao_relax` without its linear term)
are the steps towards it; surrogates with a network that sees x, all z of its layer and the bits of
the layers below (`relax_context`, and `rao_relax_context-1` for `rao_relax`), also fitted on the
mean of four draws (`relax_averaged`), lower the variance by a few per cent at most, for more time.

`rao_relax` loses in the lower layer of linear2 late in training: c relaxes the bits above as well,
its slope there has heavy tails, REBAR and RELAX suffer like it, and ARMS, which does not
differentiate f, has less variance in the same time. A learned lambda mends a part of that.

local_expectation needs 201 evaluations; its time for linear1 is that of the rank-one form.

Every gradient leaves out the direct slope of log q(b|theta) in theta, h - p, whose mean is 0 at
hard bits. Concrete's relaxed h has another mean, and an implementation that differentiates all of f
adds the variance of h - p: `concrete_direct`, twice the variance for about the same bias.
"""
MEASURES = {
    "variance": lambda m: m["variance"],
    "variance x evaluations": lambda m: m["variance"] * m["evaluations"],
    "variance x ms": lambda m: m["variance"] * m["milliseconds"],
}


def head(found: dict) -> str:
    """What was measured, with the steps of the late checkpoints."""
    steps = {m: found[m, "late"]["rebar"]["steps"] for m in MODELS if (m, "late") in found}
    return HEAD.format(late=", ".join(f"{n:,.0f} ({m})" for m, n in steps.items()) or "no")


def vae_cells(found: dict) -> list[tuple[str, str]]:
    return [(m, s) for s in STAGES for m in MODELS if (m, s) in found]


def winners(found: dict) -> str:
    """The best unbiased estimator per cell and measure, and the best of the others."""
    lines = ["## The best unbiased estimator\n", "| | " + " | ".join(MEASURES) + " |"]
    lines.append("|---" * (len(MEASURES) + 1) + "|")
    for cell in vae_cells(found):
        entries = []
        for measure in MEASURES.values():
            unbiased = {n: measure(m) for n, m in found[cell].items() if m["unbiased"]}
            best = min(unbiased, key=unbiased.get)
            others = {n: v for n, v in unbiased.items() if not n.startswith(OWN)}
            second = min(others, key=others.get)
            ratio = others[second] / unbiased[best]
            entries.append(
                f"{best} {unbiased[best]:.3g}; {second} {ratio:.2f}x"
                if best != second
                else f"**{best}** {unbiased[best]:.3g}"
            )
        lines.append(f"| {cell[0]}, {cell[1]} | " + " | ".join(entries) + " |")
    lines.append(
        "\nThe second name is the best that is not this repository's own; bold: it wins.\n"
    )
    return "\n".join(lines)


def by_cell(found: dict, what: str) -> str:
    """One row per estimator, one column per cell."""
    cells_ = vae_cells(found)
    names = list(dict.fromkeys(n for cell in cells_ for n in found[cell]))
    title = {
        "variance": "Variance, and bias^2 of the biased in units of the squared gradient",
        "time": "Variance x ms (and ms)",
    }[what]
    lines = [f"## {title}\n", "| | evaluations | " + " | ".join(map(" ".join, cells_)) + " |"]
    lines.append("|---" * (len(cells_) + 2) + "|")
    for name in names:
        row = []
        for cell in cells_:
            m = found[cell].get(name)
            row.append("" if m is None else entry(m, what))
        evaluations = next(found[c][name]["evaluations"] for c in cells_ if name in found[c])
        lines.append(f"| {name} | {evaluations:g} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def entry(m: dict[str, float], what: str) -> str:
    if what == "time":
        return f"{m['variance'] * m['milliseconds']:.3g} ({m['milliseconds']:.2g})"
    if m["unbiased"]:
        return f"{m['variance']:.3g}"
    share, error = m["bias2"] / m["gradient2"], m["bias2_error"] / m["gradient2"]
    return f"{m['variance']:.3g}, {share:.2g} +- {error:.1g}"


def toys(found: dict) -> str:
    lines = [
        "## The toys (exact gradients)\n",
        "| | variance | bias^2 / gradient^2 |",
        "|---|---|---|",
    ]
    for (problem, stage), estimators in found.items():
        if stage != "start":
            continue
        lines.append(f"| **{problem}** | | |")
        for name, m in estimators.items():
            share, error = m["bias2"] / m["gradient2"], m["bias2_error"] / m["gradient2"]
            lines.append(f"| {name} | {m['variance']:.3g} | {share:.2g} +- {error:.1g} |")
    return "\n".join(lines) + "\n"


@style.applied()
def main() -> None:
    folder = RESULTS / "compare"
    measured = [p for p in sorted(folder.glob("*-*.csv")) if not p.name.startswith("curves-")]
    found = cells([row for path in measured for row in read(path)])
    figure(found)
    (folder / "tables.md").write_text(tables(found), encoding="utf-8")
    if curves := [row for path in sorted(folder.glob("curves-*.csv")) for row in read(path)]:
        curves_figure(curves)


if __name__ == "__main__":
    main()

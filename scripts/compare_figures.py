"""The figures of the comparison: python -m scripts.compare_figures

From results/compare/*.csv: figures/compare (variance against time) and figures/compare-lambda
(variance of unbiased_reinmax against lambda).
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter
from matplotlib.transforms import Bbox

from scripts import style
from scripts.report.estimators import MODELS, STAGES, comparison
from scripts.results import Results

RESULTS = Path("results")
NAMED = (  # the estimators whose points carry a label
    *("nvil", "rloo-2", "disarm-2", "arms-3", "double_cv-3", "rodeo-3", "rebar", "relax"),
    *(
        "unbiased_reinmax-1",
        "unbiased_reinmax-2",
        "unbiased_reinmax-3",
        "local_expectation",
        "concrete",
        "reinmax",
    ),
)
LEFT_OUT = ("reinforce", "muprop")  # of the figure: far above the others
HOLLOW = {"linestyle": "-", "mfc": "white"}


@style.applied()
def main() -> None:
    results = Results(RESULTS)
    figure(comparison(results))
    if (table := results.table("compare/lambda.csv")) is not None:
        lambda_figure(table)


# ---- variance against time ----


def figure(cells: dict[str, pd.DataFrame]) -> None:
    """A row of panels per model, early and late in training side by side."""
    fig, axes = plt.subplots(
        len(MODELS), len(STAGES), figsize=(style.WIDTH, 3.5 * len(MODELS)), squeeze=False
    )
    panels = {}
    for (model, stage), ax in zip(product(MODELS, STAGES), axes.flat, strict=True):
        cell = cells[f"{model}-{stage}"]
        ax.set_title(f"{model}, {stage}")
        ax.set_visible(len(cell) > 0)
        if len(cell):
            panels[ax] = draw_cell(ax, cell)
    for ax in axes[-1]:
        ax.set_xlabel("ms of CPU per estimate (100 images)")
    for ax in axes[:, 0]:
        ax.set_ylabel("variance of the logits' gradient")
    keys = {"unbiased": {"linestyle": ""}, "biased; the bar adds its squared bias": HOLLOW}
    handles = [Line2D([], [], marker="o", color="#555555", label=k, **v) for k, v in keys.items()]
    fig.legend(handles=handles, loc="outside lower center", ncols=2)
    fig.draw_without_rendering()  # lays out the panels, so that labels can be placed in them
    for ax, cell in panels.items():
        place_labels(ax, cell)
    style.save(fig, RESULTS / "figures" / "compare")


def draw_cell(ax, cell: pd.DataFrame) -> pd.DataFrame:
    """Points of variance against time; a biased one's bar reaches to its mean squared error.

    Returns the rows that are drawn.
    """
    drawn = cell[~cell.index.isin(LEFT_OUT)]
    for row in drawn.itertuples():
        named = row.Index in NAMED
        colour = style.colour(row.Index) if named else "#BBBBBB"
        if not row.unbiased and row.bias2 > 2 * row.bias2_error:
            x, y = row.milliseconds, row.variance
            ax.plot([x, x], [y, y + row.bias2], "-_", color=colour, linewidth=1.5)
        marker = {"markersize": 6.5 if named else 4, "mew": 1.5, "zorder": 3, "color": colour}
        face = colour if row.unbiased else "white"
        ax.plot(row.milliseconds, row.variance, "o", mfc=face, **marker)
    ax.set(xscale="log", yscale="log")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(right=12 * ax.get_xlim()[1])  # room for the last label
    ax.set_ylim(bottom=0.6 * ax.get_ylim()[0])
    return drawn


def place_labels(ax, cell: pd.DataFrame) -> None:
    """Labels near their points, at the first place that covers neither a label nor a point.

    In points of 1/72 inch and after the layout, so that labels do not move the axes. adjustText
    was tried: its labels cross lines and axes where points are dense, and it takes half a minute.
    """
    unit = 72 / ax.figure.dpi
    points = ax.transData.transform(cell[["milliseconds", "variance"]]) * unit
    left, bottom, _, top = (unit * edge for edge in ax.bbox.extents)
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in points]
    labelled = [(p, n) for p, n in zip(points, cell.index, strict=True) if n in NAMED]
    for (x, y), name in sorted(labelled, key=lambda item: item[0][1]):
        text = style.label(name)
        width, height = 5.6 * len(text) + 2, 10
        places = [
            Bbox.from_bounds(x + dx, y + dy, width, height)
            for dx, dy in offsets(width, height)
            if x + dx > left + 2 and bottom < y + dy < top - height
        ]
        free = (box for box in places if not box.count_overlaps(taken))
        box = next(free, places[0])
        taken.append(box)
        annotate(ax, text, (x, y), box, style.colour(name))


def annotate(ax, text: str, point: tuple[float, float], box: Bbox, colour: str) -> None:
    """Write a label into its box, with a line to its point if that is far."""
    dx, dy = box.x0 - point[0], box.y0 - point[1]
    far = max(point[0] - box.x1, dx, point[1] - box.y1, dy) > 12
    ax.annotate(
        text,
        point,
        xycoords="figure points",
        xytext=(dx, dy),
        textcoords="offset points",
        color=colour,
        fontsize=8.5,
        va="bottom",
        arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6} if far else None,
    ).set_in_layout(False)


def offsets(width: float, height: float) -> list[tuple[float, float]]:
    """Where a label may start relative to its point: the nearest first, right before left."""
    offsets = [
        (dx, dy - height / 2)
        for dx in (6, -6 - width, 18, -18 - width, -width / 2)
        for dy in range(-48, 49, 4)
        if abs(dy) > 8 or dx != -width / 2
    ]
    return sorted(
        offsets, key=lambda o: abs(o[1] + height / 2) + 2 * (o[0] < 0) + abs(o[0] + width / 2) / 8
    )


# ---- variance against lambda ----


def lambda_figure(rows: pd.DataFrame) -> None:
    """unbiased_reinmax's variance over that of leave-one-out, a line per function and stage."""
    fig, axes = plt.subplots(1, 2, figsize=(style.WIDTH, 4.2), sharey=True)
    looks = dict(zip(rows["problem"].unique(), style.OTHERS, strict=False))
    for ax, stage in zip(axes, ("start", "late"), strict=True):
        for name, run in rows[rows["stage"] == stage].groupby("problem", sort=False):
            line = run.set_index("lambda")["over_rloo"]
            ax.plot(line, "o-", color=looks[name], markersize=3, linewidth=1.6)
        ax.axhline(1, color="#333333", linewidth=1, linestyle=(0, (4, 2)))
        ax.set(xscale="log", yscale="log", title=stage, xlabel="lambda")
    axes[0].set_ylabel("variance over that of leave-one-out")
    entries = [(name.replace("_", " "), {"color": colour}) for name, colour in looks.items()]
    style.legend(fig, entries)
    style.save(fig, RESULTS / "figures" / "compare-lambda")


if __name__ == "__main__":
    main()

"""Figures are tested by what is drawn: the figure in place of its file, lines by their colour."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import same_color

from scripts import style


@pytest.fixture
def caught(monkeypatch: pytest.MonkeyPatch) -> Iterator[list]:
    """The figures that are saved while the test runs."""
    figures: list = []

    def keep(fig, path):
        figures.append(fig)
        return path

    monkeypatch.setattr(style, "save", keep)
    yield figures
    plt.close("all")


def write(path: Path, head: Sequence[str], rows: Iterable[Sequence]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])


def panel(fig, title: str):
    """The axes whose title holds these words."""
    (found,) = [ax for ax in fig.axes if title in title_of(ax)]
    return found


def title_of(ax) -> str:
    return ax.get_title(loc="left") + ax.get_title()


def lines(ax, name: str, width: float | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """(x, y) of every line in the estimator's colour, those of one width where it is given."""
    return [
        (np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float))
        for line in ax.lines
        if same_color(line.get_color(), style.colour(name))
        and (width is None or line.get_linewidth() == width)
    ]


def only(ax, name: str, width: float = 2) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of the one line of that width in the estimator's colour."""
    (line,) = lines(ax, name, width)
    return line

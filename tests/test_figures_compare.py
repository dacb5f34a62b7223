"""The comparison's figures by their points, its table and its winners by their cells."""

import numpy as np
import pandas as pd
import pytest

from scripts import compare_figures, style
from scripts.report import estimators
from tests.drawn import caught as caught  # a fixture


def row(estimator, unbiased, variance, ms, bias2=np.nan, error=np.nan, layer=1, **more):
    """A row of results/compare/<problem>-<stage>.csv."""
    values = {"problem": "linear2", "stage": "late", "steps": 9, "gradient2": 50, "evaluations": 4}
    values |= {"layer": layer, "estimator": estimator, "unbiased": unbiased, "variance": variance}
    return values | {"milliseconds": ms, "bias2": bias2, "bias2_error": error} | more


ROWS = [
    row("rebar", 1, 30, 2, layer=1),
    row("rebar", 1, 10, 1, layer=2, evaluations=2),
    row("unbiased_reinmax-1", 1, 15, 3, layer=1),
    row("unbiased_reinmax-1", 1, 5, 3, layer=2),
    row("concrete", 0, 4, 1, 12, 1, layer=1),
    row("concrete", 0, 2, 1, 8, 1, layer=2),
]


@pytest.fixture
def found():
    return estimators.add_layers(pd.DataFrame(ROWS))


def test_a_model_s_layers_are_added_up_and_evaluations_averaged(found):
    rebar = found.loc["rebar"]
    assert (rebar["variance"], rebar["milliseconds"], rebar["evaluations"]) == (40, 3, 3)
    concrete = found.loc["concrete"]
    assert concrete["bias2"] == 20
    assert concrete["bias2_error"] == pytest.approx(2**0.5)


def test_points_are_time_and_variance_and_a_bar_adds_the_squared_bias(found):
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    compare_figures.draw_cell(ax, found)
    points = {
        (line.get_xdata()[0], line.get_ydata()[0]): line.get_markerfacecolor()
        for line in ax.lines
        if len(line.get_xdata()) == 1
    }
    assert points.keys() == {(3, 40), (6, 20), (2, 6)}
    assert points[2, 6] == "white"  # biased
    assert points[3, 40] == style.colour("rebar")
    (bar,) = [line for line in ax.lines if len(line.get_xdata()) == 2]
    assert list(bar.get_xdata()) == [2, 2]
    assert list(bar.get_ydata()) == [6, 26]
    plt.close(fig)


def test_the_winner_is_the_best_unbiased_and_the_second_is_not_our_own(found):
    """unbiased_reinmax-1 has half of REBAR's variance; times the time both are worth 120."""
    (line,) = estimators.winners({"linear2-late": found})
    assert line["model"] == "linear2, late"
    assert line["variance"] == "unbiased_reinmax-1 20; rebar 2.00x"
    assert line["variance x evaluations"] == "unbiased_reinmax-1 80; rebar 1.50x"


def test_a_race_shows_the_rate_that_ends_lowest(caught, monkeypatch, tmp_path):
    rows = [
        {"model": "linear1", "estimator": "rebar", "lr": lr, "seconds": s, "train": y}
        for lr, ys in (("1e-3", (150, 110)), ("1e-2", (140, 130)))
        for s, y in zip((1.0, 2.0), ys, strict=True)
    ]
    rows = pd.DataFrame(rows)
    assert {n: dict(c) for n, c in compare_figures.best_rates(rows).items()} == {
        "rebar": {1.0: 150.0, 2.0: 110.0}
    }
    monkeypatch.setattr(compare_figures, "RESULTS", tmp_path)
    compare_figures.curves_figure(rows)
    (line,) = caught[0].axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), [150, 110])

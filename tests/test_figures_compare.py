"""The comparison's figures by their points, its table and its winners by their cells."""

import numpy as np
import pandas as pd
import pytest

from scripts import compare_figures, style
from scripts.report import estimators, functions
from scripts.results import Results
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


def test_the_variance_against_lambda_is_drawn_as_it_is(caught, monkeypatch, tmp_path):
    rows = [
        {"problem": name, "stage": stage, "lambda": value, "over_rloo": value * scale}
        for name, scale in (("quadratic", 2.0), ("max_cut", 3.0))
        for stage in ("start", "late")
        for value in (0.1, 1.0)
    ]
    monkeypatch.setattr(compare_figures, "RESULTS", tmp_path)
    compare_figures.lambda_figure(pd.DataFrame(rows))
    for ax in caught[0].axes:
        lines = [
            line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_marker() == "o"
        ]
        np.testing.assert_allclose([line.get_ydata() for line in lines], [[0.2, 2], [0.3, 3]])


# ---- functions with exact gradients ----


def functions_of(tmp_path, **changes):
    """Results of one function: leave-one-out costs 20, and what the keywords say."""
    made = {"rloo-2": (1, 10, 2, 0), "rebar": (1, 4, 3, 0), "rebar-coupled": (1, 5, 2, 0)}
    made |= {"unbiased_reinmax-1": (1, 3, 2, 0), "unbiased_reinmax-2": (1, 1, 4, 0)}
    made |= {"reinmax": (0, 1, 1, 0.5), "straight_through": (0, 1, 1, 0.0)} | changes
    rows = [
        {"problem": "max_cut", "stage": "late", "estimator": name, "unbiased": unbiased}
        | {"variance": variance, "evaluations": evaluations, "bias2": bias2, "bias2_error": 0.01}
        | {"gradient2": 2.0}
        for name, (unbiased, variance, evaluations, bias2) in made.items()
    ]
    (tmp_path / "compare").mkdir()
    pd.DataFrame(rows).to_csv(tmp_path / "compare/functions.csv", index=False)
    return Results(tmp_path)


def test_a_winner_has_the_least_variance_times_evaluations(tmp_path):
    """The better of two settings counts: 10 of 20 for REBAR, 4 of 20 for two samples of ours."""
    results = functions_of(tmp_path)
    (row,) = functions.winners(results)
    assert row["function"] == "max cut, late"
    assert (row["REBAR"], row["unbiased_reinmax"]) == ("0.5", "**0.2**")
    assert row["RODEO"] == "-" and row["best of the rest"] == "rloo-2 1"
    text = functions.against(results, "unbiased_reinmax", "REBAR")
    assert text == "1 of 1 cases (0.40 to 0.40 of its variance)"


def test_the_price_of_a_bias_is_where_the_errors_are_equal(tmp_path):
    """ReinMax: bias^2 .5 and cost 1 against cost 4: .5 + 1 / E = 4 / E at E = 6."""
    (row,) = functions.biased(functions_of(tmp_path))
    assert row["reinmax"] == "0.25 (6)"
    assert row["straight_through"] == "none found"
    assert row["concrete"] == "-"

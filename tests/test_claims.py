"""The one rule that gives the paper's claims their verdicts."""

import pytest

from scripts.intervals import Interval
from scripts.report.claims import Cell, Claim
from scripts.results import NOT_RUN


@pytest.mark.parametrize(
    ("ours", "full", "verdict"),
    [
        (None, True, NOT_RUN),
        (Interval(2.0, 1.5, 2.5, 3), True, "reproduced"),
        (Interval(2.0, 1.5, 2.5, 3), False, "supported"),  # shorter than the paper's
        (Interval(2.0, 0.5, 3.5, 9), True, "inconclusive"),  # the interval contains the boundary
        (Interval(0.5, 0.1, 2.0, 9), False, "inconclusive"),
        (Interval(2.0), True, "inconclusive"),  # one seed
        (Interval(2.0, 1.5, 2.5, 2), True, "inconclusive"),  # too few seeds
        (Interval(0.5, 0.1, 0.9, 3), True, "contradicted"),
        (Interval(0.5, 0.1, 0.9, 3), False, "contradicted"),
        (Interval(float("nan"), seeds=3), True, NOT_RUN),
    ],
)
def test_the_verdict_of_a_cell(ours, full, verdict):
    assert Cell("here", "2", ours, above=1.0, full=full).verdict == verdict
    if ours:
        turned = Interval(-ours.value, -ours.high, -ours.low, ours.seeds)
        assert Cell("here", "-2", turned, below=-1.0, full=full).verdict == verdict


def test_another_test_decides_in_the_place_of_the_interval():
    wide, narrow = Interval(1.2, 0.5, 3.0, 9), Interval(0.9, 0.8, 0.95, 9)
    for ours, differs, verdict in (
        (wide, True, "reproduced"),
        (wide, False, "inconclusive"),
        (narrow, True, "contradicted"),
        (narrow, False, "inconclusive"),
        (Interval(1.2, 1.1, 1.3, 2), True, "inconclusive"),  # too few seeds
    ):
        assert Cell("here", "2", ours, above=1.0, differs=differs).verdict == verdict


def test_the_verdict_of_a_claim():
    good = Cell("a", "2", Interval(2.0, 1.5, 2.5, 5), above=1.0)
    short = Cell("a, short", "", Interval(2.0, 1.5, 2.5, 5), above=1.0, full=False)
    open_ = Cell("b", "", Interval(1.0, 0.0, 2.5, 5), above=1.0)
    open_short = Cell("b, short", "", Interval(1.0, 0.0, 2.5, 5), above=1.0, full=False)
    bad = Cell("c", "", Interval(0.0, -1.0, 0.5, 5), above=1.0)
    none = Cell("d", "", None, above=1.0)
    for cells, verdict in (
        ([good, good], "reproduced"),
        ([good, none], "reproduced"),
        ([good, open_], "inconclusive"),
        ([good, open_, bad], "contradicted"),
        ([good, open_short], "reproduced"),  # cases of the paper's length decide
        ([short, short], "supported"),
        ([short, short, open_short, none], "of 3: 2 supported, 1 inconclusive"),
        ([none], NOT_RUN),
    ):
        assert Claim("", "", cells).verdict == verdict
    lines = Claim("", "", [good, none, none]).by_case
    assert lines == [
        "a: reproduced, 2.00 [1.50, 2.50] (claimed: above 1.00; paper: 2)",
        f"2 cases {NOT_RUN}",
    ]

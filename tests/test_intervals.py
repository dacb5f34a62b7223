"""Intervals over seeds against scipy's tests, textbook numbers and their own coverage."""

import numpy as np
import pytest
from scipy import stats

from scripts.intervals import (
    censored,
    difference,
    log_rank,
    mean,
    paired,
    ratio,
    share,
    solved_by,
    sooner,
)


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_the_interval_of_a_mean_is_the_t_test_s(n):
    values = np.random.default_rng(n).normal(2, 3, n)
    found = mean(values)
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    assert found.value == pytest.approx(values.mean())


@pytest.mark.parametrize(("n", "m"), [(2, 5), (5, 5), (20, 3)])
def test_the_interval_of_a_difference_is_welch_s(n, m):
    rng = np.random.default_rng(n)
    a, b = rng.normal(2, 3, n), rng.normal(0, 1, m)
    found = difference(a, b)
    wanted = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_the_interval_of_a_ratio_is_around_it():
    slow, fast = np.array([100.0, 120, 80, 100]), np.array([50.0, 60, 40, 50])
    found = ratio(slow, fast)
    assert found.value == 2
    assert 1.5 < found.low < 2 < found.high < 2.6


def test_the_probability_of_improvement_is_that_of_the_rank_sum_test():
    rng = np.random.default_rng(0)
    slow, fast = rng.integers(0, 30, 12), rng.integers(0, 20, 15)  # with ties
    found = sooner(slow, fast)
    pairs = stats.mannwhitneyu(slow, fast).statistic / (12 * 15)
    assert found.value == pytest.approx(pairs)
    assert found.low < found.value < found.high <= 1


def test_paired_seeds_are_compared_by_their_differences():
    """Numbers of a textbook example: differences 1, 2, 3 have the mean 2 and the error .577."""
    a, b = np.array([11.0, 22.0, 33.0]), np.array([10.0, 20.0, 30.0])
    found = paired(a, b)
    assert found.value == 2.0 and found.seeds == 3
    assert found.low == pytest.approx(2 - 4.302653 * 0.5773503, rel=1e-6)
    assert found.high == pytest.approx(2 + 4.302653 * 0.5773503, rel=1e-6)
    apart = difference(a, b)
    assert apart.value == 2.0 and apart.low < -20 < 20 < apart.high


def test_intervals_cover_the_truth_in_19_of_20_cases():
    rng = np.random.default_rng(0)
    hits = {"mean": 0, "difference": 0, "share": 0}
    for _ in range(1000):
        a, b = rng.normal(1.0, 1.0, 5), rng.normal(0.0, 3.0, 8)
        found = {"mean": (mean(a), 1.0), "difference": (difference(a, b), 1.0)}
        found["share"] = share(rng.random(200) < 0.7), 0.7
        for name, (interval, truth) in found.items():
            hits[name] += interval.low <= truth <= interval.high
    assert all(930 <= count <= 970 for count in hits.values()), hits


def test_seeds_that_do_not_solve_a_task_are_censored():
    """Two of five seeds stop at 100; by hand: 1/5 at 10, 2/5 at 20, and 3/5 at 40."""
    solved = np.array([True, True, True, False, False])
    times = censored(np.array([10, 20, 40, 100, 100]), solved)
    steps, shares = solved_by(times)
    assert list(steps) == [10, 20, 40, 100]
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.6])


def test_the_log_rank_test_finds_a_difference_that_is_there():
    """Exponential times: equal means give p < .05 in 1 of 20 cases, a ratio of 4 nearly always."""
    rng = np.random.default_rng(0)
    rejected = {1.0: 0, 4.0: 0}
    for _ in range(200):
        for ratio_of_means in rejected:
            groups = rng.exponential(50.0, 30), rng.exponential(50.0 * ratio_of_means, 30)
            p = log_rank(*(censored(t.clip(max=100), t < 100) for t in groups))
            rejected[ratio_of_means] += p < 0.05
    assert 2 <= rejected[1.0] <= 20 and rejected[4.0] >= 190


def test_where_no_seed_solved_the_task_nothing_differs():
    never = censored(np.array([5.0, 5.0]), np.array([False, False]))
    assert log_rank(never, never) == 1.0
    once = censored(np.array([3.0, 5.0]), np.array([True, False]))
    assert log_rank(never, once) < 1.0

"""The policies' figures by the data of their lines, and the table of times to solve."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scripts import rl_figures
from scripts.report import rl, rl_tables
from scripts.results import Results
from tests.drawn import caught as caught  # a fixture
from tests.drawn import lines, only, panel, write

PAPER = json.loads((Path(__file__).parents[1] / "results/paper/rl.json").read_text())


@pytest.fixture
def root(tmp_path):
    """A2C and RELAX on CartPole: three seeds of different lengths, two measured seeds each, one of
    them 1 above the other."""
    root = tmp_path / "rl/quick"
    for name, level in (("a2c", 10.0), ("relax", 40.0)):
        rows = [
            (0.01, seed, level * (seed + 1) + frames / 100, frames)
            for seed, end in ((0, 1000), (1, 800), (2, 900))
            for frames in range(0, end + 1, 100)
        ]
        write(root / f"cartpole/{name}.csv", ["lr", "seed", "return", "frames"], rows)
    head = ["lr", "seed", "solved_frames", "solved_episodes", "recent", "frames"]
    solved = {"a2c": [400, 600, 800], "relax": [100, 200, -1]}
    for name, when in solved.items():
        rows = [(0.01, seed, frames, 7, 1, 900) for seed, frames in enumerate(when)]
        write(root / f"cartpole/{name}-solved.csv", head, rows)
    head = ["lr", "seed", "return", "frames", "episodes", "logvar_a2c", "logvar_relax"]
    for name, level in (("a2c", 5.0), ("relax", -5.0)):
        rows = [
            (0.01, seed, 1, 30 * k, 10 * k + off, level + off + k, level - off - k)
            for k in range(6)
            for seed, off in ((0, -1), (1, 1))
        ]
        write(root / f"cartpole-variance/{name}.csv", head, rows)
    return root


@pytest.fixture
def fig(root, caught):
    rl_figures.figure(root, "cartpole", root / "figure")
    return caught[0]


@pytest.mark.parametrize(("name", "level"), [("a2c", 10.0), ("relax", 40.0)])
def test_the_return_is_the_interquartile_mean_over_seeds_as_far_as_all_have_gone(fig, name, level):
    """At f frames seed s has level (s + 1) + f / 100: of three seeds no quarter is left out, and
    1 of 27 samples of the bootstrap has the lowest seed alone, which is more than 2.5 %."""
    ax = panel(fig, "return of an episode")
    x, y = only(ax, name)
    assert x[-1] == 800
    np.testing.assert_allclose(y, 2 * level + x / 100)
    edges = sorted(line[1][-1] for line in lines(ax, name, 0.7))
    np.testing.assert_allclose(edges, [level + 8, 3 * level + 8])


def test_a_quarter_of_the_seeds_is_left_out_on_either_side():
    values = np.array([[0.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 1000.0]])
    low, high = rl_figures.interquartile_interval(values)
    assert 5 < low[0] < 15 < high[0] < 300


def test_the_share_of_solved_seeds_rises_where_a_seed_solves_the_task(fig):
    ax = panel(fig, "share of seeds that have solved")
    for name, wanted in (("a2c", {400: 1 / 3, 600: 2 / 3, 800: 1}), ("relax", {100: 1 / 3})):
        x, y = only(ax, name)
        assert x[-1] == 900
        for step, share in wanted.items():
            assert y[list(x).index(step)] == pytest.approx(share)
    assert only(ax, "relax")[1][-1] == pytest.approx(2 / 3)  # one seed never does


def test_the_ratio_is_that_of_the_means_up_to_each_length(fig):
    """At the whole length 600 / 400; up to 300 steps 300 over the mean of 100, 200 and 300."""
    x, y = only(panel(fig, "over the method's"), "relax")
    assert (x[-1], y[-1]) == (900, pytest.approx(1.5))
    assert np.interp(300, x, y) == pytest.approx(1.5, rel=0.03)


def test_each_variance_is_the_estimator_s_own_in_its_own_training(fig):
    ax = panel(fig, "in its own training")
    for name, wanted in (("a2c", 5.0 + np.arange(6)), ("relax", -5.0 - np.arange(6))):
        x, y = only(ax, name)
        assert x.tolist() == [0, 10, 20, 30, 40, 50]
        np.testing.assert_allclose(y, wanted)
        low, high = sorted(lines(ax, name, 0.7), key=lambda line: line[1][0])
        np.testing.assert_allclose(high[1] - wanted, wanted - low[1])
        np.testing.assert_allclose(high[1] - wanted, 12.706, rtol=1e-3)  # Student's t, 1 degree


def test_at_one_policy_every_estimator_has_its_own_line(fig):
    """The policies of A2C's training; episodes below, not frames."""
    ax = panel(fig, "all at A2C's policies")
    for name, wanted in (("a2c", 5.0 + np.arange(6)), ("relax", 5.0 - np.arange(6))):
        x, y = only(ax, name, 1.6)
        assert x.tolist() == [0, 10, 20, 30, 40, 50]
        np.testing.assert_allclose(y, wanted)


def test_the_paper_s_curves_are_its_own(fig):
    from matplotlib.colors import same_color

    from scripts import style

    for title, figure in (("return of an episode", "return"), ("own training", "log_variance")):
        ax = panel(fig, title)
        for name, curve in PAPER[f"{figure} cartpole"]["series"].items():
            drawn = [line for line in ax.lines if same_color(line.get_color(), style.dark(name))]
            assert any(list(line.get_ydata()) == curve["y"] for line in drawn), (figure, name)


def test_the_table_divides_the_baseline_s_frames_by_the_method_s(root):
    """Means 600 and 400, where an unsolved seed counts with its 900 frames."""
    rows = rl_tables.solve_table(Results(root.parents[1]), "quick")
    found = {row["estimator"]: row for row in rows if row["environment"] == "CartPole"}
    a2c, relax = found["A2C"], found["RELAX"]
    ratio, error = "A2C's steps ÷ this, [95 %]", np.std([100, 200, 900], ddof=1) / 3**0.5
    assert a2c["steps to solve ± se"].startswith("600 ±") and a2c[ratio] == "-"
    assert relax["steps to solve ± se"] == f"400 ± {error:.0f}"
    assert (a2c["seeds solved"], relax["seeds solved"]) == ("3 of 3", "2 of 3")
    assert (a2c["collapsed"], relax["collapsed"]) == ("-", "-")  # without entropies
    value, low, high = (float(x) for x in re.findall(r"[\d.]+", relax[ratio]))
    assert low < 1.0 < value == 1.5 < high
    assert relax["P(sooner than A2C)"].startswith("0.67")  # of 9 pairs 6
    theirs = PAPER["table"]["cartpole"]
    assert relax["paper's ratio"] == f"{theirs['a2c'][0] / theirs['relax'][0]:.2f}"
    assert (a2c["episodes"], relax["episodes"]) == ("7 ± 0", "not all solved")


def test_a_seed_that_is_deterministic_and_has_not_solved_the_task_has_collapsed(root):
    """Seed 2 of RELAX has not solved it; the entropy of its last row counts."""
    rows = [
        (0.01, seed, 1, 100 * k, 0.5 - 0.1 * k * (seed > 0)) for seed in range(3) for k in range(6)
    ]
    write(root / "cartpole/relax.csv", ["lr", "seed", "return", "frames", "entropy"], rows)
    rows = rl_tables.solve_table(Results(root.parents[1]), "quick")
    (relax,) = (row for row in rows if row["estimator"] == "RELAX" and row["steps"] == "900")
    assert relax["collapsed"] == "1"


def test_the_terms_are_shares_and_the_gain_is_what_the_method_removes(root):
    """Two policies at three points: shares of the sum, which is 100, and a gain of 20 %."""
    head = ["seed", "term_trajectory", "term_action", "term_state", "term_action_with_exact_value"]
    rows = [(seed, 20, 70, 10, 5, 50, 40) for seed in (0, 1) for _ in range(3)]
    write(root / "cartpole-terms/a2c.csv", [*head, "total_a2c", "total_relax"], rows)
    results = Results(root.parents[1])
    shares = rl_tables.term_shares(results.table("rl/quick/cartpole-terms/a2c.csv"))
    assert len(shares) == 3
    found = {name: share.value for name, share in shares[0].items()}
    assert found == pytest.approx(
        {"trajectory": 20, "action": 70, "action, exact V": 5, "state": 10, "gain of RELAX": 20}
    )


def test_variances_are_compared_between_runs_with_the_same_seed(tmp_path):
    """A2C's minus RELAX's: 10 and 12 in their own trainings, 8 and 8 at A2C's policies, 10 and 10
    at RELAX's; the first measurement does not count."""
    head = ["seed", "episodes", "logvar_a2c", "logvar_relax"]
    levels = {"a2c": [(20.0, 12.0), (22.0, 14.0)], "relax": [(20.0, 10.0), (20.0, 10.0)]}
    for name, (one, other) in levels.items():
        rows = [(seed, 0, 77, -77) for seed in (0, 1)]
        rows += [(0, k, *one) for k in (1, 2)] + [(1, k, *other) for k in (1, 2)]
        write(tmp_path / f"rl/paper/cartpole-variance/{name}.csv", head, rows)
    results = Results(tmp_path)
    own = rl.lower_variance(results, "cartpole")
    at_a2c, at_relax = rl.lower_at_same_policies(results, "cartpole")
    assert (own.ours.value, own.ours.seeds) == (pytest.approx(11), 2)
    assert (at_a2c.ours.value, at_a2c.ours.low) == (pytest.approx(8), pytest.approx(8))
    assert at_relax.ours.value == pytest.approx(10)


def test_a_short_run_in_which_every_seed_solves_the_task_is_a_full_one(root):
    """Its times are those of any longer run; otherwise it is short."""
    results = Results(root.parents[1])
    place = root.parent / "paper/cartpole"
    head = ["seed", "solved_frames", "frames"]
    for name, times in (("a2c", (400, 600, 800)), ("relax", (100, 150, 200))):
        write(place / f"{name}-solved.csv", head, [(s, t, 900) for s, t in enumerate(times)])
        write(place / f"{name}.csv", ["seed"], [(0,)])
    assert rl.faster(results, "cartpole", 2.0).full
    write(place / "relax-solved.csv", head, [(0, 100, 900), (1, -1, 900)])
    assert not rl.faster(Results(root.parents[1]), "cartpole", 2.0).full


def test_runs_of_two_lengths_are_compared_up_to_the_shorter_one():
    short = pd.DataFrame({"solved_frames": [300, -1], "frames": 500})
    long = pd.DataFrame({"solved_frames": [400, 800, -1], "frames": 1000})
    assert [steps.tolist() for steps in rl.at_one_length(long, short)] == [
        [400, 500, 500],
        [300, 500],
    ]


def test_a_run_at_other_rates_than_the_configuration_s_is_said_to_be_old(root):
    place, results = root.parent / "paper/cartpole", Results(root.parents[1])
    head = ["lr", "scale", "seed", "solved_frames", "frames"]
    for name, lr in (("a2c", 0.003), ("relax", 0.01)):
        write(place / f"{name}-solved.csv", head, [(lr, 1.0, 0, 5, 1000)])
        write(place / f"{name}.csv", ["seed"], [(0,)])
    assert rl_tables.size(results, "cartpole") == "1 seed of 1000 steps"
    write(place / "relax-solved.csv", head, [(0.1, 1.0, 0, 5, 1000)])
    text = rl_tables.size(Results(root.parents[1]), "cartpole")
    assert text == "1 seed of 1000 steps at the rates of an earlier grid"

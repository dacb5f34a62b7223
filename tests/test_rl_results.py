"""The tables of finished runs."""

import csv

import numpy as np

from experiments.rl.results import POINTS, restricted, summary, thinned


def test_a_seed_that_does_not_solve_counts_with_its_budget():
    table = {"solved_frames": np.array([-1, 30]), "frames": np.array([100, 100])}
    assert restricted(table).tolist() == [100, 30]


def test_a_summary_has_the_restricted_mean_and_its_standard_error(tmp_path):
    """Three rates of three seeds; a seed that does not solve it counts with all 900 frames."""
    rows = [("lr", "seed", "solved_frames", "solved_episodes", "recent", "frames")]
    rows += [(0.1, s, 100 + 200 * s, 10 + s, 50 + s, 900) for s in range(3)]
    rows += [(0.2, s, -1, -1, 5, 900) for s in range(3)]
    rows += [(0.3, s, 300 if s else -1, 20 if s else -1, 7, 900) for s in range(3)]
    with (tmp_path / "a2c-solved.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    fast, slow, partly = summary(tmp_path / "a2c-solved.csv")
    error = f"{np.std([100, 300, 500], ddof=1) / 3**0.5:.0f}"
    assert fast == ["a2c", "lr=0.1", 3, 900, 3, "300", error, "11", "51.0", "", ""]
    assert slow == ["a2c", "lr=0.2", 3, 900, 0, "900", "0", "", "5.0", "", ""]
    assert partly == ["a2c", "lr=0.3", 3, 900, 2, "500", "200", "", "7.0", "", ""]


def test_a_thinned_curve_is_the_mean_of_each_hundredth(tmp_path):
    """Two rows to a part of a run of 1000 frames; a replica that sat out leaves none."""
    rows = [("step", "seed", "return", "frames")]
    for step in range(200):
        rows.append((step, 0, step, 5 * step))
        rows.append((step, 1, "", ""))
    with (tmp_path / "metrics.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    curves = thinned(tmp_path, 1000)
    assert list(curves) == ["seed", "return", "frames"]
    assert curves["seed"].tolist() == [0] * POINTS
    assert curves["return"].tolist() == [2 * k + 0.5 for k in range(POINTS)]

"""Around the updates: when a task is solved, which seeds and rates, what a summary says."""

import csv

import numpy as np
import pytest
import torch

from experiments.rl.config import Env, Rl, arm
from experiments.rl.loop import Scores, replicas_of
from experiments.rl.report import POINTS, summary, thinned
from experiments.rl.variance import begin, log_variance
from tests.policies import everyone, made_batch, small

# ---- solved ----


def after(returns: list[float], goal: float) -> Scores:
    """Scores of one replica that played episodes of one step with these returns."""
    scores = Scores(1, goal)
    ends = [[1] * len(returns)]
    batch = made_batch([returns], ends, [[0] * len(returns)])
    batch.last = batch.last.bool()
    scores.add(batch)
    return scores


def test_the_mean_must_be_above_the_goal():
    assert after([195.0] * 120, 195.0).solved_frames.tolist() == [-1]
    assert after([195.5] * 120, 195.0).solved_frames.tolist() == [100]


def test_fewer_than_a_hundred_episodes_solve_nothing():
    scores = after([500.0] * 99, 195.0)
    assert scores.solved_frames.tolist() == [-1]
    assert scores.latest().tolist() == [500.0]  # what is shown is the mean of those there are


def test_what_was_solved_behind_the_end_does_not_count():
    """A longer run that is cut: one seed solved it before the new end, one behind it."""
    run = small(True, "a2c", seeds=2)
    run.config.frames = 1000
    run.scores.solved_frames[:] = 900, 1100
    run.scores.solved_episodes[:] = 90, 110
    found = run.summary()
    assert found["solved_frames"] == [900, -1] and found["solved_episodes"] == [90, -1]


# ---- seeds and rates ----


def test_the_grid_s_seeds_are_none_of_those_shown():
    seeds = {}
    for mode in ("grid", "train"):
        made = Rl(frames=10, seeds=3, mode=mode, estimators={"a2c": {"lr": [0.1, 0.2]}})
        keys = replicas_of(made, arm("a2c", {"lr": [0.1, 0.2]}, made)[1])
        assert keys["lr"] == [0.1] * 3 + [0.2] * 3
        seeds[mode] = keys["seed"][:3]
    assert seeds == {"grid": [0, 1, 2], "train": [100, 101, 102]}


@pytest.mark.parametrize("name", ["relax", "relax_score"])
def test_rates_given_win_over_those_of_the_environment(name):
    env = Env(rates={"relax": {"lr": [0.5], "scale": [0.1]}}, grid={"relax": {"lr": [1.0, 2.0]}})
    made = Rl(env=env, frames=10, estimators={name: {}})
    own = arm(name, {}, made)[1]
    assert (own.lr, own.scale) == ([0.5], [0.1])
    own = arm(name, {"lr": [0.25]}, made)[1]
    assert (own.lr, own.scale) == ([0.25], [0.1])
    made.mode = "grid"
    assert arm(name, {}, made)[1].lr == [1.0, 2.0]


# ---- the variance ----


def test_every_measurement_plays_episodes_of_its_own():
    """The same ones at the same update, others at the next and for another seed."""
    run = small(True, "a2c", seeds=2, mode="variance")
    shadow = small(True, "a2c", seeds=6, mode="variance")
    seen = {}
    for update in (0, 1):
        run.updates = update
        for row in (0, 1):
            begin(shadow, run, row, run.seeds[row])
            seen[update, row] = list(shadow.seeds)
    assert len({seed for seeds in seen.values() for seed in seeds}) == 4 * 6
    run.updates = 0
    begin(shadow, run, 0, run.seeds[0])
    assert shadow.seeds == seen[0, 0]


def test_a_dead_parameter_has_no_logarithm():
    """Variances 1 and e^2, and a 0 that is left out: the mean of the logarithms is 1."""
    e = np.e
    alive = torch.tensor([[1.0, e], [-1.0, -e]]) / 2**0.5
    assert log_variance([alive, torch.zeros(2, 3)]).item() == pytest.approx(1.0, abs=1e-6)


def test_replicas_that_are_done_neither_move_nor_learn():
    run = small(True, "a2c", seeds=2)
    batch = run.play(everyone(run))
    before = [p.detach().clone() for p in run.learner.tensors()]
    run.learner.update(batch, torch.tensor([True, False]))
    for p, q in zip(run.learner.tensors(), before, strict=True):
        assert torch.equal(p[1], q[1]) and not torch.equal(p[0], q[0])


# ---- tables ----


def test_a_summary_has_the_restricted_mean_and_its_standard_error(tmp_path):
    """Two rates of three seeds: 100, 300 and 500 frames; unsolved seeds count with all 900."""
    rows = [("lr", "seed", "solved_frames", "solved_episodes", "recent", "frames")]
    rows += [(0.1, s, 100 + 200 * s, 10 + s, 50 + s, 900) for s in range(3)]
    rows += [(0.2, s, -1, -1, 5, 900) for s in range(3)]
    with (tmp_path / "a2c-solved.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    fast, slow = summary(tmp_path / "a2c-solved.csv")
    error = f"{np.std([100, 300, 500], ddof=1) / 3**0.5:.0f}"
    assert fast == ["a2c", "lr=0.1", 3, 900, 3, "300", error, "11", "51.0", "", ""]
    assert slow == ["a2c", "lr=0.2", 3, 900, 0, "900", "0", "", "5.0", "", ""]


def test_a_thinned_curve_is_the_mean_of_each_hundredth(tmp_path):
    """Two rows to a part of a run of 1000 frames; a replica that sat out leaves none."""
    rows = [("step", "seed", "return", "frames")]
    for step in range(200):
        rows.append((step, 0, step, 5 * step))
        rows.append((step, 1, "", ""))
    with (tmp_path / "metrics.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    names, found = thinned(tmp_path, 1000)
    assert names == ["seed", "return", "frames"]
    assert len(found) == POINTS and {row[0] for row in found} == {"0"}
    assert [float(row[1]) for row in found] == [2 * k + 0.5 for k in range(POINTS)]

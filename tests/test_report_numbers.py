"""The report's numbers, from small results written by hand, and how they are written."""

import json

import numpy as np
import pandas as pd
import pytest

from scripts import runs
from scripts.report import rl_grids, rl_target, vae
from scripts.results import NOT_RUN, Results, number, took
from tests.drawn import write


def write_paper(root, tables: dict) -> None:
    (root / "paper").mkdir()
    (root / "paper" / "tables.json").write_text(json.dumps(tables))


# ---- the VAE ----


def test_an_estimator_is_shown_at_its_best_rate_on_validation(tmp_path):
    place = tmp_path / "vae/long/mnist-linear1"
    write(
        place / "summary.csv",
        ["estimator", "lr", "valid", "train", "steps"],
        [("relax", 0.01, 120, 90, 10), ("relax", 0.001, 100, 99, 10), ("rebar", 0.001, 1, 1, 10)],
    )
    rows = [(e, lr, s, lr * 1e5 + s) for e in (1, 2) for lr in (0.01, 0.001) for s in (0, 1)]
    write(place / "relax.csv", ["epoch", "lr", "seed", "train"], rows)
    found = runs.best_run(Results(tmp_path), "long", "mnist-linear1", "relax")
    assert found.row["valid"] == 100 and found.seeds == 2
    assert found.at("train", 2).tolist() == [100, 101]
    assert found.at("train", 3) is None


def test_epochs_are_counted_to_rebar_s_score_at_half_of_the_run(tmp_path):
    """REBAR is at 120 after half of 40 epochs; RELAX gets there after 15, 30 and never (40)."""
    place = tmp_path / "vae/long/mnist-linear1"
    head = ["estimator", "lr", "valid", "train", "steps"]
    write(place / "summary.csv", head, [(name, 0.1, 1, 1, 10) for name in ("rebar", "relax")])
    curves = {
        "rebar": [[130, 120, 115, 110]] * 3,
        "relax": [[125, 115, 110, 105], [140, 130, 120, 110], [150, 140, 135, 130]],
    }
    for name, seeds in curves.items():
        rows = [(10 * (k + 1), 0.1, s, seeds[s][k]) for k in range(4) for s in range(3)]
        write(place / f"{name}.csv", ["epoch", "lr", "seed", "valid"], rows)
    paper = {"table epochs": {"mnist-linear1": {"relax": 531, "rebar": 857}}}
    write_paper(tmp_path, paper)
    cell = vae.epochs(Results(tmp_path), "long", "mnist-linear1")
    assert cell.ours.value == pytest.approx(np.mean([15 / 20, 30 / 20, 40 / 20]))
    assert cell.ours.seeds == 3 and cell.below == 1.0


# ---- policies ----


def test_the_grid_shows_the_rates_with_the_fewest_frames(tmp_path):
    place = tmp_path / "rl/paper/cartpole-grid"
    head = "estimator rates seeds frames solved solved_frames solved_frames_se recent".split()
    rows = [
        ("a2c", "lr=0.1", 5, 1000, 2, 900, 10, 100),
        ("a2c", "lr=0.2", 5, 1000, 5, 300, 20, 50),
        ("a2c", "lr=0.3", 5, 1000, 4, 500, 30, 200),
    ]
    write(place / "summary.csv", head, rows)
    write(place / "a2c-solved.csv", ["seed"], [(0,)])
    write(place / "a2c.csv", ["seed"], [(0,)])
    (a2c,) = (r for r in rl_grids.grid(Results(tmp_path), "cartpole") if r["estimator"] == "A2C")
    cells = list(a2c.values())
    assert cells[1:7] == ["lr=0.2", "3", "1000", "5 of 5", "300 ± 20", "50.0"]


def test_the_sensitivity_has_a_row_per_rate_at_the_best_of_the_others(tmp_path):
    """The rates are the grid's; no seed of A2C solves the task at .001, RELAX was not run there."""
    place = tmp_path / "rl/paper/cartpole-grid"
    head = "estimator rates seeds frames solved solved_frames solved_frames_se recent".split()
    rows = [
        ("a2c", "lr=0.001 scale=1", 5, 1000, 0, 1000, 0, 100),
        ("a2c", "lr=0.001 scale=0.1", 5, 1000, 0, 1000, 0, 120),
        ("a2c", "lr=0.003 scale=1", 5, 1000, 4, 500, 30, 200),
        ("relax", "lr=0.003 scale=1", 5, 1000, 5, 400, 20, 50),
        ("relax", "lr=0.003 scale=0.1", 5, 1000, 5, 300, 20, 50),
    ]
    write(place / "summary.csv", head, rows)
    for name in ("a2c", "relax"):
        write(place / f"{name}-solved.csv", ["seed"], [(0,)])
        write(place / f"{name}.csv", ["seed"], [(0,)])
    found = [
        (row["lr"], row["A2C"], row["RELAX"])
        for row in rl_grids.sensitivity(Results(tmp_path), "cartpole")
    ]
    assert found == [
        ("0.001", "never, return 120", "not run"),
        ("0.003", "500 ± 30 (4 of 5)", "300 ± 20 (5 of 5)"),
        ("0.01", "not run", "not run"),
    ]


def test_the_target_task_is_compared_at_the_best_of_the_whole_grid(tmp_path):
    """A2C is best at the third KL, LAX at the fourth; their runs there need 300 and 200 steps."""
    grid, runs = tmp_path / "rl/paper/target-grid", tmp_path / "rl/paper/target"
    head = "estimator rates seeds frames solved solved_frames solved_frames_se recent".split()
    best = {"a2c": (500, 400, 300, 400), "lax": (500, 400, 300, 200)}
    rows = [
        (f"{name}-kl{kl}", "lr=0.1", 5, 1000, 5, steps, 10, 0)
        for name, all_steps in best.items()
        for kl, steps in zip(rl_target.KLS, all_steps, strict=True)
    ]
    write(grid / "summary.csv", head, rows)
    for name, *_, steps, _, _ in rows:
        for place in (grid, runs):
            write(place / f"{name}.csv", ["seed"], [(0,)])
            seeds = [(seed, steps + 10 * seed, 1000) for seed in (-1, 0, 1)]
            write(place / f"{name}-solved.csv", ["seed", "solved_frames", "frames"], seeds)
    results = Results(tmp_path)
    assert rl_target.best(results, "lax") == f"lax-kl{rl_target.KLS[3]}"
    text = rl_target.at_their_best(results)
    assert text.startswith(
        "A2C (kl0.3) 300 ± 6 (3 of 3) and LAX (kl1) 200 ± 6 (3 of 3), a ratio of 1.50"
    )
    (same,) = (row for row in rl_target.rows(results) if row["target KL"] == "0.3")
    assert same["A2C's steps over LAX's"].startswith("1.00")


# ---- the toy ----


@pytest.mark.parametrize("t", [0.4, 0.6])
def test_the_way_covered_is_0_at_the_start_and_1_at_the_optimum(t):
    start = 0.5 * t**2 + 0.5 * (1 - t) ** 2
    assert runs.covered(start, t) == pytest.approx(0)
    assert runs.covered(0.4**2, t) == pytest.approx(1)
    assert runs.covered((start + 0.4**2) / 2, t) == pytest.approx(0.5)


def test_the_signal_is_the_gradient_over_the_deviation():
    """theta = .5, t = .4: |1 - 2t| / 4 = .05; the log-variance is that of a deviation of .1."""
    table = {
        "step": np.repeat([50.0, 100.0], 2),
        "seed": np.tile([0.0, 1.0], 2),
        "loss": np.full(4, 0.26),
        "theta": np.array([0.5, 0.5, 0.5, 0.2]),
        "log_variance": np.full(4, 2 * np.log(0.1)),
    }
    run = runs.ToyRun(pd.DataFrame(table), 0.4)
    assert run.signal.tolist() == pytest.approx([0.5, (0.5 + 0.2 * 0.2 * 0.8 / 0.1) / 2])
    assert run.on_better_side.tolist() == [False, True]


# ---- text ----


def test_what_a_run_took():
    assert (
        took({"seconds": 192.0, "device": "AMD EPYC (1 thread)"}) == "3.2 min, AMD EPYC (1 thread)"
    )
    assert took({"seconds": 45.0}) == "45 s"  # a file from before the device was recorded
    assert took({"seconds": float("nan"), "device": float("nan")}) == took(None) == NOT_RUN


def test_numbers():
    assert number(None, 2) == number(float("nan"), 2) == NOT_RUN
    assert number(-0.001, 1) == "0.0"
    assert number(250_000, 0) == "250 000"

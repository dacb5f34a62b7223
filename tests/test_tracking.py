"""The record of a run, and its mirror in W&B."""

import json

import numpy as np
import pytest
import torch
from matplotlib.image import imsave

from experiments.run.files import read_table
from experiments.run.folder import RunFolder
from experiments.run.tracker import Tracker
from experiments.run.tracking import show_figures
from tests.tracked import DISABLED, OFFLINE, rows_of, track, wandb_runs


def test_the_record_reads_back_as_the_same_numbers(tmp_path):
    table = read_table(track(tmp_path))
    assert list(table) == ["step", "seed", "lr", "loss", "reward"]
    assert len(table["step"]) == 12
    assert table["lr"].tolist()[:3] == [0.1, 0.1, 0.0005]
    expected = np.concatenate(
        [np.float32([1 / 3, 0.1, -2.5e-8]) * np.float32(s) for s in (1, 2, 3, 4)]
    )
    assert (table["loss"].astype(np.float32) == expected).all()
    assert np.isnan(table["reward"][:3]).all()
    assert table["reward"][3:6].tolist() == [1 / 7, 2 / 7, 3 / 7]


def test_numbers_are_as_short_as_they_can_be(tmp_path):
    first = track(tmp_path).read_text().splitlines()[1]
    assert first == "1,0,0.1,0.33333334,"


def test_what_was_not_announced_is_refused(tmp_path):
    with RunFolder(tmp_path, {}) as folder:
        with pytest.raises(RuntimeError, match="folder.load"):
            Tracker(folder, {"seed": [0]}, ["x"], 1).__enter__()
        folder.load()
        with Tracker(folder, {"seed": [0, 1]}, ["x"], 1, DISABLED) as tracker:
            with pytest.raises(ValueError, match=r"unknown metric \['y'\]"):
                tracker.log(1, {"y": 1.0})
            tracker.log(1, {"x": torch.zeros(2, 1)})
            with pytest.raises(ValueError, match="shape"):
                tracker.flush()
            tracker.log(1, {"x": 1.0})
            with pytest.raises(RuntimeError, match="save, then finish"):
                tracker.finish({}, "")


# ---- W&B ----


def test_wandb_holds_the_quantiles_of_the_record(tmp_path):
    table = read_table(track(tmp_path, OFFLINE))
    (run,) = wandb_runs(tmp_path)
    expected = []
    for step in (1, 2, 3, 4):
        logged = {"step": step}
        for name in ("loss", "reward"):
            values = table[name][table["step"] == step]
            if not np.isnan(values).any():
                for label, level in (("median", 0.5), ("q10", 0.1), ("q90", 0.9)):
                    logged[f"{name}/{label}"] = np.quantile(values, level)
                logged[f"{name}/first"] = values[0]
        expected.append(logged)
    assert rows_of(run) == expected
    assert "toy-relax" in run["folder"]


def test_wandb_has_one_run_per_row_where_asked(tmp_path):
    table = read_table(track(tmp_path, OFFLINE, rows="each"))
    runs = wandb_runs(tmp_path)
    assert len(runs) == 3
    names = {run["folder"].split("-toy-")[1].rsplit("-", 1)[0] for run in runs}
    assert names == {"relax-lr0.1-s0", "relax-lr0.1-s1", "relax-lr5e-4-s2"}
    last = next(run for run in runs if "-s2-" in run["folder"])
    assert [row["loss"] for row in rows_of(last)] == table["loss"][table["seed"] == 2].tolist()


def test_a_resumed_run_tells_wandb_everything_once(tmp_path):
    track(tmp_path / "whole", OFFLINE, media=True)
    track(tmp_path / "cut", OFFLINE, stop=2, media=True)
    track(tmp_path / "cut", OFFLINE, media=True)
    (whole,), (cut,) = wandb_runs(tmp_path / "whole"), wandb_runs(tmp_path / "cut")

    def in_order(run):
        return sorted(map(json.dumps, rows_of(run)))

    assert in_order(cut) == in_order(whole)
    assert len([row for row in rows_of(cut) if "gradient" in str(row)]) == 4


def test_figures_are_a_run_of_their_own_that_replaces_the_last(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    picture = tmp_path / "curves.png"
    imsave(picture, np.zeros((4, 4)))
    show_figures(tmp_path, "toy-smoke", tmp_path / "runs", [picture])
    assert not (tmp_path / "runs").exists()  # nobody mirrors runs here
    track(tmp_path, OFFLINE)
    for _ in range(2):
        show_figures(tmp_path, "toy-smoke", tmp_path / "runs", [picture])
    _, run = sorted(wandb_runs(tmp_path), key=lambda run: "figures" in run["folder"])
    (row,) = rows_of(run)
    assert {key.split(".")[0] for key in row} == {"curves", "step"}

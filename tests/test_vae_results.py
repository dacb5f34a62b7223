"""The VAE's summary rows, number by number, from a small run written by hand."""

import csv
import json

import numpy as np
import pytest

from experiments.vae.results import SUMMARY, export, summary_rows
from tests.vaes import config, three_splits

# Two rates with two seeds each, two epochs. By validation .001 is best, by training and test .01.
LR = [0.01, 0.01, 0.001, 0.001]
TABLE = {
    "step": [10] * 4 + [20] * 4,
    "lr": LR * 2,
    "seed": [0, 1] * 4,
    "train": [150.0, 150, 150, 150, 90, 92, 100, 104],
    "valid": [94.0, 96, 140, 140, 120, 122, 98, 99],
    "variance_logits": [7.0] * 4 + [10.0, 1000.0, 4.0, 4.0],
    "variance_weights": [7.0] * 4 + [2.0, 2.0, 3.0, 12.0],
}
RUN = {
    "lr": LR,
    "seed": [0, 1, 0, 1],
    "valid": [120.0, 122.0, 98.0, 99.0],
    "test": [80.0, 82.0, 101.0, 105.0],
    "valid_iwae": [118.0, 120.0, 96.0, 97.0],
    "test_iwae": [78.0, 80.0, 99.0, 103.0],
    "seconds": 7.0,
    "device": "a CPU",
}


@pytest.fixture
def rows() -> dict[str, dict[str, str]]:
    """Learning rate -> its row of summary.csv."""
    table = {name: np.array(column, dtype=np.float64) for name, column in TABLE.items()}
    found = [dict(zip(SUMMARY, row, strict=True)) for row in summary_rows("relax", table, RUN)]
    assert [row["lr"] for row in found] == ["0.01", "0.001"]
    return {row["lr"]: row for row in found}


def numbers(row: dict[str, str], *names: str) -> list[float]:
    return [float(row[name]) for name in names]


def test_means_and_standard_errors_are_over_seeds_at_the_last_step(rows):
    names = ("train", "train_se", "valid", "valid_se")
    assert numbers(rows["0.001"], *names) == [102.0, 2.0, 98.5, 0.5]
    assert numbers(rows["0.01"], *names) == [91.0, 1.0, 121.0, 1.0]


def test_the_test_images_are_given_for_the_rate_that_is_best_on_validation(rows):
    best, other = rows["0.001"], rows["0.01"]
    assert numbers(best, "test", "test_se", "test_iwae") == [103.0, 2.0, 101.0]
    assert [other[name] for name in ("test", "test_se", "test_iwae")] == ["", "", ""]
    assert numbers(other, "valid_iwae") == [119.0]


def test_a_rate_at_which_a_seed_diverged_is_not_the_best():
    """The mean over its other seed, 98, would be the best of all."""
    table = {name: np.array(column, dtype=np.float64) for name, column in TABLE.items()}
    run = RUN | {"valid": [120.0, 122.0, 98.0, np.nan]}
    found = [dict(zip(SUMMARY, row, strict=True)) for row in summary_rows("relax", table, run)]
    assert [row["test"] != "" for row in found] == [True, False]
    assert [row["valid"] for row in found] == ["121.0000", ""]


def test_the_best_validation_score_is_the_lowest_point_of_the_mean_curve(rows):
    assert numbers(rows["0.01"], "valid_best") == [95.0]
    assert numbers(rows["0.001"], "valid_best") == [98.5]


def test_log_variances_are_means_of_logarithms(rows):
    names = ("log_variance_logits", "log_variance_weights")
    assert numbers(rows["0.01"], *names) == pytest.approx([np.log(100.0), np.log(2.0)], abs=1e-4)
    assert numbers(rows["0.001"], *names) == pytest.approx([np.log(4.0), np.log(6.0)], abs=1e-4)


def test_export_writes_the_rows_and_keeps_those_of_others(run_dirs, tmp_path, rows):
    settings, images = config(run_dirs), three_splits()
    run = tmp_path / "runs/vae/test/splits-linear1/relax"
    run.mkdir(parents=True)
    (run / "summary.json").write_text(json.dumps(RUN | {"step": 20}))
    with (run / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([list(TABLE), *zip(*TABLE.values(), strict=True)])
    place = tmp_path / "results/vae/test/splits-linear1"
    place.mkdir(parents=True)
    other = ["rebar", "0.001", *["1"] * (len(SUMMARY) - 2)]
    (place / "summary.csv").write_text("\n".join([",".join(SUMMARY), ",".join(other)]) + "\n")
    export(settings, "relax", images)
    with (place / "summary.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert found[0] == dict(zip(SUMMARY, other, strict=True))
    assert sorted(found[1:], key=lambda row: row["lr"]) == [rows["0.001"], rows["0.01"]]
    with (place / "relax.csv").open(newline="") as file:
        curve = list(csv.DictReader(file))
    for name in TABLE:
        assert [float(row[name]) for row in curve] == pytest.approx(TABLE[name], rel=1e-6)

"""Each family's smoke preset end to end: metrics.csv, W&B's offline files and results/ agree."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imsave

from experiments.run.files import read_table
from scripts.style import upload
from tests.torture import victims
from tests.tracked import rows_of, wandb_runs

KEYS = ("step", "seed", "lr", "scale")
OFFLINE = ("tracking.mode=offline", "save_every=30")
OVERRIDES = {"toy": ("estimator=[rebar,relax,exact]",), "vae": ("epochs=2",), "rl": ()}
OVERRIDES["permutations"] = ("estimator=[rebar,relax,exact]", "n=5")


@pytest.fixture(scope="module", params=OVERRIDES)
def finished(request, tmp_path_factory) -> Path:
    """The folder of a family's smoke preset, made smaller still, run by its command."""
    family, place = request.param, tmp_path_factory.mktemp(request.param) / request.param
    victims.prepare()
    assert victims.run(family, place, *OVERRIDES[family], *OFFLINE) == 0, victims.output(place)
    return place


@pytest.fixture(scope="module")
def mirrored(finished) -> list[dict]:
    """What W&B's offline files hold."""
    return wandb_runs(finished)


def records(place: Path) -> dict[str, dict]:
    """estimator -> its metrics.csv; a folder without a summary is not a run of its own."""
    files = (place / "runs").glob("*/*/*/*/metrics.csv")
    return {file.parent.name: read_table(file) for file in files}


def logged_by(table: dict, here: np.ndarray) -> dict[str, float]:
    """What one row of the record says, empty cells left out."""
    names = [name for name in table if name not in KEYS]
    return {n: table[n][here][0] for n in names if not np.isnan(table[n][here][0])}


def quantiles(table: dict, step: float) -> dict[str, float]:
    found, here = {}, table["step"] == step
    for name in (name for name in table if name not in KEYS):
        values = table[name][here]
        if not np.isnan(values).any():
            for label, level in (("median", 0.5), ("q10", 0.1), ("q90", 0.9)):
                found[f"{name}/{label}"] = np.quantile(values, level)
            found[f"{name}/first"] = values[0]
    return found


def numbers(row: dict, table: dict) -> dict[str, float]:
    """The metrics in a row of W&B's history: no pictures, no histograms."""
    named = {k: float(v) for k, v in row.items() if k != "step" and k.split("/")[0] in table}
    return {k: v for k, v in named.items() if not np.isnan(v)}


def test_wandb_holds_the_record(finished, mirrored):
    """Every logged number: one run per row of the record, or the quantiles over its rows."""
    compared = 0
    for name, table in records(finished).items():
        mine = [run for run in mirrored if f"-{name}-" in run["folder"]]
        rows = len(table["seed"][table["step"] == table["step"][0]])
        assert len(mine) in (0, 1, rows)  # none where a part of the experiment is not mirrored
        for run in mine:
            seed = next(
                (s for s in np.unique(table["seed"]) if f"-s{s:.0f}-" in run["folder"]), None
            )
            steps = np.unique(
                table["step"] if seed is None else table["step"][table["seed"] == seed]
            )
            found = {row["step"]: logged for row in rows_of(run) if (logged := numbers(row, table))}
            assert sorted(found) == steps.tolist()
            for step in steps:
                here = (table["step"] == step) & (table["seed"] == seed)
                expected = quantiles(table, step) if seed is None else logged_by(table, here)
                assert found[step] == pytest.approx(expected, rel=1e-12)
                compared += 1
    assert compared


def test_wandb_holds_the_histograms_of_gradients(finished, mirrored):
    """As many as media.jsonl, at its steps."""
    kept = [
        json.loads(line)["step"]
        for file in finished.glob("runs/*/*/*/*/media.jsonl")
        for line in file.read_text().splitlines()
        if '"name": "gradient"' in line
    ]
    rows = [row for run in mirrored for row in rows_of(run)]
    shown = [row["step"] for row in rows if any(key.startswith("gradient") for key in row)]
    assert kept and sorted(shown) == sorted(kept)


def test_the_same_numbers_in_another_time_change_no_result(finished):
    """So that git shows nothing where a reader's run gives the numbers that are committed."""
    before = {file: file.read_bytes() for file in finished.glob("results/**/*.csv")}
    for file in finished.glob("runs/*/*/*/*/summary.json"):
        summary = json.loads(file.read_text())
        took = {"seconds": 3 * summary["seconds"] + 1, "device": "another"}
        file.write_text(json.dumps({**summary, **took}))
    assert victims.run(finished.name, finished, *OVERRIDES[finished.name], *OFFLINE) == 0
    assert {file: file.read_bytes() for file in finished.glob("results/**/*.csv")} == before


def test_figures_are_shown_beside_the_runs_that_they_are_of(finished, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    (case,) = finished.glob("runs/*/smoke/*")
    picture = finished / "curves.png"
    imsave(picture, np.zeros((4, 4)))
    upload(finished / "runs", finished.name, "smoke", case.name, [picture])
    group = f"{finished.name}-smoke-{case.name}"
    (folder,) = finished.glob(f"runs/wandb/offline-run-*-{group}-figures-*")
    assert list(folder.glob("files/media/images/curves*.png"))


def test_results_hold_the_record(finished):
    """Curves under results/ are the record's columns in single precision, or means of its rows."""
    compared = 0
    for name, table in records(finished).items():
        for file in (finished / "results").rglob(f"{name}.csv"):
            curve = read_table(file)
            for column in (c for c in curve if c in table and c not in KEYS):
                ours, record = curve[column], table[column]
                if len(ours) == len(record):
                    assert np.array_equal(np.float32(ours), np.float32(record), equal_nan=True)
                else:
                    low, high = np.nanmin(record), np.nanmax(record)
                    assert low - 1e-3 <= np.nanmin(ours) and np.nanmax(ours) <= high + 1e-3
                compared += 1
    assert compared

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
OVERRIDES = {
    "toy": ("estimator=[rebar,relax,exact]",),
    "vae": ("epochs=2", "pictures=true"),
    "rl": (),
    "permutations": ("estimator=[rebar,relax,exact]", "n=5"),
}
GROUPS = {
    "toy": "toy-smoke-t0.499",
    "vae": "vae-smoke-digits-linear1",
    "rl": "rl-smoke-cartpole",
    "permutations": "permutations-smoke-matching-n5",
}
JOB_TYPES = {  # by the names of the runs
    "toy": {f"toy-t0.499-{name}": name for name in ("rebar", "relax", "exact")},
    "vae": {"vae-digits-linear1-relax-lr5e-4-s0": "relax"},
    "rl": {f"rl-cartpole-relax-lr0.01-scale1-s{seed}": "relax" for seed in (100, 101)},
    "permutations": {
        f"permutations-matching-n5-{name}": name for name in ("rebar", "relax", "exact")
    },
}
PICTURES = {"vae": {"reconstructions", "samples"}}
WITHOUT_HISTOGRAM = {"exact"}  # one gradient, the same in every draw
NOT_MIRRORED = {"step", "seconds", "device"}  # what the run folder adds to a summary


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


def folder_of(finished: Path, run: dict) -> Path:
    """The run folder that a W&B run mirrors."""
    (folder,) = finished.glob(f"runs/*/*/*/{run['config']['update']['estimator']}")
    return folder


def test_wandb_groups_and_names_the_runs_as_documented(finished, mirrored):
    """docs/dashboards.md: a group is a figure, the job type is the estimator."""
    assert {run["run_group"] for run in mirrored} == {GROUPS[finished.name]}
    found = {run["display_name"]: run["job_type"] for run in mirrored}
    assert found == JOB_TYPES[finished.name]
    assert {run["project"] for run in mirrored} == {"relax"}


def test_wandb_holds_the_configuration(finished, mirrored):
    for run in mirrored:
        held = {k: v for k, v in run["config"]["update"].items() if k != "_wandb"}
        assert held == json.loads((folder_of(finished, run) / "config.json").read_text())


def test_wandb_holds_the_summaries(finished, mirrored):
    """Every number of summary.json; of a list, that of the run's own seed."""
    for run in mirrored:
        ours = json.loads((folder_of(finished, run) / "summary.json").read_text())
        compared = ours.keys() - NOT_MIRRORED
        assert len(compared) >= 5
        for key in compared:
            value = ours[key]
            if isinstance(value, list):
                value = value[ours["seed"].index(run["summary"]["seed"])]
            assert run["summary"][key] == value, key


def test_wandb_holds_pictures_and_histograms_of_every_run(finished, mirrored):
    """What the panels of docs/dashboards.md show besides curves; the picture files exist."""
    for run in mirrored:
        shown: dict[str, set[str]] = {"image-file": set(), "histogram": set()}
        for row in rows_of(run):
            for key in row:
                if key.endswith("._type"):
                    shown[row[key]].add(key.removesuffix("._type"))
                if key.endswith(".path"):
                    assert (run["place"] / "files" / row[key]).stat().st_size > 100
        assert shown["image-file"] == PICTURES.get(finished.name, set())
        expected = set() if run["job_type"] in WITHOUT_HISTOGRAM else {"gradient"}
        assert shown["histogram"] == expected


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

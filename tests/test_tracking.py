"""The record, its mirror in W&B, and what W&B may do without harm."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imsave

from experiments.run import tracking
from experiments.run.config import Tracking
from experiments.run.errors import UserError
from experiments.run.files import read_table
from experiments.run.folder import RunFolder
from experiments.run.progress import duration
from experiments.run.tracker import Tracker, short
from experiments.run.tracking import show_figures, wandb_mode

OFFLINE = Tracking(mode="offline")
ROOT = Path(__file__).parents[1]


def track(path, chosen=None, rows="quantiles", stop=4, steps=4, media=False, **more):
    """Four steps of three seeds, from the checkpoint on; `stop` ends it early."""
    with RunFolder(path / "run", {"lr": 0.1}, every=1e9) as folder:
        folder.load()
        keys = {"seed": [0, 1, 2], "lr": [0.1, 0.1, 0.0005]}
        with Tracker(
            folder,
            keys,
            ["loss", "reward"],
            steps,
            chosen or Tracking(mode="disabled"),
            group="toy-smoke",
            job_type="relax",
            name="toy-relax",
            rows=rows,
            runs=path / "runs",
            **more,
        ) as tracker:
            for step in range(folder.step + 1, stop + 1):
                loss = torch.tensor([1 / 3, 0.1, -2.5e-8]) * step
                tracker.log(step, {"loss": loss})
                loss += 100  # a step of the optimiser changes tensors in place
                if step % 2 == 0:
                    tracker.log(step, {"reward": torch.tensor([1.0, 2.0, 3.0]).double() / 7})
                if media:
                    tracker.histogram("gradient", torch.arange(300.0).view(3, 100), step)
                tracker.progress(step)
                folder.save(step, {}, tracker)
            if stop == steps:
                tracker.finish({"loss": 0.5}, "loss .5")
    return path / "run" / "metrics.csv"


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
        with Tracker(folder, {"seed": [0, 1]}, ["x"], 1, Tracking(mode="disabled")) as tracker:
            with pytest.raises(ValueError, match=r"unknown metric \['y'\]"):
                tracker.log(1, {"y": 1.0})
            tracker.log(1, {"x": torch.zeros(2, 1)})
            with pytest.raises(ValueError, match="shape"):
                tracker.flush()
            tracker.log(1, {"x": 1.0})
            with pytest.raises(RuntimeError, match="save, then finish"):
                tracker.finish({}, "")


# ---- W&B ----


def wandb_runs(path: Path) -> list[dict]:
    """What the offline files hold, oldest first: config, name, group, ..., history, summary."""
    found = []
    for folder in sorted((path / "runs" / "wandb").glob("offline-run-*")):
        run = {"folder": folder.name, "history": [], "metrics": []}
        command = [Path(sys.executable).parent / "wandb", "leet", "inspect", "--json", folder]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for record in map(json.loads, out.splitlines()):
            kind = record["type"]
            if kind == "history":
                run["history"].append(record["history"]["item"])
            elif kind == "run":
                run |= record["run"]
        found.append(run)
    return found


def rows_of(run: dict) -> list[dict]:
    return [{k: v for k, v in item.items() if not k.startswith("_")} for item in run["history"]]


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


def test_no_file_outside_the_folder_and_no_prompt(tmp_path, monkeypatch):
    """As a newcomer has it: no WANDB_MODE, no login, no terminal."""
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("NETRC", str(tmp_path / "no-such-file"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert wandb_mode(Tracking()) == "offline"
    track(tmp_path, Tracking())
    assert {path.name for path in tmp_path.iterdir()} == {"run", "runs"}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"wandb"}


def asked(tmp_path, *commands: str, **settings: str) -> str:
    """What wandb_mode says for a person with a home of their own, after these commands of W&B's."""
    home = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc"), "WANDB_SILENT": "false"}
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    program = Path(sys.executable).with_name("wandb")
    script = "from experiments.run.tracking import *; print(wandb_mode(Tracking()))"
    for command in commands:
        words = [program, *command.split()]
        subprocess.run(words, env=kept | home | settings, cwd=tmp_path, check=True)
    python = [sys.executable, "-c", script]
    paths = {"PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        python,
        env=kept | home | settings | paths,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert not found.stderr
    return found.stdout.strip()


KEY = "0123456789" * 4  # of the right length, and of nobody
OWN_SERVER = "http://127.0.0.1:9"  # nothing answers there


@pytest.mark.parametrize("settings", [{}, {"WANDB_BASE_URL": OWN_SERVER}])
def test_a_login_counts_on_whatever_host_w_and_b_uses(tmp_path, settings):
    """The installed program writes it; no host and no file of W&B's is named here."""
    assert asked(tmp_path, **settings) == "offline"
    assert asked(tmp_path, f"login --no-verify {KEY}", **settings) == "online"


def test_a_key_in_the_environment_counts(tmp_path):
    assert asked(tmp_path, WANDB_API_KEY=KEY) == "online"
    said = asked(tmp_path, WANDB_API_KEY="short").splitlines()
    assert said[0].startswith("W&B is not logged in: WANDB_API_KEY invalid")
    assert said[1:] == ["offline"]


def test_which_mode(monkeypatch):
    monkeypatch.setattr(tracking, "_logged_in", lambda: True)
    assert wandb_mode(Tracking()) == "disabled"  # WANDB_MODE of conftest.py
    assert wandb_mode(Tracking(mode="offline")) == "offline"
    monkeypatch.delenv("WANDB_MODE")
    assert wandb_mode(Tracking()) == "online"
    monkeypatch.setattr(tracking, "_logged_in", lambda: False)
    assert wandb_mode(Tracking()) == "offline"


def test_the_variables_of_w_and_b_are_honoured(tmp_path, monkeypatch, capsys):
    for name in ("PROJECT", "ENTITY", "RUN_GROUP", "NAME"):
        monkeypatch.setenv(f"WANDB_{name}", f"my-{name.lower()}")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere" / "runs"))
    track(tmp_path, OFFLINE)
    (run,) = wandb_runs(tmp_path / "elsewhere")
    named = {key: run.get(key) for key in ("project", "entity", "run_group", "display_name")}
    assert list(named.values()) == ["my-project", "my-entity", "my-run_group", "my-name"], run
    assert not (tmp_path / "runs").exists()
    memory = json.loads((tmp_path / "run" / "wandb.json").read_text())
    assert [memory[key] for key in ("project", "entity", "group")] == list(named.values())[:3]


def test_a_setting_counts_more_than_a_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    track(tmp_path, Tracking(mode="offline", project="mine"))
    (run,) = wandb_runs(tmp_path)
    assert run["project"] == "mine"


def test_what_cannot_be_honoured_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_NAME", "me")
    with pytest.raises(UserError, match="WANDB_NAME=me: this makes several W&B runs"):
        track(tmp_path, OFFLINE, rows="each")
    track(tmp_path, Tracking(mode="disabled"), rows="each")
    for name, value in (("WANDB_RUN_ID", "x"), ("WANDB_MODE", "ofline")):
        with monkeypatch.context() as patch:
            patch.delenv("WANDB_NAME")
            patch.setenv(name, value)
            with pytest.raises(UserError, match=f"{name}"):
                track(tmp_path, Tracking(mode="auto" if name == "WANDB_MODE" else "offline"))


@pytest.mark.parametrize("rows", ["quantiles", "each"])
def test_a_run_says_at_its_start_how_to_upload_it(tmp_path, monkeypatch, capsys, rows):
    monkeypatch.chdir(tmp_path)
    track(tmp_path, OFFLINE, rows=rows)
    first = capsys.readouterr().out.splitlines()[0]
    folder, pattern = re.fullmatch(
        r"toy-relax: W&B offline in (\S+); upload later with: wandb sync (\S+)", first
    ).groups()
    assert folder == "runs/wandb"
    assert len(list(tmp_path.glob(pattern))) == (3 if rows == "each" else 1)


@pytest.mark.parametrize("rows", ["quantiles", "each"])
def test_an_online_run_says_its_address(tmp_path, monkeypatch, capsys, rows):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setattr(wandb, "init", lambda **settings: Broken(10**6))
    track(tmp_path, Tracking(mode="online"), rows=rows)
    address = "https://w/project, group toy-smoke" if rows == "each" else "https://w/run"
    assert capsys.readouterr().out.splitlines()[0] == f"toy-relax: W&B {address}"


class Broken:
    """A W&B run in which every call after the first `good` fails."""

    def __init__(self, good=0):
        self.good = good
        self.resumed, self.dir = False, "/nowhere/files"
        self.project_url, self.url = "https://w/project", "https://w/run"

    def _call(self, *args, **kwargs):
        self.good -= 1
        if self.good < 0:
            raise ConnectionError("W&B is down")

    define_metric = log = _call

    @property
    def summary(self):
        self._call()
        return {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        raise ConnectionError("W&B is down")


@pytest.mark.parametrize("good", [None, 0, 2, 3, 4, 6])
def test_wandb_failing_costs_no_row_and_is_logged_once(tmp_path, monkeypatch, capsys, good):
    """Failing in init, in define_metric, in log, in the summary, in finish."""
    wandb = pytest.importorskip("wandb")

    def init(**settings):
        if good is None:
            raise ConnectionError("W&B is down")
        return Broken(good)

    monkeypatch.setattr(wandb, "init", init)
    record = track(tmp_path / "broken", OFFLINE).read_bytes()
    assert capsys.readouterr().out.count("W&B could not") == 1
    assert record == track(tmp_path / "fine").read_bytes()


def test_without_wandb_installed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.delenv("WANDB_MODE")
    record = track(tmp_path / "auto", Tracking()).read_bytes()
    assert "not installed" not in capsys.readouterr().out
    assert record == track(tmp_path / "asked", OFFLINE).read_bytes()
    assert capsys.readouterr().out.count("wandb is not installed") == 1


# ---- what a person sees ----


def test_a_line_per_tenth_where_there_is_no_terminal(tmp_path, capsys):
    with RunFolder(tmp_path, {}) as folder:
        folder.load()
        with Tracker(folder, {"seed": [0]}, ["x"], 1000, Tracking(mode="disabled")) as tracker:
            for step in range(1, 1001):
                tracker.log(step, {"x": torch.ones(1) * step})
                tracker.progress(step)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert " 50%" in lines[4] and "500/1000" in lines[4] and "x 500" in lines[4]


def test_a_bar_on_a_terminal(tmp_path, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdout", screen)
    track(tmp_path)
    shown = screen.getvalue()
    assert "\r[####################] " in shown and "4/4" in shown
    assert "\n" not in shown.rsplit("\r", 1)[0]
    last = shown.rsplit("\r", 1)[1]
    assert "toy-relax: loss .5" in last and last.endswith(f"{tmp_path / 'run'}\n")


def test_the_bar_is_drawn_a_few_times_a_second_only(tmp_path, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdout", screen)
    with RunFolder(tmp_path, {}) as folder:
        folder.load()
        with Tracker(folder, {"seed": [0]}, ["x"], 10**6, Tracking(mode="disabled")) as tracker:
            for step in range(20_000):
                tracker.progress(step)
    assert screen.getvalue().count("\r") < 20


def test_durations_and_names():
    assert [duration(x) for x in (0.34, 45, 192, 5400)] == ["0.3 s", "45 s", "3.2 min", "1.5 h"]
    assert [short(x) for x in (1e-3, 5e-4, 0.1, 2.0, 3, "a", 0.0, 2.5e-5)] == (
        ["1e-3", "5e-4", "0.1", "2", "3", "a", "0", "2.5e-5"]
    )

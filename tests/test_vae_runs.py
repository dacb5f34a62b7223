"""Runs of the VAE: replicas, resuming, divergence, the command, pictures."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.run.errors import UserError
from experiments.vae import data, pictures, plan
from experiments.vae import train as training
from experiments.vae.estimators import ESTIMATORS
from scripts import vae_figures
from tests.vaes import config

ROOT = Path(__file__).parents[1]


@pytest.fixture
def digits():
    return data.load("digits")


def test_a_replica_equals_the_run_alone_bit_for_bit(run_dirs, digits):
    together = training.Run(config(run_dirs, lr=[1e-2, 1e-3], seeds=2), "relax", digits)
    alone = training.Run(config(run_dirs, lr=[1e-3]), "relax", digits)
    for run in (together, alone):
        run.warm_up()
        for step in range(1, 121):
            run.step(step)
    row = together.rates.index(1e-3)
    for many, one in (
        (together.vae.state_dict(), alone.vae.state_dict()),
        (together.method.state_dict(), alone.method.state_dict()),
    ):
        for key, value in one.items():
            if value.ndim > 1 or key.endswith(("eta", "log_lambda")):
                assert torch.equal(many[key][row], value[0]), key


def test_killed_and_resumed_equals_uninterrupted(run_dirs, digits, monkeypatch):
    whole = config(run_dirs, tag="whole")
    cut = config(run_dirs, tag="cut", save_every=0.0)
    wanted = training.train(whole, "relax", digits)

    step = training.Run.step

    def dying(self, number):
        if number == 57:
            raise MemoryError("killed")
        step(self, number)

    monkeypatch.setattr(training.Run, "step", dying)
    with pytest.raises(MemoryError):
        training.train(cut, "relax", digits)
    monkeypatch.setattr(training.Run, "step", step)
    found = training.train(cut, "relax", digits)
    root = next(iter(dict(i.split("=", 1) for i in run_dirs).values()))
    folders = [f"{root}/vae/test/digits-linear1/relax-{tag}" for tag in ("whole", "cut")]
    first, second = (Path(folder, "metrics.csv").read_text() for folder in folders)
    assert first == second
    assert {**wanted, "seconds": 0} == {**found, "seconds": 0}


def test_divergence_names_step_and_tensor_and_the_others_go_on(run_dirs, digits, capsys):
    def poisoned(self, number):
        if number == 30:
            with torch.no_grad():
                self.vae.prior[1] = float("nan")
        step(self, number)

    step = training.Run.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Run, "step", poisoned)
        found = training.train(config(run_dirs, seeds=2, save_every=0.0), "relax", digits)
        text = capsys.readouterr().out
        assert "lr=0.0005 seed=1" in text and "not finite by step 54" in text
        assert "before-divergence-1.pt" in text
        assert torch.tensor(found["valid"]).isfinite().tolist() == [True, False]
        with pytest.raises(UserError, match="every replica diverged"):
            patch.setattr(
                training.Run, "step", lambda self, n: self.running.fill_(float("nan")) and None
            )
            training.train(config(run_dirs, tag="all"), "relax", digits)


def test_the_plan_counts_steps_and_measurements(run_dirs, digits):
    found = {n: plan.seconds(config(run_dirs, steps=n), "relax", digits) for n in (20, 20_000)}
    assert 0 < found[20] < found[20_000] < 3600
    chosen = config(run_dirs, lr=[1e-3, 1e-4], estimators={"rebar": {}, "relax": {}})
    line = plan.describe(chosen, digits)
    assert line.endswith("rebar, relax; 2 replicas (rates x seeds), 60 steps, eager")


def test_the_command_trains_and_the_figures_are_drawn(run_dirs, tmp_path):
    command = [sys.executable, "-m", "experiments.vae", "preset=vae/smoke", "data=digits"]
    command += ["estimator=[rebar,relax]", "lr=[1e-3,5e-4]"]
    made = subprocess.run([*command, *run_dirs], capture_output=True, text=True, cwd=ROOT)
    assert made.returncode == 0, made.stderr
    assert "2 processes; about" in made.stdout and "validation -ELBO" in made.stdout
    vae_figures.main("smoke", tmp_path / "results")
    case = tmp_path / "results/vae/smoke/digits-linear1"
    names = {path.name for path in case.iterdir()}
    assert {"relax.csv", "summary.csv", "relax-samples.png"} <= names
    assert (tmp_path / "results/figures/vae-smoke-digits-linear1-curves.png").exists()


def test_pictures_do_not_need_the_user_s_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    pictures.write_png(tmp_path / "a.png", torch.tensor([[0.0, 0.5], [2.0, 1.0]]), scale=2)
    found = np.asarray(Image.open(tmp_path / "a.png"))
    assert found.tolist() == [[0, 0, 128, 128]] * 2 + [[255, 255, 255, 255]] * 2


def test_a_picture_that_fails_does_not_end_training(run_dirs, digits, monkeypatch, capsys):
    def write_png(*arguments):
        raise RuntimeError("no display")

    monkeypatch.setattr(pictures, "write_png", write_png)
    settings = config(run_dirs, pictures=True)
    training.train(settings, "relax", digits)
    assert list(Path(settings.runs).rglob("summary.json"))
    assert capsys.readouterr().out.count("no pictures (RuntimeError: no display)") == 1


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_lowers_the_bound(run_dirs, digits, name):
    model = "categorical" if name == "carms" else "linear1"
    own = {"model": model, "latents": 10, "estimators": {name: {}}}
    settings = config(run_dirs, steps=110, lr=[1e-2], **own)
    training.train(settings, name, digits)
    folder = f"{settings.runs}/vae/test/digits-{model}/{name}"
    rows = [line.split(",") for line in Path(folder, "metrics.csv").read_text().split()]
    first, last = (float(rows[i][rows[0].index("train")]) for i in (1, 2))
    assert last < first

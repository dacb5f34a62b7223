"""The toy end to end through the README's command, and the paper's claims on small runs."""

import os
import random
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import relax as rx
from experiments.run.files import read_table
from experiments.toy.config import Toy
from experiments.toy.results import summarise
from experiments.toy.train import Run, train
from scripts import toy_figures
from tests.helpers import committed
from tests.torture import victims

ROOT = Path(__file__).parents[1]
NAMES = ("reinforce", "rebar", "relax", "exact")


EVERY = ("estimator=[reinforce,rebar,relax,exact]", "processes=2", "log_every=20", "save_every=30")


class Started:
    """experiments.toy preset=toy/smoke in a fork of this process, its files under `path`.

    A fork starts in a tenth of a second, the command itself in five.
    """

    def __init__(self, path: Path, *arguments: str) -> None:
        self.path = path
        victims.log_of(path).unlink(missing_ok=True)
        self.pid, self.status = victims.start("toy", path, *EVERY, *arguments), None

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status

    def finish(self) -> tuple[int, str]:
        """Exit status and everything that it wrote."""
        while self.poll() is None:
            time.sleep(0.01)
        return self.status, victims.output(self.path)


def finish(started: Started) -> str:
    status, output = started.finish()
    assert status == 0, output
    return output


def records(path):
    return {
        file.parent.name: file.read_bytes() for file in sorted(path.glob("runs/**/metrics.csv"))
    }


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """An uninterrupted run of the smoke preset, by the README's command."""
    victims.prepare()
    path = tmp_path_factory.mktemp("smoke") / "toy"
    folders = [f"runs={path / 'runs'}", f"results={path / 'results'}"]
    command = [sys.executable, "-m", "experiments.toy", "preset=toy/smoke", *folders]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return path


def test_the_command_leaves_curves_a_summary_and_pictures(smoke):
    case = smoke / "results" / "toy" / "smoke" / "t0.499"
    summary = read_table(case / "summary.csv")
    assert sorted(summary["estimator"]) == sorted(NAMES)
    for name in NAMES:
        curve = read_table(case / f"{name}.csv")
        assert set(curve["step"][~np.isnan(curve["loss"])]) == set(range(20, 201, 20))
        assert len(np.unique(curve["seed"])) == (1 if name == "exact" else 3)
    toy_figures.main("smoke", smoke / "results")
    for figure in ("curves", "relaxation"):
        for kind in ("png", "pdf"):
            drawn = smoke / "results" / "figures" / f"toy-smoke-t0.499-{figure}.{kind}"
            assert drawn.stat().st_size > 5000


def test_the_same_command_again_skips_and_changes_nothing(smoke):
    before = records(smoke)
    out = finish(Started(smoke))
    assert out.count("finished before, 200 steps") == 4
    assert records(smoke) == before


def test_another_setting_is_refused_and_a_name_of_its_own_is_the_way_out(smoke):
    before = records(smoke)
    status, err = Started(smoke, "lr=.02", "estimator=[relax]").finish()
    assert status == 2 and "Traceback" not in err
    assert "lr=0.01 there, 0.02 here" in err and "tag=name" in err and "fresh=true" in err
    assert records(smoke) == before
    finish(Started(smoke, "lr=.02", "estimator=[relax]", "tag=fast"))
    assert records(smoke).keys() == {*before, "relax-fast"}
    assert (smoke / "results" / "toy" / "smoke" / "t0.499" / "relax-fast.csv").exists()


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)],
)
def test_killed_and_started_again_equals_uninterrupted(smoke, tmp_path, number):
    folder = tmp_path / "toy"
    process = Started(folder, "save_every=0")
    deadline = time.monotonic() + 120
    while not list(folder.glob("runs/**/checkpoint.pt")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    time.sleep(random.Random(int(number)).uniform(0, 0.3))
    if process.poll() is None:
        os.kill(process.pid, number)
    status, output = process.finish()
    if number != signal.SIGKILL and status:
        assert status == 128 + number, output
        assert "Traceback" not in output
    finish(Started(folder, "save_every=0"))
    assert records(folder) == {k: v for k, v in records(smoke).items() if k != "relax-fast"}


def test_more_steps_continue_a_run(smoke, tmp_path):
    for steps in ("steps=100", "steps=200"):
        finish(Started(tmp_path / "toy", "estimator=[relax]", steps))
    assert records(tmp_path / "toy")["relax"] == records(smoke)["relax"]


def small(tmp_path, name, **settings):
    config = Toy(
        preset="test",
        estimators={name: {}},
        runs=str(tmp_path / "runs"),
        **{"steps": 100, "seeds": 3, "log_every": 20, "variance_samples": 50, **settings},
    )
    config.tracking.mode = "disabled"
    train(config, name)
    return tmp_path / "runs" / "toy" / "test" / config.case / name / "metrics.csv"


@pytest.mark.parametrize("name", ["reinforce", "rebar", "relax", "dlax"])
def test_a_seed_among_others_equals_the_seed_alone(tmp_path, name):
    alone = small(tmp_path / "1", name, seeds=1, variance_samples=200).read_text().splitlines()
    together = small(tmp_path / "5", name, seeds=5, variance_samples=200).read_text().splitlines()
    assert [row for row in together if row.split(",")[1] in ("seed", "0")] == alone


def test_measuring_does_not_touch_training(tmp_path):
    often = read_table(small(tmp_path / "a", "relax", variance_every=10))
    never = read_table(small(tmp_path / "b", "relax", variance_every=1000))
    logged = ~np.isnan(often["loss"])
    assert (often["loss"][logged] == never["loss"]).all()


def test_the_exact_gradient_is_the_core_s(float64):
    run = Run(Toy(t=0.3, seeds=1), "exact")
    with torch.no_grad():
        run.logit += 0.7
    dist = rx.Bernoulli(run.logit)
    expected = rx.exact_gradient(run.f, dist)
    torch.testing.assert_close(run.estimate(run.logit, run.noise).grad, expected)


def test_one_constant_surrogate_leaves_no_variance(float64):
    """Why RELAX's surrogate ends up flat: f(1)(1 - theta) + f(0) theta is a perfect baseline."""
    t, theta = 0.499, torch.tensor(0.3)
    dist = rx.Bernoulli(torch.logit(theta).expand(1000, 1))
    constant = (1 - t) ** 2 * (1 - theta) + t**2 * theta

    def f(b):
        return (b - t).square().squeeze(-1)

    grad = rx.reinforce(f, dist, baseline=constant.item()).grad
    torch.testing.assert_close(grad, ((1 - 2 * t) * theta * (1 - theta)).expand_as(grad))


def test_relax_is_far_less_noisy_than_reinforce_and_goes_the_right_way(tmp_path):
    settings = {"seeds": 40, "steps": 2000, "log_every": 500, "variance_every": 100}
    settings |= {"variance_samples": 200}
    relax = summarise(read_table(small(tmp_path, "relax", **settings)))
    reinforce = summarise(read_table(small(tmp_path, "reinforce", **settings)))
    # ln(.015625) = -4.159 at theta = .5; an independent run had medians of -11.5 at step 500.
    assert reinforce.log_variance_mean == pytest.approx(-4.17, abs=0.05)
    assert relax.log_variance_mean < -11
    assert relax.loss_mean < 0.24985 < reinforce.loss_mean
    assert relax.theta_max < 0.5 < reinforce.theta_max


def test_figures_without_results_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["toy_figures", "paper", "--results", str(tmp_path)])
    with pytest.raises(SystemExit, match="^error: .*make reproduce-toy PRESET=paper"):
        runpy.run_path(toy_figures.__file__, run_name="__main__")


@pytest.mark.skipif(not committed(), reason="only git knows what is committed")
def test_the_committed_results_hold_what_is_claimed():
    """t = .499 as in the paper's figure 1, and the easier t at step 5000."""
    paper = committed() / "results" / "toy" / "paper"
    table = read_table(paper / "t0.499" / "summary.csv")
    row = {name: i for i, name in enumerate(table["estimator"])}
    assert table["seeds"][row["relax"]] == 200
    assert 0.24905 < table["loss_median"][row["relax"]] < 0.24916
    assert table["theta_max"][row["relax"]] < 0.5
    assert table["log_variance_mean"][row["relax"]] < -12
    assert table["log_variance_mean"][row["reinforce"]] == pytest.approx(-4.2, abs=0.1)
    for t in (0.45, 0.49):
        medians = {}
        for name in ("relax", "reinforce"):
            curve = read_table(paper / f"t{t}" / f"{name}.csv")
            medians[name] = np.median(curve["loss"][curve["step"] == 5000]) - t**2
        assert medians["relax"] < medians["reinforce"] / 4

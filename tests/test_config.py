"""Mistakes on the command line: one line with cause and fix, and exit status 2."""

import shlex
import sys

import pytest

from experiments.run.config import launch, overlay
from experiments.run.errors import UserError
from experiments.toy.__main__ import run
from experiments.toy.config import Toy
from experiments.toy.methods import RelaxSettings


def command(monkeypatch, capsys, *arguments, task=run):
    """(exit status, what it wrote to stderr) of python -m experiments.toy with these arguments."""
    monkeypatch.setattr(sys, "argv", ["experiments.toy", *arguments])
    status = 0
    try:
        launch(task, "toy", Toy)
    except SystemExit as stop:
        status = stop.code
    return status, capsys.readouterr().err.strip()


# arguments, what the line must hold
MISTAKES = [
    (["estimator=[relx]"], ["unknown estimator 'relx'", "relax", "rebar"]),
    (["estimator=[relax,lax]"], ["unknown estimator 'lax'", "relax"]),
    (["estimator=[]"], ["no estimator chosen"]),
    (["estimators.foo.lr=1"], ["unknown estimator 'foo'", "relax"]),
    (["preset=toy/fast"], ["'fast'", "quick", "paper"]),
    (["tracking=cloud"], ["unknown tracking 'cloud'", "offline"]),
    (["t=abc"], ["t:", "'abc' is not a number"]),
    (["t=nan"], ["t=nan", "finite"]),
    (["t=inf"], ["t=inf", "finite"]),
    (["t=null"], ["t: null has no meaning"]),
    (["seeds=0"], ["seeds=0", "at least 1"]),
    (["seeds=-3"], ["seeds=-3"]),
    (["seeds=1.5"], ["seeds:", "'1.5' is not a whole number"]),
    (["steps=0"], ["steps=0"]),
    (["steps=ten"], ["steps:", "not a whole number"]),
    (["steps=30", "log_every=20"], ["steps=30", "multiple of log_every=20"]),
    (["log_every=0"], ["log_every=0"]),
    (["variance_samples=1"], ["variance_samples=1"]),
    (["lr=-.1"], ["lr=-0.1", "above 0"]),
    (["lr=0"], ["lr=0"]),
    (["phi_lr=nan"], ["phi_lr=nan"]),
    (["stepss=3"], ["unknown setting 'stepss'", "did you mean 'steps'"]),
    (["+speed=3"], ["unknown setting 'speed'", "seeds"]),
    (["tracking.mod=offline"], ["unknown setting 'tracking.mod'"]),
    (["+tracking.mod=offline"], ["unknown setting 'tracking.mod'", "mode"]),
    (["tracking.mode=cloud"], ["unknown tracking.mode 'cloud'", "offline"]),
    (["device=tpu"], ["unknown device 'tpu'", "cuda"]),
    (["threads=0"], ["threads=0"]),
    (["processes=0"], ["processes=0"]),
    (["save_every=-1"], ["save_every=-1"]),
    (["snapshots=[0]"], ["snapshots=[0]"]),
    (["tag=a/b"], ["tag='a/b'"]),
    (["tag=''"], ["tag=''"]),
    (["fresh=perhaps"], ["fresh:", "true or false"]),
    (["estimators.relax.hiden=3"], ["unknown setting of estimators.relax: 'hiden'", "hidden"]),
    (["estimators.relax.hidden=big"], ["estimators.relax.hidden", "not a whole number"]),
    (["estimators.relax.hidden=0"], ["hidden=0"]),
    (["estimators.relax.lambda_=-1"], ["lambda_=-1", "above 0"]),
    (
        ["estimator=[reinforce]", "estimators.reinforce.lr=1"],
        ["estimators.reinforce", "no settings"],
    ),
    (["steps"], ["cannot read the argument", "key=value"]),
    (["t .4"], ["cannot read the argument", "without spaces"]),
    (["t=.45,.49"], ["t=.45,.49 has several values", "add --multirun"]),
    (["t=range(1,3)"], ["t=range(1,3) has several values", "add --multirun"]),
    (["snapshots=10,60"], ["add --multirun", "'snapshots=[...]'"]),
    (["estimator=relax,rebar"], ["add --multirun", "'estimator=[...]'"]),
    (["runs=a/b,c"], ["add --multirun", "quote a path as 'runs=\"a/b,c\"'"]),
    (["seeds=${nothing}"], ["seeds", "'nothing' not found"]),
    (["estimator=[relax"], ["cannot read the argument"]),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=lambda x: " ".join(x[:2]))
def test_a_mistake_is_one_line(monkeypatch, capsys, run_dirs, tmp_path, arguments, words):
    base = ["preset=toy/smoke", "estimator=[relax]", *run_dirs, "processes=1"]
    status, line = command(monkeypatch, capsys, *base, *arguments)
    assert status == 2
    assert line.startswith("error: ") and "\n" not in line, line
    assert not [word for word in words if word not in line], line
    assert not list(tmp_path.glob("results/**/*.csv"))


PATHS = ["a#b", "a (1)", "a=b", "Läufe", "it's", 'a"b', "a&b", "[x]", "{x}", "a;b", "a,/b", "a!"]
PATHS = [f"some/{name}" for name in PATHS] + ["{x}", "[x"]


@pytest.mark.parametrize("path", PATHS)
def test_following_the_advice_for_a_path_gives_that_path(monkeypatch, capsys, path):
    """The argument that the line suggests, as the shell would pass it, gives the path."""
    seen = []
    status, line = command(monkeypatch, capsys, f"runs={path}", task=seen.append)
    assert status == 2 and "quote" in line and "\n" not in line and not seen
    (argument,) = shlex.split(line.split("quote the value: ")[-1].split("quote a path as ")[-1])
    assert command(monkeypatch, capsys, argument, task=seen.append) == (0, "")
    assert seen[0].runs == path


@pytest.mark.parametrize("place", ["runs", "results"])
def test_a_folder_that_cannot_be_made(monkeypatch, capsys, run_dirs, tmp_path, place):
    (tmp_path / "file").write_text("")
    base = ["preset=toy/smoke", "estimator=[relax]", *run_dirs, "processes=1"]
    status, line = command(monkeypatch, capsys, *base, f"{place}={tmp_path / 'file'}")
    assert status == 2 and "\n" not in line
    assert f"cannot make {tmp_path / 'file'}" in line and "Not a directory" in line


def test_a_read_only_results_folder_is_told_before_the_work(
    monkeypatch, capsys, run_dirs, tmp_path
):
    monkeypatch.setattr("os.access", lambda *_: False)
    status, line = command(monkeypatch, capsys, "preset=toy/smoke", *run_dirs)
    assert status == 2 and "read-only" in line and "results=" in line
    assert not list(tmp_path.glob("runs/**/metrics.csv"))


def test_a_gpu_that_is_not_there(monkeypatch, capsys, run_dirs):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    status, line = command(monkeypatch, capsys, "device=cuda", *run_dirs)
    assert status == 2 and "device=cuda" in line and "device=cpu" in line


def test_a_sweep_goes_on_past_a_mistake(monkeypatch, capsys, run_dirs):
    done = []
    arguments = ["-m", "t=.1,nan,.3", "preset=toy/smoke", *run_dirs]
    status, _ = command(monkeypatch, capsys, *arguments, task=lambda config: done.append(config.t))
    assert status == 2
    assert done == [0.1, 0.3]


def test_settings_are_laid_over_the_defaults():
    own = overlay(RelaxSettings, {"hidden": 3}, "estimators.relax")
    assert own == RelaxSettings(hidden=3)
    with pytest.raises(UserError, match="estimators.relax.hidden"):
        overlay(RelaxSettings, {"hidden": "many"}, "estimators.relax")


def test_the_task_gets_a_plain_dataclass(monkeypatch, capsys, run_dirs):
    seen = []
    arguments = ["estimator=[rebar,relax]", "estimators.rebar.eta=2", "preset=toy/paper", *run_dirs]
    assert command(monkeypatch, capsys, *arguments, task=seen.append) == (0, "")
    (config,) = seen
    assert type(config) is Toy and config.preset == "paper" and config.steps == 10_000
    assert config.estimators == {"rebar": {"eta": 2}, "relax": {}}

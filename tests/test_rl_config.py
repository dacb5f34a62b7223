"""Settings: refused ones, which seeds and rates a run uses, its identity."""

import json

import pytest

from experiments.rl.agents import replica_keys
from experiments.rl.config import Env, Rl
from experiments.rl.train import train
from experiments.run.errors import UserError
from tests.policies import small


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"env": Env(id="Pendulum-v1"), "estimators": {"relax": {}}},
            "not for the continuous actions",
        ),
        ({"estimators": {"lax": {}}}, "not for the discrete actions"),
        (
            {
                "env": Env("pendulum", "Pendulum-v1", 1000),
                "estimators": {"a2c": {}},
                "batch": 500,
            },
            "shorter than",
        ),
        (
            {"env": Env(id="Pendulum-v1", rates={"a2c": {"lr": [0.1], "scale": [1.0]}})},
            "has scale for a2c.*continuous actions of Pendulum-v1; start from env=own",
        ),
        ({"estimators": {"relax": {"rate": 1}}}, "rate"),
        ({"estimators": {"relax": {"lr": [-1.0]}}}, "lr"),
        ({"frames": 0}, "frames"),
        ({"device": "cuda"}, "device"),
        ({"max_norm": -1.0}, "max_norm"),
        ({"mode": "terms", "gae": 0.9}, "gae"),
    ],
)
def test_bad_input_is_one_line(changes, message):
    settings = {"frames": 10, "estimators": {"a2c": {}}, **changes}
    with pytest.raises(UserError, match=message) as error:
        Rl(**settings).check()
    assert "\n" not in str(error.value)


def test_a_run_folder_of_version_1_is_read_as_meant(tmp_path):
    """There env.discrete was a setting; one that contradicts the action space is refused."""
    made = small(True, "relax").config
    made.runs, made.frames = str(tmp_path), 40
    path = train(made, "relax")
    old = json.loads((path / "config.json").read_text())
    assert old["env"]["discrete"] is True  # as version 1 wrote it
    old["env"]["discrete"] = False
    (path / "config.json").write_text(json.dumps(old))
    with pytest.raises(UserError, match="env.discrete=False there, True here"):
        train(made, "relax")


def test_the_grid_and_the_training_use_different_seeds():
    seeds = {}
    for mode in ("grid", "train"):
        made = Rl(frames=10, seeds=3, mode=mode, estimators={"a2c": {"lr": [0.1, 0.2]}})
        keys = replica_keys(made, "a2c")
        assert keys["lr"] == [0.1] * 3 + [0.2] * 3
        seeds[mode] = keys["seed"][:3]
    assert seeds == {"grid": [0, 1, 2], "train": [100, 101, 102]}


@pytest.mark.parametrize("name", ["relax", "relax_score"])
def test_the_command_line_s_rates_take_precedence_over_the_environment_s(name):
    env = Env(rates={"relax": {"lr": [0.5], "scale": [0.1]}}, grid={"relax": {"lr": [1.0, 2.0]}})
    made = Rl(env=env, frames=10, estimators={name: {}})
    rates = made.rates_of(name)
    assert (rates.lr, rates.scale) == ([0.5], [0.1])
    made.mode = "grid"
    assert made.rates_of(name).lr == [1.0, 2.0]
    made.mode, made.estimators = "train", {name: {"lr": [0.25]}}
    rates = made.rates_of(name)
    assert (rates.lr, rates.scale) == ([0.25], [0.1])

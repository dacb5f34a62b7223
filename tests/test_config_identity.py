"""config.json holds every setting that decides a run, under its own name."""

import re
from dataclasses import fields, replace

import pytest

from experiments.rl.config import Rl
from experiments.rl.train import identity
from experiments.run.config import Experiment
from experiments.run.errors import UserError
from experiments.toy.config import Toy
from experiments.toy.train import train as train_toy
from experiments.vae.config import Vae
from experiments.vae.estimators import ESTIMATORS
from experiments.vae.train import run_folder, train
from tests.vaes import config, metrics, three_splits
from tests.walks import whole as whole  # a fixture

# Where and how a run is done, and how long it is; everything else must be in config.json.
BOOKKEEPING = {"threads", "processes", "compile", "graph", "fresh", "save_every", "runs", "results"}
BOOKKEEPING |= {"tracking", "estimators", "device"}
PATH = {"preset", "tag", "model"}  # each has a folder of its own
FREE = {"steps", "epochs", "iwae_samples", "pictures"}  # may change when a VAE's run is resumed
OTHER = {"binarization": "dynamic", "precision": "float64", "optimizer": "adam", "mode": "variance"}
OTHER |= {"activation": "tanh"}


def changed(value, name):
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return 0.75 * value or 0.5
    if isinstance(value, list):
        return [changed(item, name) for item in value]
    return OTHER[name]


def deciding(schema: type[Experiment], without: set[str]) -> list[str]:
    return [f.name for f in fields(schema) if f.name not in BOOKKEEPING | PATH | without]


# ---- every setting counts ----


@pytest.mark.parametrize("name", deciding(Vae, {*FREE, "mode", "data", "seeds", "lr"}))
def test_another_setting_of_the_vae_is_refused(run_dirs, name):
    base, images = config(run_dirs), three_splits()
    with run_folder(base, "relax", images):
        pass
    other = replace(base, **{name: changed(getattr(base, name), name)})
    with pytest.raises(UserError, match=rf"\b{name}=.* there"), run_folder(other, "relax", images):
        pass


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": 2}, "seeds=1 there, 2 here"),
        ({"lr": [1e-3, 1e-4]}, "lr="),
    ],
)
def test_other_replicas_are_another_run(run_dirs, changes, said):
    base, images = config(run_dirs), three_splits()
    with run_folder(base, "relax", images):
        pass
    with (
        pytest.raises(UserError, match=said),
        run_folder(replace(base, **changes), "relax", images),
    ):
        pass


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_setting_of_an_estimator_of_the_vae_is_another_run(run_dirs, name):
    images = three_splits()
    words = {"relaxation": "tucker", "inputs": ["sigma"]}
    base = config(run_dirs, estimators={name: {}})
    with run_folder(base, name, images):
        pass
    for key, value in vars(base.settings_of(name)).items():
        new = words[key] if key in words else changed(value, key)
        other = replace(base, estimators={name: {key: new}})
        said = re.escape(f"estimators.{name}.{key}={value} there, {new} here")
        with pytest.raises(UserError, match=said), run_folder(other, name, images):
            pass


def test_an_estimator_s_width_and_the_model_s_are_two_settings(run_dirs):
    """A finished run with another width is refused, not skipped."""
    images, own = three_splits(), {"warm_up": 1, "hidden": 8}
    base = config(run_dirs, steps=2, hidden=8, estimators={"relax": own}, pictures=False)
    train(base, "relax", images)
    for changes, said in (
        ({"estimators": {"relax": own | {"hidden": 9}}}, r"estimators\.relax\.hidden=8 there, 9"),
        ({"hidden": 9}, r"\(hidden=8 there, 9"),
    ):
        with pytest.raises(UserError, match=said):
            train(replace(base, **changes), "relax", images)
    assert len(metrics(base, "splits-linear1", "relax")) == 1


@pytest.mark.parametrize("name", deciding(Toy, {"steps", "snapshots", "t"}))
def test_another_setting_of_the_toy_is_refused(tmp_path, name):
    base = Toy(steps=10, log_every=10, seeds=2, variance_samples=5, runs=str(tmp_path))
    base.estimators, base.tracking.mode = {"relax": {"hidden": 4}}, "disabled"
    train_toy(base, "relax")
    other = replace(base, **{name: changed(getattr(base, name), name)})
    with pytest.raises(UserError, match=rf"\b{name}=.* there"):
        train_toy(other, "relax")
    other = replace(base, estimators={"relax": {"hidden": 5}})
    with pytest.raises(UserError, match=r"estimators\.relax\.hidden=4 there, 5"):
        train_toy(other, "relax")


@pytest.mark.parametrize("name", deciding(Rl, {"env", "mode", "lengths", "clip"}))
def test_another_setting_of_a_policy_changes_its_identity(name):
    base = Rl(frames=1000, estimators={"relax": {}})
    other = replace(base, **{name: changed(getattr(base, name), name)})
    assert identity(base, "relax") != identity(other, "relax")


def test_rates_of_a_policy_change_its_identity():
    identities = set()
    for rates in ({}, {"lr": [0.5]}, {"scale": [0.5]}):
        config = Rl(frames=1000, estimators={"relax": rates})
        identities.add(str(identity(config, "relax")))
    assert len(identities) == 3

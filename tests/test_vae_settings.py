"""Settings of the VAE that cannot work are named, and digits replace MNIST only by default."""

import pytest

from experiments.run.errors import UserError
from experiments.vae import __main__ as main
from experiments.vae import files
from tests.vaes import config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "linear9"}, "linear1"),
        ({"estimators": {"relux": {}}}, "relax"),
        ({"estimators": {}}, "estimator"),
        ({"lr": [-1.0]}, "lr=-1"),
        ({"lr": []}, "lr="),
        ({"seeds": 0}, "seeds=0"),
        ({"batch": 0}, "batch=0"),
        ({"variance_samples": 1}, "variance_samples=1"),
    ],
)
def test_bad_settings_are_named(run_dirs, changes, message):
    with pytest.raises(UserError, match=message):
        config(run_dirs, **changes)


def test_bad_settings_of_an_estimator_are_named(run_dirs):
    with pytest.raises(UserError, match="hiden"):
        config(run_dirs, estimators={"relax": {"hiden": 3}}).settings_of("relax")
    with pytest.raises(UserError, match="sigmoid"):
        config(run_dirs, estimators={"relax": {"relaxation": "x"}}).settings_of("relax")


def test_digits_stand_in_only_where_nobody_asked_for_mnist(tmp_path, monkeypatch, capsys, run_dirs):
    monkeypatch.delenv("RELAX_DATA", raising=False)
    monkeypatch.setattr(files, "_fetch", lambda *args: None)
    plain = config(run_dirs)
    plain.data.root = str(tmp_path)
    with pytest.raises(UserError, match="train-images-idx3-ubyte.*t10k-images-idx3-ubyte"):
        main.find_images(plain)
    plain.data.fallback = True
    assert main.find_images(plain).name == "digits"
    assert "DIGITS" in capsys.readouterr().out

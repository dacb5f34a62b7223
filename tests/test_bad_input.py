"""Bad input: one line with cause and fix, exit status 2, nothing overwritten.

The toy's keys and values are in test_config.py, misuse of the core in test_errors.py.
"""

import gzip
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.vae import files, mnist
from tests.refusals import BASE, command
from tests.refusals import refused as refused  # a fixture

# ---- keys and values: family, argument, what the line must hold ----

SETTINGS = [
    ("vae", "model=linear9", ["linear9", "linear1"]),
    ("vae", "estimator=[relux]", ["relux", "relax"]),
    ("vae", "estimator=[remax]", ["remax", "rebar"]),
    ("vae", "data=cifar", ["cifar", "digits"]),
    ("vae", "data.name=cifar", ["cifar", "digits"]),
    ("vae", "data.binarization=grey", ["grey", "static"]),
    ("vae", "lr=[]", ["lr=[]"]),
    ("vae", "lr=[-1]", ["lr=-1", "above 0"]),
    ("vae", "lr=[fast]", ["lr", "'fast' is not a number"]),
    ("vae", "lr=.1", ["lr"]),
    ("vae", "batch=0", ["batch=0"]),
    ("vae", "batch=5000", ["batch=5000", "digits"]),
    ("vae", "epochs=0", ["epochs=0"]),
    ("vae", "steps=0", ["steps=0"]),
    ("vae", "latents=0", ["latents=0"]),
    ("vae", "beta2=1", ["beta2=1"]),
    ("vae", "variance_samples=1", ["variance_samples=1"]),
    ("vae", "processes=0", ["processes=0"]),
    ("vae", "graph=maybe", ["graph", "maybe"]),
    ("vae", "epoch=3", ["unknown setting 'epoch'", "epochs"]),
    ("vae", "estimators.rebar.lambda_=0", ["lambda_=0", "above 0"]),
    ("vae", "estimators.rebar.relaxation=soft", ["soft", "tucker"]),
    ("vae", "estimators.rebar.etaa=1", ["etaa", "eta"]),
    ("rl", "env=pong", ["pong", "cartpole"]),
    ("rl", "env.id=NoSuch-v0", ["NoSuch-v0"]),
    ("rl", "estimator=[lax]", ["lax", "discrete"]),
    ("rl", "frames=-5", ["frames=-5"]),
    ("rl", "gamma=0", ["gamma=0"]),
    ("rl", "gamma=2", ["gamma=2", "between 0 and 1"]),
    ("rl", "gae=2", ["gae=2"]),
    ("rl", "kl=-1", ["kl=-1"]),
    ("rl", "precision=float16", ["float16", "float32"]),
    ("rl", "optimizer=sgd", ["sgd", "rmsprop"]),
    ("rl", "mode=test", ["'test'", "grid"]),
    ("rl", "log_every=0", ["log_every=0"]),
    ("rl", "device=cuda", ["device=cuda", "cpu"]),
    ("rl", "estimators.a2c.lr=[0]", ["estimators.a2c.lr=0", "above 0"]),
    ("rl", "estimators.a2c.rate=1", ["rate", "lr"]),
    ("toy", "runs=a&b", ["runs=a&b"]),
    ("toy", "hydra/launcher=cloud", ["cloud"]),
]


@pytest.mark.parametrize(("family", "argument", "words"), SETTINGS, ids=lambda x: str(x)[:40])
def test_settings(refused, family, argument, words):
    digits = ["data=digits"] if family == "vae" and not argument.startswith("data=") else []
    refused(family, [*digits, argument], words)


# ---- data files: name, what is done to a folder of good ones, what the line must hold ----

TRAIN, TEST = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"


def idx(count, magic=0x803, claimed=None):
    return struct.pack(">4I", magic, claimed or count, 28, 28) + bytes(count * 28 * 28)


def swap(folder):
    os.rename(folder / TRAIN, folder / "x")
    os.rename(folder / TEST, folder / TRAIN)
    os.rename(folder / "x", folder / TEST)


def gz(folder, cut):
    (folder / TRAIN).unlink()
    (folder / (TRAIN + ".gz")).write_bytes(gzip.compress(idx(30))[:cut])


def larochelle(folder, text):
    for file in mnist.LAROCHELLE_FILES:
        (folder / file).write_text(text)


ROW = " ".join(["0"] * 784) + "\n"
FILES = [
    ("missing", lambda f: (f / TRAIN).unlink(), "mnist", [TRAIN, "data=digits"]),
    ("a folder", lambda f: (f / TEST).unlink() or (f / TEST).mkdir(), "mnist", [TEST]),
    ("empty", lambda f: (f / TRAIN).write_bytes(b""), "mnist", [TRAIN, "fetch it again"]),
    ("truncated", lambda f: (f / TRAIN).write_bytes(idx(30)[:-9]), "mnist", [TRAIN, "truncated"]),
    ("too long", lambda f: (f / TRAIN).write_bytes(idx(30) + b"x"), "mnist", [TRAIN]),
    ("wrong magic", lambda f: (f / TRAIN).write_bytes(idx(30, 0x801)), "mnist", [TRAIN, "0x801"]),
    ("wrong size", lambda f: (f / TRAIN).write_bytes(idx(30, claimed=31)), "mnist", [TRAIN]),
    ("other images", lambda f: (f / TEST).write_bytes(idx(10)[:-1] + b"x"), "mnist", ["md5"]),
    ("permuted names", swap, "mnist", ["is not the official file"]),
    ("a page for a file", lambda f: (f / TRAIN).write_text("<html>" * 9), "mnist", [TRAIN]),
    ("torn gz", lambda f: gz(f, 40), "mnist", [f"{TRAIN}.gz", "fetch it again"]),
    ("no gz", lambda f: (f / TRAIN).rename(f / (TRAIN + ".gz")), "mnist", [f"{TRAIN}.gz"]),
    ("no words", lambda f: larochelle(f, "a b c\n"), "mnist", ["binarized_mnist_train.amat"]),
    ("no row", lambda f: larochelle(f, ""), "mnist", ["binarized_mnist_train.amat", "784"]),
    ("torn row", lambda f: larochelle(f, ROW + "0 1\n"), "mnist", ["binarized_mnist_train.amat"]),
    ("short rows", lambda f: larochelle(f, "0 1\n1 1\n"), "mnist", ["784"]),
    ("no mat", lambda f: (f / "chardata.mat").write_text("x" * 300), "omniglot", ["chardata.mat"]),
    ("no omniglot", lambda f: None, "omniglot", ["chardata.mat", "data=digits"]),
]


@pytest.mark.parametrize(("name", "harm", "kind", "words"), FILES, ids=[f[0] for f in FILES])
def test_data_files(refused, tmp_path, monkeypatch, name, harm, kind, words):
    import hashlib

    good = {TRAIN: idx(30), TEST: idx(10)}
    table = {f: (len(x) // 784, hashlib.md5(x).hexdigest()) for f, x in good.items()}
    monkeypatch.setattr(mnist, "FILES", mnist.FILES | table)
    folder = tmp_path / "files"
    folder.mkdir()
    for file, content in good.items():
        (folder / file).write_bytes(content)
    harm(folder)
    fixed = ["data.binarization=larochelle"] * (folder / "binarized_mnist_train.amat").exists()
    refused("vae", [f"data={kind}", f"data.root={folder}", *fixed], words)


class Locked(type(Path())):
    """A file of somebody else's; root may read those, so that this has to be acted."""

    def read_bytes(self):
        raise PermissionError(13, "Permission denied")


def test_a_file_that_may_not_be_read(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "find", lambda file, root: Locked(tmp_path / file))
    refused("vae", ["data=mnist"], [TRAIN, "Permission denied"])


# ---- run folders, results folders, environments ----


@pytest.fixture
def started(monkeypatch, capfd, run_dirs, tmp_path):
    """A run of the toy with two checkpoints that is not finished; its folder."""
    for steps in ("steps=20", "steps=40"):
        arguments = [*BASE["toy"], *run_dirs, "tracking=disabled", steps]
        assert command(monkeypatch, capfd, "toy", *arguments)[0] == 0
    (config,) = tmp_path.glob("runs/**/config.json")
    (config.parent / "summary.json").unlink()
    for file in tmp_path.glob("results/**/*.csv"):
        file.unlink()
    return config.parent


HARMS = [
    ("config.json", b"{", [], ["config.json is damaged", "fresh=true"]),
    ("config.json", b'{"lr": 7}', [], ["other settings", "tag=name", "fresh=true"]),
    ("metrics.csv", b"step,seed\n", ["steps=40"], ["no usable checkpoint", "fresh=true"]),
    ("metrics.csv", None, ["steps=40"], ["no usable checkpoint", "fresh=true"]),
    (None, None, ["steps=40", "lr=.5"], ["lr=0.01 there, 0.5 here"]),
    (None, None, ["steps=20"], ["already has 40 steps and 20", "fresh=true"]),
]


@pytest.mark.parametrize(("file", "content", "arguments", "words"), HARMS)
def test_run_folders(refused, started, file, content, arguments, words):
    if content is not None:
        (started / file).write_bytes(content)
    elif file:
        (started / file).unlink()
    refused("toy", arguments, words)


@pytest.mark.parametrize("harm", ["damaged", "foreign"])
def test_checkpoints(refused, started, harm):
    for name in ("checkpoint.pt", "checkpoint.old.pt"):
        good = (started / name).read_bytes()
        (started / name).write_bytes(good[::-1] if harm == "damaged" else b"PK\x03\x04 other")
    refused("toy", ["steps=40"], ["no usable checkpoint", "fresh=true"])


@pytest.mark.parametrize("family", BASE)
@pytest.mark.parametrize("place", ["runs", "results"])
def test_a_file_where_a_folder_should_be(refused, tmp_path, family, place):
    (tmp_path / "file").write_text("mine")
    digits = ["data=digits"] * (family == "vae")
    refused(family, [*digits, f"{place}={tmp_path / 'file'}"], [str(tmp_path / "file")])


def test_gymnasium_is_missing(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    refused("rl", [], ["gymnasium", "pip install"])


def test_an_environment_s_package_is_missing(refused, monkeypatch):
    import gymnasium

    def make(*args, **kwargs):
        raise gymnasium.error.DependencyNotInstalled("no box2d")

    monkeypatch.setattr(gymnasium, "make", make)
    refused("rl", [], ["env.id=CartPole-v1", "pip install"])


def test_torchrun_is_refused_where_there_is_nothing_to_share(refused, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused("rl", [], ["without torchrun"])


def test_there_are_at_least_forty():
    assert len(SETTINGS) + len(FILES) + len(HARMS) > 40
    assert np.unique([" ".join(case[:2]) for case in SETTINGS]).size == len(SETTINGS)

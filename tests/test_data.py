"""MNIST and digits: formats, splits, binarization, downloads, and messages for damaged files."""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.run.errors import UserError
from experiments.vae import data, files, mnist
from experiments.vae.batches import Batches
from relax.replicas import Streams


def idx(images: np.ndarray, magic: int = 0x803) -> bytes:
    return struct.pack(">4I", magic, *images.shape) + images.tobytes()


@pytest.fixture
def no_download(monkeypatch):
    monkeypatch.delenv("RELAX_DATA", raising=False)
    monkeypatch.setattr(files, "_fetch", lambda *args: None)


@pytest.fixture
def small_mnist(tmp_path, monkeypatch, no_download):
    """30 training and 10 test images in MNIST's format, and the table that expects them."""
    draw = np.random.default_rng(0)
    sets = {"train-images-idx3-ubyte": 30, "t10k-images-idx3-ubyte": 10}
    files = {f: idx(draw.integers(0, 256, (n, 28, 28), np.uint8)) for f, n in sets.items()}
    table = {f: (sets[f], hashlib.md5(raw).hexdigest()) for f, raw in files.items()}
    monkeypatch.setattr(mnist, "FILES", mnist.FILES | table)
    return files


def write(folder, files, gz=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in files.items():
        (folder / (name + ".gz" * gz)).write_bytes(gzip.compress(raw) if gz else raw)


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("layout", ["", "MNIST/raw"])
def test_mnist_is_found_in_both_layouts_raw_or_gz(tmp_path, small_mnist, layout, gz):
    write(tmp_path / layout, small_mnist, gz)
    images = data.load("mnist", tmp_path)
    assert [len(s) for s in (images.train, images.valid, images.test)] == [20, 10, 10]
    assert images.train.shape[1] == 784 and images.side == 28
    assert set(images.train.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(images.mean, images.train.mean(0))


def test_relax_data_is_looked_at_after_root(tmp_path, small_mnist, monkeypatch):
    write(tmp_path / "elsewhere" / "MNIST" / "raw", small_mnist)
    monkeypatch.setenv("RELAX_DATA", str(tmp_path / "elsewhere"))
    assert len(data.load("mnist", tmp_path / "empty").train) == 20


def test_static_is_one_draw_and_follows_the_intensities(tmp_path, small_mnist):
    write(tmp_path, small_mnist)
    first, again = data.load("mnist", tmp_path), data.load("mnist", tmp_path)
    assert torch.equal(first.train, again.train) and torch.equal(first.test, again.test)
    intensities = data.load("mnist", tmp_path, "dynamic").train
    assert abs((first.train - intensities).mean()) < 0.01


def test_dynamic_binarizes_anew_in_every_batch(tmp_path, small_mnist):
    write(tmp_path, small_mnist)
    images = data.load("mnist", tmp_path, "dynamic").to(torch.device("cpu"))
    batches = Batches(images, 10, Streams([0, 1]))
    x = batches.at(0)
    assert x.shape == (2, 10, 784) and set(x.unique().tolist()) == {0.0, 1.0}
    index, u = batches.choose(1)
    assert not torch.equal(batches.take(index, u), batches.take(index, u.flip(0)))


def test_a_truncated_file_is_named(tmp_path, small_mnist):
    cut = {name: raw[:-100] for name, raw in small_mnist.items()}
    write(tmp_path, cut)
    with pytest.raises(UserError, match="train-images-idx3-ubyte is truncated.*fetch it again"):
        data.load("mnist", tmp_path)


def test_a_damaged_gz_is_named(tmp_path, small_mnist):
    name = "train-images-idx3-ubyte"
    write(tmp_path, small_mnist, gz=True)
    whole = (tmp_path / f"{name}.gz").read_bytes()
    (tmp_path / f"{name}.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=f"{name}.gz is damaged"):
        data.load("mnist", tmp_path)


def test_another_file_of_the_same_size_is_refused(tmp_path, small_mnist):
    changed = {name: raw[:-1] + bytes([raw[-1] ^ 1]) for name, raw in small_mnist.items()}
    write(tmp_path, changed)
    with pytest.raises(UserError, match="md5"):
        data.load("mnist", tmp_path)


@pytest.fixture
def download(monkeypatch, small_mnist):
    """A network that works: downloads bring good files, also into torchvision's layout."""
    count = []

    def fetch(program, folder, *arguments):
        count.append(folder)
        write(Path(folder) / "MNIST" / "raw", small_mnist)

    monkeypatch.setattr(files, "_fetch", fetch)
    return count


HARMS = {
    "empty": lambda raw: b"",
    "half": lambda raw: raw[: len(raw) // 2],
    "a page of the hotel's": lambda raw: b"<html>" * 9,
    "too long": lambda raw: raw + b"x",
}


@pytest.mark.parametrize("layout", ["", "MNIST/raw"])
@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_damaged_file_is_fetched_again(tmp_path, small_mnist, download, layout, gz, harm):
    write(tmp_path / "good", small_mnist)
    write(tmp_path / "bad" / layout, small_mnist, gz)
    file = tmp_path / "bad" / layout / ("t10k-images-idx3-ubyte" + ".gz" * gz)
    file.write_bytes(harm(file.read_bytes()))
    found = data.load("mnist", tmp_path / "bad")
    assert len(download) == 1
    assert torch.equal(found.test, data.load("mnist", tmp_path / "good").test)
    assert {path.name for path in (tmp_path / "bad/MNIST/raw").iterdir()} >= set(small_mnist)
    assert not [path for path in tmp_path.rglob("tmp*") if path.is_dir()]


def test_a_damaged_file_of_somebody_elses_folder_stays(
    tmp_path, small_mnist, download, monkeypatch
):
    monkeypatch.setenv("RELAX_DATA", str(tmp_path / "theirs"))
    write(tmp_path / "theirs", {name: b"" for name in small_mnist})
    assert len(data.load("mnist", tmp_path / "ours").train) == 20
    assert all(path.read_bytes() == b"" for path in (tmp_path / "theirs").iterdir())


def test_other_images_are_not_replaced(tmp_path, small_mnist, download):
    """Fashion-MNIST under MNIST's names is somebody's work, and not a torn download."""
    changed = {name: raw[:-1] + bytes([raw[-1] ^ 1]) for name, raw in small_mnist.items()}
    write(tmp_path / "MNIST" / "raw", changed)
    with pytest.raises(UserError, match="md5"):
        data.load("mnist", tmp_path)
    assert not download


def test_labels_in_the_images_place_are_refused(tmp_path, small_mnist):
    name = "train-images-idx3-ubyte"
    write(tmp_path, {**small_mnist, name: idx(np.zeros((30, 28, 28), np.uint8), magic=0x801)})
    with pytest.raises(UserError, match="not an idx image file"):
        data.load("mnist", tmp_path)


def test_missing_mnist_names_the_folders_and_the_files(tmp_path, no_download, monkeypatch):
    monkeypatch.setenv("RELAX_DATA", str(tmp_path / "other"))
    with pytest.raises(data.Missing) as error:
        data.load("mnist", tmp_path / "here")
    for text in ("here/MNIST/raw", "other/MNIST/raw", "RELAX", *mnist.FILES):
        assert text in str(error.value) or text == "RELAX"


def test_a_download_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(files, "DOWNLOAD_SECONDS", 0.5)
    files._fetch("import time; time.sleep(60)")


def test_larochelle(tmp_path, no_download):
    draw = np.random.default_rng(0)
    for file in mnist.LAROCHELLE_FILES:
        np.savetxt(tmp_path / file, draw.integers(0, 2, (7, 784)), fmt="%d")
    images = data.load("mnist", tmp_path, "larochelle")
    assert images.train.shape == (7, 784) and set(images.train.unique().tolist()) == {0.0, 1.0}
    with pytest.raises(UserError, match="mnist only"):
        data.load("digits", tmp_path, "larochelle")


def test_missing_larochelle_names_its_files(tmp_path, no_download):
    with pytest.raises(data.Missing, match="binarized_mnist_train.amat"):
        data.load("mnist", tmp_path, "larochelle")


def test_digits_need_no_file(tmp_path, no_download):
    images = data.load("digits", tmp_path)
    assert images.train.shape == (1297, 64) and images.side == 8
    assert len(images.valid) == len(images.test) == 250


@pytest.mark.parametrize(
    ("own", "message"), [({"name": "cifar"}, "mnist"), ({"binarization": "x"}, "static")]
)
def test_unknown_names_list_the_known(own, message):
    with pytest.raises(UserError, match=message):
        data.load(**{"name": "digits", "root": "data", **own})

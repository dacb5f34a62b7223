"""The data sets: formats, splits, binarization, what a damaged file says, and batches."""

import gzip
import hashlib
import struct
from io import BytesIO
from itertools import product
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.run.errors import UserError
from experiments.vae import data, files, mnist, omniglot
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
    assert not data.available("mnist", tmp_path / "empty")
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


def test_dynamic_pixels_are_on_as_often_as_they_are_bright():
    bright = torch.tensor([0.0, 0.2, 0.9, 1.0]).repeat(500, 1)
    images = data.Images("bright", bright, bright, bright, bright.mean(0), 2, dynamic=True)
    x = Batches(images, 500, Streams([1, 2])).at(0)
    torch.testing.assert_close(x.mean(1), bright[:2], atol=0.06, rtol=0)


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


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file" + b"\0" * 50])
def test_a_damaged_omniglot_is_fetched_again(tmp_path, monkeypatch, no_download, content):
    from scipy.io import savemat

    def fetch(program, folder, *arguments):
        pixels = {"data": np.zeros((784, 40)), "testdata": np.zeros((784, 20))}
        savemat(Path(folder) / "chardata.mat", pixels)

    (tmp_path / "chardata.mat").write_bytes(content)
    with pytest.raises(UserError, match=r"chardata.mat is damaged.*a new download failed"):
        data.load("omniglot", tmp_path)
    monkeypatch.setattr(files, "_fetch", fetch)
    assert len(data.load("omniglot", tmp_path).test) == 20


def test_labels_in_the_images_place_are_refused(tmp_path, small_mnist):
    name = "train-images-idx3-ubyte"
    write(tmp_path, {**small_mnist, name: idx(np.zeros((30, 28, 28), np.uint8), magic=0x801)})
    with pytest.raises(UserError, match="not an idx image file"):
        data.load("mnist", tmp_path)


def test_missing_mnist_names_the_folders_and_the_four_files(tmp_path, no_download, monkeypatch):
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


def test_omniglot_has_the_authors_layout_draw_and_split(tmp_path, no_download):
    from scipy.io import savemat

    draw = np.random.default_rng(0)
    pixels = {"data": draw.random((784, 180)), "testdata": draw.random((784, 20))}
    savemat(tmp_path / "chardata.mat", pixels)
    images = data.load("omniglot", tmp_path)
    assert [len(s) for s in (images.train, images.valid, images.test)] == [170, 10, 20]

    np.random.seed(5)  # the authors' lines, written out
    plain = [
        pixels[k].T.reshape(-1, 28, 28).reshape((-1, 784), order="F") for k in ("data", "testdata")
    ]
    train, test = (np.random.rand(*p.shape) < p for p in plain)
    train = train[np.random.RandomState(123).permutation(len(train))]
    assert np.array_equal(images.train, train[:170]) and np.array_equal(images.valid, train[170:])
    assert np.array_equal(images.test, test)


def small_omniglot(folder: Path) -> None:
    """Two archives that share an alphabet; a drawing by drawer d has d rows of 4 pixels of ink."""
    for file, alphabets in zip(
        omniglot.SMALL_FILES, (("Greek", "Korean"), ("Greek",)), strict=True
    ):
        with ZipFile(folder / file, "w") as archive:
            for alphabet, drawer in product(alphabets, range(1, 21)):
                drawing = np.full((105, 105), 255, np.uint8)
                drawing[: 4 * drawer] = 0
                png = BytesIO()
                Image.fromarray(drawing).convert("1").save(png, "png")
                name = f"{Path(file).stem}/{alphabet}/character01/0001_{drawer:02}.png"
                archive.writestr(name, png.getvalue())


def test_the_small_omniglot_is_split_by_drawer_and_counts_a_shared_alphabet_once(
    tmp_path, no_download
):
    small_omniglot(tmp_path)
    images = data.load("omniglot_small", tmp_path, "dynamic")
    assert [len(s) for s in (images.train, images.valid, images.test)] == [32, 4, 4]
    assert images.name == "omniglot_small" and images.side == 28
    ink = torch.tensor([4 * drawer / 105 for drawer in [*range(1, 17)] * 2])
    torch.testing.assert_close(images.train.mean(1).float(), ink, atol=1e-6, rtol=0)
    assert images.train.view(-1, 28, 28)[0, 0].min() == 1 and images.train[0, -1] == 0
    static = data.load("omniglot_small", tmp_path)
    seen = [set(split.mean(1).mul(28).round().tolist()) for split in (static.valid, static.test)]
    assert seen == [{18.0, 19.0}, {20.0, 21.0}]  # of 28 rows: drawers 17 and 18, 19 and 20


@pytest.mark.parametrize("content", [b"", b"PK\3\4 torn", b"<html>"])
def test_a_damaged_small_omniglot_is_named(tmp_path, no_download, content):
    small_omniglot(tmp_path)
    (tmp_path / omniglot.SMALL_FILES[1]).write_bytes(content)
    with pytest.raises(UserError, match="images_background_small2.zip is damaged"):
        data.load("omniglot_small", tmp_path)


def test_a_damaged_omniglot_is_named(tmp_path, no_download):
    (tmp_path / "chardata.mat").write_bytes(b"MATLAB 5.0 MAT-file" + b"\0" * 50)
    with pytest.raises(UserError, match="chardata.mat is damaged"):
        data.load("omniglot", tmp_path)


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


# ---- batches ----


def numbered(count):
    rows = torch.arange(float(count))[:, None].expand(count, 4)
    return data.Images("test", rows, rows, rows, rows[0], 2)


def test_an_epoch_sees_every_image_once_and_the_next_another_order():
    batches = Batches(numbered(23), 5, Streams([0, 1]))
    assert batches.per_epoch == 4
    epochs = [torch.cat([batches.at(4 * e + s)[..., 0] for s in range(4)], dim=1) for e in (0, 1)]
    for epoch in epochs:
        assert all(len(row.unique()) == 20 for row in epoch)
    assert not torch.equal(epochs[0], epochs[1]) and not torch.equal(*epochs[0])


def test_batches_go_on_where_they_were():
    batches = Batches(numbered(23), 5, Streams([0, 1]))
    for step in range(6):
        batches.at(step)
    state = batches.state_dict()
    wanted = [batches.at(step) for step in range(6, 11)]
    resumed = Batches(numbered(23), 5, Streams([0, 1]))
    resumed.load_state_dict(state)
    for step, x in enumerate(wanted, 6):
        assert torch.equal(resumed.at(step), x)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(UserError, match="batch=24"):
        Batches(numbered(23), 24, Streams([0]))

"""Omniglot and its small background sets: formats, splits, downloads, damaged files."""

from io import BytesIO
from itertools import product
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.run.errors import UserError
from experiments.vae import data, files, omniglot


@pytest.fixture
def no_download(monkeypatch):
    monkeypatch.delenv("RELAX_DATA", raising=False)
    monkeypatch.setattr(files, "_fetch", lambda *args: None)


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

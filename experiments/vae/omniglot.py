"""Omniglot: the 28x28 images of Burda et al., and the official small background sets."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from torch import Tensor

from experiments.run.errors import in_one_line
from experiments.vae import files
from experiments.vae.images import Images, split

SMALL_FILES = ("images_background_small1.zip", "images_background_small2.zip")
SMALL_URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
SMALL_VALID, SMALL_TEST = (17, 18), (19, 20)  # drawers; 1 to 16 are for training
OMNIGLOT_URL = "https://raw.githubusercontent.com/yburda/iwae/master/datasets/OMNIGLOT/chardata.mat"


def omniglot(root: str | Path, binarization: str) -> Images:
    """The 28x28 chardata.mat of Burda et al., split and binarized as the paper's code does."""
    download = (
        "import sys, urllib.request; "
        "urllib.request.urlretrieve(sys.argv[2], sys.argv[1] + '/chardata.mat')"
    )
    train, test = files.read_or_fetch(
        lambda: _omniglot_pixels(root),
        lambda: files.fetch_into(Path(root, "omniglot"), ["chardata.mat"], download, OMNIGLOT_URL),
    )
    if binarization == "static":
        draw = np.random.RandomState(5)
        train, test = (draw.rand(*p.shape) < p for p in (train, test))
    train = train[np.random.RandomState(123).permutation(len(train))]
    n_valid = round(len(train) * 1_345 / 24_345)
    splits = [torch.from_numpy(s.astype(float)) for s in (train[:-n_valid], train[-n_valid:], test)]
    return split("omniglot", *splits, binarization)


def _omniglot_pixels(root: str | Path) -> list[np.ndarray]:
    """The training and the test images' intensities, [N, 784]."""
    from scipy.io import loadmat

    path = files.find("chardata.mat", root)
    if path is None:
        raise files.missing("Omniglot", ["chardata.mat"], root)
    try:
        mat = loadmat(path)
        # stored by columns: each image is transposed on the way
        return [
            mat[k].T.reshape(-1, 28, 28).transpose(0, 2, 1).reshape(-1, 784).astype(float)
            for k in ("data", "testdata")
        ]
    except Exception as error:  # scipy raises many types
        raise files.Damaged(f"{path} is damaged or truncated ({in_one_line(error)})") from None


def omniglot_small(root: str | Path, binarization: str) -> Images:
    """The official small background sets 1 and 2: 242 characters by 20 drawers, 4 840 images.

    Two alphabets are in both sets and count once. The splits are by drawer, so that no person's
    drawings are in two of them. Not comparable with the numbers of `omniglot`.
    """
    download = (
        "import sys, urllib.request\n"
        "for file in sys.argv[3:]:\n"
        "    urllib.request.urlretrieve(sys.argv[2] + file, sys.argv[1] + '/' + file)"
    )
    pixels, drawers = files.read_or_fetch(
        lambda: _small_pixels(root),
        lambda: files.fetch_into(
            Path(root, "omniglot"), list(SMALL_FILES), download, SMALL_URL, *SMALL_FILES
        ),
    )
    valid, test = (torch.isin(drawers, torch.tensor(who)) for who in (SMALL_VALID, SMALL_TEST))
    return split(
        "omniglot_small", pixels[~valid & ~test], pixels[valid], pixels[test], binarization
    )


def _small_pixels(root: str | Path) -> tuple[Tensor, Tensor]:
    """Intensities [N, 784] and the drawer of each, in the order of alphabet, character, drawer."""
    drawings: dict[str, np.ndarray] = {}
    for file in SMALL_FILES:
        path = files.find(file, root)
        if path is None:
            raise files.missing("The small Omniglot", list(SMALL_FILES), root)
        try:
            with ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith(".png"):
                        drawing = name.partition("/")[2]  # alphabet/character/image
                        drawings[drawing] = _shrunk(archive.read(name))
        except (BadZipFile, OSError, zlib.error) as error:
            raise files.Damaged(f"{path} is damaged or truncated ({error})") from None
    names = sorted(drawings)
    pixels = torch.from_numpy(np.stack([drawings[name] for name in names]))
    return pixels, torch.tensor([int(Path(name).stem.split("_")[1]) for name in names])


def _shrunk(png: bytes) -> np.ndarray:
    """A drawing of 105x105, black on white, as 28x28 intensities of ink: the mean over areas."""
    from PIL import Image

    ink = 1 - np.asarray(Image.open(io.BytesIO(png)).convert("L")) / 255
    fine = ink.repeat(4, 0).repeat(4, 1)  # 420 = 28 * 15 pixels a side
    return fine.reshape(28, 15, 28, 15).mean((1, 3)).reshape(-1)

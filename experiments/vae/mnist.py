"""MNIST in its own format, and Larochelle and Murray's fixed binarization of it."""

from __future__ import annotations

import gzip
import hashlib
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import torch

from experiments.run.errors import UserError, in_one_line
from experiments.vae import files
from experiments.vae.images import Images, split

FILES = {  # file -> number of images, md5 of the uncompressed file; labels are not needed
    "train-images-idx3-ubyte": (60_000, "6bbc9ace898e44ae57da46a324031adb"),
    "t10k-images-idx3-ubyte": (10_000, "2646ac647ad5339dbf082846283269ea"),
}
LAROCHELLE_FILES = {f"binarized_mnist_{s}.amat": s for s in ("train", "valid", "test")}


def read_idx(path: Path, md5: str) -> np.ndarray:
    """Images [N, rows, columns] of an idx3 file, raw or .gz. UserError: truncated or altered."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    try:
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
        magic, count, rows, columns = struct.unpack(">4I", raw[:16])
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise files.Damaged(f"{path} is damaged or truncated ({error})") from None
    if magic != 0x803:
        kind = UserError if magic >> 8 == 0x8 else files.Damaged  # another idx file, or none at all
        raise kind(f"{path} is not an idx image file (it starts with {magic:#x})")
    if len(raw) != 16 + count * rows * columns:
        wanted = 16 + count * rows * columns
        raise files.Damaged(f"{path} is truncated or too long: {len(raw):,} bytes of {wanted:,}")
    if hashlib.md5(raw).hexdigest() != md5:
        raise UserError(f"{path} is not the official file (its md5 differs); fetch it again")
    return np.frombuffer(raw, np.uint8, offset=16).reshape(count, rows, columns)


def mnist(root: str | Path, binarization: str) -> Images:
    program = "import sys, torchvision; torchvision.datasets.MNIST(sys.argv[1], download=True)"
    pixels = files.read_or_fetch(
        lambda: _mnist_pixels(root),
        lambda: files.fetch_into(Path(root, "MNIST/raw"), list(FILES), program),
    )
    train, test = (torch.from_numpy(p.reshape(len(p), -1) / 255.0) for p in pixels)
    n_valid = len(test)  # the last 10 000 training images
    return split("mnist", train[:-n_valid], train[-n_valid:], test, binarization)


def _mnist_pixels(root: str | Path) -> list[np.ndarray]:
    """The training and the test images."""
    pixels = []
    for file, (count, md5) in FILES.items():
        path = files.find(file, root)
        if path is None:
            raise files.missing("MNIST", list(FILES), root)
        pixels.append(read_idx(path, md5))
        if len(pixels[-1]) != count:
            raise UserError(f"{path} contains {len(pixels[-1]):,} images, not {count:,}")
    return pixels


def larochelle(root: str | Path) -> Images:
    """Larochelle and Murray's fixed binarization: text files of zeros and ones."""
    splits = {}
    for file, name in LAROCHELLE_FILES.items():
        path = files.find(file, root)
        if path is None:
            raise files.missing("Binarized MNIST", list(LAROCHELLE_FILES), root)
        opener = gzip.open if path.suffix == ".gz" else open
        try:
            with opener(path, "rt") as lines, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of an empty file
                pixels = np.loadtxt(lines, dtype=np.uint8, ndmin=2)
        except (OSError, EOFError, ValueError) as error:
            why = in_one_line(error)
            raise UserError(f"{path} is damaged ({why}); fetch it again") from None
        if pixels.shape[1] != 784:
            raise UserError(f"{path} has rows of {pixels.shape[1]} pixels, not 784; fetch it again")
        splits[name] = torch.from_numpy(pixels).double()
    return Images("mnist", **splits, mean=splits["train"].mean(0), side=28)

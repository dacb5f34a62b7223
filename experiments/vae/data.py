"""Binary image data as tensors on the device: MNIST, Omniglot and scikit-learn's digits.

A data set is one float tensor per split; a batch is an index into it, so nothing is loaded while
training. Files are looked for under `root` and `$RELAX_DATA`, and downloaded last.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from torch import Tensor

from experiments.run.errors import UserError
from relax.replicas import Streams

T = TypeVar("T")
BINARIZATIONS = ("static", "dynamic", "larochelle")
STATIC_SEED = 0  # the one draw that makes `static` the same data set everywhere
DOWNLOAD_SECONDS = 120

MNIST_FILES = {  # file -> number of images, md5 of the uncompressed file (None: not read)
    "train-images-idx3-ubyte": (60_000, "6bbc9ace898e44ae57da46a324031adb"),
    "t10k-images-idx3-ubyte": (10_000, "2646ac647ad5339dbf082846283269ea"),
    "train-labels-idx1-ubyte": (60_000, None),
    "t10k-labels-idx1-ubyte": (10_000, None),
}
LAROCHELLE_FILES = {f"binarized_mnist_{s}.amat": s for s in ("train", "valid", "test")}
SMALL_FILES = ("images_background_small1.zip", "images_background_small2.zip")
SMALL_URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
SMALL_VALID, SMALL_TEST = (17, 18), (19, 20)  # drawers; 1 to 16 are for training
OMNIGLOT_URL = "https://raw.githubusercontent.com/yburda/iwae/master/datasets/OMNIGLOT/chardata.mat"


@dataclass(frozen=True)
class Images:
    """Three splits of images in [0, 1], each [N, pixels]; `mean` is the training images'.

    `dynamic`: the training images are intensities, binarized anew in every batch.
    """

    name: str
    train: Tensor
    valid: Tensor
    test: Tensor
    mean: Tensor
    side: int
    dynamic: bool = False

    def to(self, device: torch.device) -> Images:
        """The same images on `device`, in torch's default dtype."""
        dtype = torch.get_default_dtype()
        moved = {s: getattr(self, s).to(device, dtype) for s in ("train", "valid", "test", "mean")}
        return Images(self.name, **moved, side=self.side, dynamic=self.dynamic)


class Missing(UserError):
    """The files are nowhere and could not be downloaded."""


class Damaged(UserError):
    """A file is torn or is something else altogether, as after a download that broke off."""


class Batches:
    """Batches [R, B, pixels] by index, each replica in its own order from its own stream.

    The last, smaller batch of an epoch is dropped, as the paper's code does.
    """

    def __init__(self, images: Images, batch: int, streams: Streams):
        self.images, self.batch, self.streams = images, batch, streams
        self.per_epoch = len(images.train) // batch
        if self.per_epoch == 0:
            raise UserError(f"batch={batch} is larger than {images.name}'s {len(images.train)}")
        self.order: Tensor | None = None

    def at(self, step: int) -> Tensor:
        """The batch of this step; steps must be asked for in order."""
        return self.take(*self.choose(step))

    def random(self) -> Tensor:
        """A batch drawn with replacement, outside the epochs' order."""
        return self.take(*self.choose_random())

    def choose_random(self) -> tuple[Tensor, Tensor | None]:
        """Which images make a random batch, and the noise that binarizes them."""
        return self._with_noise(self.streams.randint(len(self.images.train), self.batch))

    def choose(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Which images [R, B] make the batch of this step, and the noise that binarizes them."""
        position = step % self.per_epoch
        if position == 0 or self.order is None:
            self.order = self.streams.rand(len(self.images.train)).argsort(-1)
        index = self.order[:, position * self.batch : (position + 1) * self.batch]
        return self._with_noise(index)

    def take(self, index: Tensor, u: Tensor | None) -> Tensor:
        """The batch that was chosen, [R, B, pixels]."""
        x = self.images.train.index_select(0, index.reshape(-1)).view(*index.shape, -1)
        return x if u is None else (u < x).to(x.dtype)

    def _with_noise(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        pixels = self.images.train.shape[-1]
        return index, self.streams.rand(self.batch, pixels) if self.images.dynamic else None

    def state_dict(self) -> dict:
        return {"order": self.order, "streams": self.streams.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        order = state["order"]
        self.order = None if order is None else order.to(self.images.train.device)
        self.streams.load_state_dict(state["streams"])


def load(name: str, root: str | Path = "data", binarization: str = "static") -> Images:
    """A data set by name. UserError: unknown name or binarization, missing or damaged files."""
    if binarization not in BINARIZATIONS:
        raise UserError(f"binarization={binarization}: known are {', '.join(BINARIZATIONS)}")
    if name not in MAKERS:
        raise UserError(f"data={name}: known are {', '.join(MAKERS)}")
    if binarization == "larochelle":
        if name != "mnist":
            raise UserError(f"binarization=larochelle exists for mnist only, not for {name}")
        return _larochelle(root)
    return MAKERS[name](root, binarization)


def available(name: str, root: str | Path = "data") -> bool:
    """Whether `load` would find the files without a download."""
    wanted = {
        "mnist": [f for f, (_, md5) in MNIST_FILES.items() if md5],
        "omniglot": ["chardata.mat"],
        "omniglot_small": list(SMALL_FILES),
        "digits": [],
    }[name]
    return all(find(f, root) for f in wanted)


# --- finding and fetching files -------------------------------------------------------------


def folders(root: str | Path) -> list[Path]:
    """Where files are looked for: `root`, then `$RELAX_DATA`, each also in torchvision's layout."""
    roots = [Path(root)]
    if os.environ.get("RELAX_DATA"):
        roots.append(Path(os.environ["RELAX_DATA"]))
    return [r / sub for r in roots for sub in ("MNIST/raw", "omniglot", "")]


def find(file: str, root: str | Path) -> Path | None:
    """The file, or the same with .gz, in the first folder that has it."""
    candidates = (f / (file + end) for f in folders(root) for end in ("", ".gz"))
    return next((c for c in candidates if c.is_file()), None)


def _fetch(program: str, *arguments: str) -> None:
    """Runs a download in its own process, so that one that hangs can be given up."""
    command = [sys.executable, "-c", program, *arguments]
    try:
        subprocess.run(command, capture_output=True, timeout=DOWNLOAD_SECONDS, check=True)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        return  # the caller finds the file missing, and says where it was looked for


def _fetch_into(target: Path, files: list[str], program: str, *arguments: str) -> None:
    """Run a download in an empty folder, and move these files from there to `target`.

    So no half file is ever found, and torchvision, which leaves any file that exists as it is,
    replaces a damaged one.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=target) as folder:
            _fetch(program, folder, *arguments)
            for new in (path for file in files for path in Path(folder).rglob(file)):
                new.replace(target / new.name)
    except OSError:
        return  # it cannot be written there; the caller says what is wrong with the files


def _read_or_fetch(read: Callable[[], T], fetch: Callable[[], None]) -> T:
    """What `read` returns; where its files are missing or damaged, once more after a download."""
    try:
        return read()
    except (Missing, Damaged):
        fetch()
    try:
        return read()
    except Damaged as error:
        raise UserError(f"{error}; a new download failed: fetch it again, or delete it") from error


def _missing(what: str, files: list[str], root: str | Path) -> Missing:
    looked = ", ".join(str(f) for f in folders(root))
    return Missing(
        f"{what} not found and not downloaded. Put {', '.join(files)} (or .gz of them) into one of "
        f"{looked}; or use data=digits, which needs no files"
    )


# --- formats --------------------------------------------------------------------------------


def read_idx(path: Path, md5: str | None = None) -> np.ndarray:
    """Images [N, rows, columns] of an idx3 file, raw or .gz. UserError: truncated or altered."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    try:
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
        magic, count, rows, columns = struct.unpack(">4I", raw[:16])
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise Damaged(f"{path} is damaged or truncated ({error})") from None
    if magic != 0x803:
        kind = UserError if magic >> 8 == 0x8 else Damaged  # another idx file, or none at all
        raise kind(f"{path} is no idx image file (it starts with {magic:#x})")
    if len(raw) != 16 + count * rows * columns:
        wanted = 16 + count * rows * columns
        raise Damaged(f"{path} is truncated or too long: {len(raw):,} bytes of {wanted:,}")
    if md5 is not None and hashlib.md5(raw).hexdigest() != md5:
        raise UserError(f"{path} is not the official file (its md5 differs); fetch it again")
    return np.frombuffer(raw, np.uint8, offset=16).reshape(count, rows, columns)


def _mnist(root: str | Path, binarization: str) -> Images:
    download = "import sys, torchvision; torchvision.datasets.MNIST(sys.argv[1], download=True)"
    files = [file for file, (_, md5) in MNIST_FILES.items() if md5]
    pixels = _read_or_fetch(
        lambda: _mnist_pixels(root), lambda: _fetch_into(Path(root, "MNIST/raw"), files, download)
    )
    train, test = (torch.from_numpy(p.reshape(len(p), -1) / 255.0) for p in pixels)
    n_valid = len(test)  # the last 10 000 training images
    return split("mnist", train[:-n_valid], train[-n_valid:], test, binarization)


def _mnist_pixels(root: str | Path) -> list[np.ndarray]:
    """The training and the test images."""
    if not available("mnist", root):
        raise _missing("MNIST", list(MNIST_FILES), root)
    pixels = []
    for file, (count, md5) in MNIST_FILES.items():
        if md5 is None:
            continue
        path = find(file, root)
        pixels.append(read_idx(path, md5))
        if len(pixels[-1]) != count:
            raise UserError(f"{path} holds {len(pixels[-1]):,} images, not {count:,}")
    return pixels


def _larochelle(root: str | Path) -> Images:
    """Larochelle and Murray's fixed binarization: text files of zeros and ones."""
    splits = {}
    for file, split in LAROCHELLE_FILES.items():
        path = find(file, root)
        if path is None:
            raise _missing("Binarized MNIST", list(LAROCHELLE_FILES), root)
        opener = gzip.open if path.suffix == ".gz" else open
        try:
            with opener(path, "rt") as lines, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of an empty file
                pixels = np.loadtxt(lines, dtype=np.uint8, ndmin=2)
        except (OSError, EOFError, ValueError) as error:
            why = str(error).splitlines()[0]
            raise UserError(f"{path} is damaged ({why}); fetch it again") from None
        if pixels.shape[1] != 784:
            raise UserError(f"{path} has rows of {pixels.shape[1]} pixels, not 784; fetch it again")
        splits[split] = torch.from_numpy(pixels).double()
    return Images("mnist", **splits, mean=splits["train"].mean(0), side=28)


def _omniglot(root: str | Path, binarization: str) -> Images:
    """The 28x28 chardata.mat of Burda et al., split and binarized as the paper's code does."""
    download = (
        "import sys, urllib.request; "
        "urllib.request.urlretrieve(sys.argv[2], sys.argv[1] + '/chardata.mat')"
    )
    train, test = _read_or_fetch(
        lambda: _omniglot_pixels(root),
        lambda: _fetch_into(Path(root, "omniglot"), ["chardata.mat"], download, OMNIGLOT_URL),
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

    path = find("chardata.mat", root)
    if path is None:
        raise _missing("Omniglot", ["chardata.mat"], root)
    try:
        mat = loadmat(path)
        # stored by columns: each image is transposed on the way
        return [
            mat[k].T.reshape(-1, 28, 28).transpose(0, 2, 1).reshape(-1, 784).astype(float)
            for k in ("data", "testdata")
        ]
    except Exception as error:  # scipy says whatever comes first
        why = str(error).splitlines()[0]
        raise Damaged(f"{path} is damaged or truncated ({why})") from None


def _omniglot_small(root: str | Path, binarization: str) -> Images:
    """The official small background sets 1 and 2: 242 characters by 20 drawers, 4 840 images.

    Two alphabets are in both sets and count once. The splits are by drawer, so that nobody's
    drawing of a character is in two of them. Not comparable with the numbers of `omniglot`.
    """
    download = (
        "import sys, urllib.request\n"
        "for file in sys.argv[3:]:\n"
        "    urllib.request.urlretrieve(sys.argv[2] + file, sys.argv[1] + '/' + file)"
    )
    pixels, drawers = _read_or_fetch(
        lambda: _small_pixels(root),
        lambda: _fetch_into(
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
        path = find(file, root)
        if path is None:
            raise _missing("The small Omniglot", list(SMALL_FILES), root)
        try:
            with ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith(".png"):
                        drawing = name.partition("/")[2]  # alphabet/character/image
                        drawings[drawing] = _shrunk(archive.read(name))
        except (BadZipFile, OSError, zlib.error) as error:
            raise Damaged(f"{path} is damaged or truncated ({error})") from None
    names = sorted(drawings)
    pixels = torch.from_numpy(np.stack([drawings[name] for name in names]))
    return pixels, torch.tensor([int(Path(name).stem.split("_")[1]) for name in names])


def _shrunk(png: bytes) -> np.ndarray:
    """A drawing of 105x105, black on white, as 28x28 intensities of ink: the mean over areas."""
    from PIL import Image

    ink = 1 - np.asarray(Image.open(io.BytesIO(png)).convert("L")) / 255
    fine = ink.repeat(4, 0).repeat(4, 1)  # 420 = 28 * 15 pixels a side
    return fine.reshape(28, 15, 28, 15).mean((1, 3)).reshape(-1)


def _digits(root: str | Path, binarization: str) -> Images:
    """scikit-learn's 1 797 digits of 8x8, the stand-in that needs no file."""
    from sklearn.datasets import load_digits

    pixels = torch.from_numpy(load_digits().data / 16.0)
    pixels = pixels[torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))]
    return split("digits", pixels[:1297], pixels[1297:1547], pixels[1547:], binarization)


def split(name: str, train: Tensor, valid: Tensor, test: Tensor, binarization: str) -> Images:
    """Binarizes once. With `dynamic` the training images stay intensities, the others do not."""
    generator = torch.Generator().manual_seed(STATIC_SEED)

    def binary(pixels: Tensor) -> Tensor:
        return (torch.rand(pixels.shape, generator=generator, dtype=pixels.dtype) < pixels).double()

    binary_train, valid, test = binary(train), binary(valid), binary(test)
    dynamic = binarization == "dynamic"
    train = train if dynamic else binary_train
    side = round(train.shape[1] ** 0.5)
    return Images(name, train, valid, test, train.mean(0), side, dynamic)


# name -> (root, binarization) -> Images; another data set is another row
MAKERS = {
    "mnist": _mnist,
    "omniglot": _omniglot,
    "omniglot_small": _omniglot_small,
    "digits": _digits,
}

"""A data set of binary images in memory, and the binarization of its splits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STATIC_SEED = 0  # one fixed draw, so that `static` is the same data set everywhere
ROWS = 1_000  # images that are binarized at a time, because more do not fit into the cache


@dataclass(frozen=True)
class Images:
    """Three splits of images in [0, 1], each [N, pixels]; `mean` is the training images'.

    `dynamic`: the training images are intensities, binarized again in every batch.
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


def split(name: str, train: Tensor, valid: Tensor, test: Tensor, binarization: str) -> Images:
    """Three splits, binarized once; with `dynamic` the training images stay intensities."""
    generator = torch.Generator().manual_seed(STATIC_SEED)
    binary_train, valid, test = (binarized(pixels, generator) for pixels in (train, valid, test))
    dynamic = binarization == "dynamic"
    train = train if dynamic else binary_train
    side = round(train.shape[1] ** 0.5)
    mean = train.mean(0, dtype=torch.float64).to(train.dtype)
    return Images(name, train, valid, test, mean, side, dynamic)


def binarized(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Pixels [N, pixels] that are 1 with their intensity as probability, in torch's default dtype.

    The random numbers do not depend on ROWS.
    """
    binary = torch.empty(pixels.shape)
    for row, ones in zip(pixels.split(ROWS), binary.split(ROWS), strict=True):
        ones.copy_(torch.rand(row.shape, generator=generator, dtype=row.dtype) < row)
    return binary

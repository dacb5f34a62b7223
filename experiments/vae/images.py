"""A data set of binary images in memory, and the binarization of its splits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STATIC_SEED = 0  # one fixed draw, so that `static` is the same data set everywhere


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

    def binary(pixels: Tensor) -> Tensor:
        return (torch.rand(pixels.shape, generator=generator, dtype=pixels.dtype) < pixels).double()

    binary_train, valid, test = binary(train), binary(valid), binary(test)
    dynamic = binarization == "dynamic"
    train = train if dynamic else binary_train
    side = round(train.shape[1] ** 0.5)
    return Images(name, train, valid, test, train.mean(0), side, dynamic)

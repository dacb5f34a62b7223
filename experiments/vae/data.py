"""Binary image data as tensors on the device: MNIST, Omniglot and scikit-learn's digits."""

from __future__ import annotations

from pathlib import Path

import torch

from experiments.run.errors import check, known
from experiments.vae import mnist, omniglot
from experiments.vae.files import Missing
from experiments.vae.images import Images, split

__all__ = ["BINARIZATIONS", "Images", "Missing", "load"]
BINARIZATIONS = ("static", "dynamic", "larochelle")


def load(name: str, root: str | Path = "data", binarization: str = "static") -> Images:
    """A data set by name. UserError: unknown name or binarization, missing or damaged files."""
    known(binarization, BINARIZATIONS, "data.binarization")
    known(name, MAKERS, "data set")
    if binarization == "larochelle":
        check(name == "mnist", f"data.binarization=larochelle is for mnist only, not for {name}")
        return mnist.larochelle(root)
    return MAKERS[name](root, binarization)


def _digits(root: str | Path, binarization: str) -> Images:
    """scikit-learn's 1 797 digits of 8x8, which need no file."""
    from sklearn.datasets import load_digits

    pixels = torch.from_numpy(load_digits().data / 16.0)
    pixels = pixels[torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))]
    return split("digits", pixels[:1297], pixels[1297:1547], pixels[1547:], binarization)


MAKERS = {  # name -> (root, binarization) -> Images; another data set is another row
    "mnist": mnist.mnist,
    "omniglot": omniglot.omniglot,
    "omniglot_small": omniglot.omniglot_small,
    "digits": _digits,
}

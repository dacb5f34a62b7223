"""Batches of images by index, so that nothing is loaded while training."""

from __future__ import annotations

from torch import Tensor

from experiments.run.errors import UserError
from experiments.vae.images import Images
from relax.replicas import Streams


class Batches:
    """Batches [R, B, pixels] by index, every replica in an order from its own stream.

    The last, smaller batch of an epoch is dropped, as the paper's code does.
    """

    def __init__(self, images: Images, batch: int, streams: Streams):
        self.images, self.batch, self.streams = images, batch, streams
        self.per_epoch = len(images.train) // batch
        if self.per_epoch == 0:
            raise UserError(f"batch={batch} is larger than {images.name}'s {len(images.train)}")
        self.order: Tensor | None = None

    def at(self, step: int) -> Tensor:
        """The batch of this step; call it for the steps in order."""
        return self.take(*self.choose(step))

    def choose_random(self) -> tuple[Tensor, Tensor | None]:
        """As `choose`, for a batch drawn with replacement, independent of the epochs."""
        return self._with_noise(self.streams.randint(len(self.images.train), self.batch))

    def choose(self, step: int) -> tuple[Tensor, Tensor | None]:
        """The indices [R, B] of the batch of this step, and the noise that binarizes it."""
        position = step % self.per_epoch
        if position == 0 or self.order is None:
            self.order = self.streams.rand(len(self.images.train)).argsort(-1)
        index = self.order[:, position * self.batch : (position + 1) * self.batch]
        return self._with_noise(index)

    def take(self, index: Tensor, u: Tensor | None) -> Tensor:
        """The batch with these indices, [R, B, pixels]."""
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

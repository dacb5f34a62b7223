"""Batches of images: epochs, resuming, and binarization in every batch."""

import pytest
import torch

from experiments.run.errors import UserError
from experiments.vae import data
from experiments.vae.batches import Batches
from relax.replicas import Streams


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


def test_dynamic_pixels_are_on_as_often_as_they_are_bright():
    bright = torch.tensor([0.0, 0.2, 0.9, 1.0]).repeat(500, 1)
    images = data.Images("bright", bright, bright, bright, bright.mean(0), 2, dynamic=True)
    x = Batches(images, 500, Streams([1, 2])).at(0)
    torch.testing.assert_close(x.mean(1), bright[:2], atol=0.06, rtol=0)

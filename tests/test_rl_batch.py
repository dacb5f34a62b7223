"""A batch of episodes: returns, advantages, its clock and mask, and the observation filter."""

import numpy as np
import torch

from experiments.rl.batch import advantages, discount
from experiments.rl.observer import Observer
from tests.policies import made_batch


def test_returns_stop_at_the_end_of_an_episode(float64):
    last = torch.tensor([[False, True, False, True]])
    returns = discount(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), last, 0.5)
    torch.testing.assert_close(returns, torch.tensor([[2.0, 2.0, 5.0, 4.0]]))


def test_advantages_continue_what_the_clock_cut(float64):
    batch = made_batch([[1, 1, 1, 1, 0]], [[0, 1, 0, 1, 0]], [[0, 1, 0, 0, 0]])
    batch.last, batch.terminated = batch.last.bool(), batch.terminated.bool()
    value, after = torch.tensor([[1.0, 2, 3, 4, 0]]), torch.full((1, 5), 10.0)
    for lambda_ in (1.0, 0.6):
        advantage, returns = advantages(batch, value, after, 0.9, lambda_, bootstrap=True)
        torch.testing.assert_close(returns, torch.tensor([[1.9, 1, 1 + 0.9 * 10, 1 + 9.0, 0]]))
        delta = torch.tensor([1 + 0.9 * 2 - 1, 1 - 2, 1 + 0.9 * 4 - 3, 1 + 9 - 4])
        rate = 0.9 * lambda_
        gae = torch.stack(
            [delta[0] + rate * delta[1], delta[1], delta[2] + rate * delta[3], delta[3]]
        )
        torch.testing.assert_close(advantage[0, :4], gae)
    assert not advantages(batch, value, after, 0.9, 1.0, bootstrap=False)[1][0, 3] > 1


def test_mask_clock_and_episodes_of_a_batch():
    batch = made_batch([[1, 1, 1, 1], [1, 1, 0, 0]], [[0, 1, 0, 1], [0, 1, 0, 0]], [[0] * 4] * 2)
    batch.last = batch.last.bool()
    assert batch.length.tolist() == [4, 2]
    assert batch.mask.sum().item() == 6
    assert batch.clock[0].tolist() == [0, 1, 0, 1]
    assert batch.episodes() == [[(0, 2), (2, 4)], [(0, 2)]]


def test_the_filter_keeps_the_moments_of_all_it_saw(float64):
    observer, seen = Observer(2, 1, True, False, np.float64), []
    for size in (5, 1, 30):
        seen.append(torch.randn(1, size, 2) * 3 + 1)
        observer.update(seen[-1], torch.ones(1, size, dtype=torch.bool))
    everything = torch.cat(seen, 1)[0]
    observer.select(np.array([0]))
    torch.testing.assert_close(torch.from_numpy(observer.shift[0]), everything.mean(0))
    np.testing.assert_allclose(observer.scale[0], everything.std(0, correction=0), rtol=1e-6)

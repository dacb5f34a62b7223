"""Rollouts: the end of an episode, what the next one sees, how many are played, the actions."""

import numpy as np
import pytest
import torch

import relax as rx
from experiments.rl.observer import Observer
from experiments.rl.rollout import collect, draw_noise, episode_seeds
from tests.policies import Counting, everyone, made_batch, small


class Still:
    """A policy that does nothing."""

    def select(self, rows):
        self.count = len(rows)

    def __call__(self, x, t):
        return np.zeros((self.count, 1))


def rollout(envs, at_least=1, filtered=False, previous=False):
    """(batch, observer) of a policy that does nothing."""
    observer = Observer(1, envs.copies, filtered, previous, np.float64)
    streams = rx.replicas.Streams(range(envs.copies))
    noise = draw_noise(None, 1, streams, at_least + envs.steps - 1)
    played = torch.zeros(envs.copies, dtype=torch.long)
    seeds = episode_seeds(list(range(envs.copies)), played)
    rows = np.arange(envs.copies)
    return collect(envs, observer, Still(), noise, rows, at_least, seeds), observer


@pytest.mark.parametrize("cut", [True, False])
def test_the_clock_truncates_and_the_task_terminates(cut):
    batch, _ = rollout(Counting([[3], [5]], cut))
    assert batch.length.tolist() == [3, 5]
    assert batch.last.nonzero().tolist() == [[0, 2], [1, 4]]
    ends = [] if cut else [[0, 2], [1, 4]]
    assert batch.terminated.nonzero().tolist() == ends
    assert batch.after[0, 2].item() == 4  # the observation after the last step


@pytest.mark.parametrize(("at_least", "steps"), [(1, 3), (3, 3), (4, 6), (6, 6), (7, 9)])
def test_no_more_episodes_are_played_than_needed(at_least, steps):
    batch, _ = rollout(Counting([[3] * 9], True), at_least)
    assert batch.length.tolist() == [steps]
    assert batch.clock[0].tolist() == [0, 1, 2] * (steps // 3)


def test_every_episode_has_a_seed_of_its_own():
    envs = Counting([[2] * 9, [3] * 9], True)
    rollout(envs, at_least=6)
    assert len(envs.seeds) == len(set(envs.seeds)) == 5


def test_the_input_before_is_that_of_the_same_episode():
    """Zero at an episode's first step, else what was seen the step before."""
    batch, _ = rollout(Counting([[2, 3, 2, 9], [4, 4, 9]], True), at_least=7, previous=True)
    now, before = batch.x.unbind(-1)
    for row, episodes in enumerate(batch.episodes()):
        assert len(episodes) > 1
        for start, end in episodes:
            assert before[row, start] == 0
            assert torch.equal(before[row, start + 1 : end], now[row, start : end - 1])
    assert torch.equal(batch.after[..., 1][batch.last], now[batch.last])


def test_playing_does_not_move_the_filter():
    """Within a batch the policy is one function of the state."""
    envs = Counting([[3] * 9], True)
    batch, observer = rollout(envs, at_least=9, filtered=True)
    assert (observer.count == 0).all() and (observer.mean == 0).all()
    assert batch.x[0, :, 0].tolist() == pytest.approx([1.0, 2.0, 3.0] * 3)
    assert batch.observation[0, :, 0].tolist() == [1.0, 2.0, 3.0] * 3


def test_filtered_observations_stay_within_five_deviations():
    observer = Observer(1, 1, True, False, np.float64)
    seen = torch.tensor([[[0.0], [2.0]]]).double()
    observer.update(seen, torch.ones(1, 2, dtype=torch.bool))
    observer.select(np.array([0]))
    filtered = observer(np.array([[1.0], [3.0], [100.0], [-100.0]]), None)
    np.testing.assert_allclose(filtered[:, 0], [0, 2, 5, -5], atol=1e-6)


# ---- a run around it ----


def test_frames_are_real_steps_only():
    """Rows of 4, 2 and 3 steps, the last in two episodes; nothing of the padding counts."""
    last = [[0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 1, 0]]
    batch = made_batch([[1, 1, 1, 1], [1, 1, 0, 0], [5, 1, 1, 0]], last, [[0] * 4] * 3)
    batch.last = batch.last.bool()
    run = small(True, "a2c", seeds=3)
    run.scores.add(batch)
    assert run.scores.frames.tolist() == [4, 2, 3]
    assert run.scores.episodes.tolist() == [1, 1, 2]
    values = run.scores.flush()
    assert values["return"].tolist() == [4, 2, 3.5]
    assert values["frames"].tolist() == [4, 2, 3]
    assert np.isnan(run.scores.flush()["return"]).all()  # nobody played since


def test_weights_and_actions_are_made_of_different_numbers():
    """The streams start from the run's seeds; the weights must not."""
    run = small(True, "a2c", seeds=3)
    hidden = run.learner.policy.layers[0].weight.detach()
    for row, seed in enumerate(run.seeds):
        normal = torch.randn(*sorted(hidden.shape[1:], reverse=True), generator=seeded(seed))
        q = torch.linalg.qr(normal)[0]
        q = q if q.shape == hidden.shape[1:] else q.T
        assert not torch.allclose(hidden[row].abs(), 2**0.5 * q.abs(), atol=1e-4)
    played = run.play(everyone(run))
    assert len({tuple(row.tolist()) for row in played.noise.u[:, 0]}) == 3


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_actions_are_those_of_the_replayed_policy(float64):
    run = small(True, "relax", seeds=4)
    batch = run.play(torch.ones(4, dtype=torch.bool))
    dist = rx.Categorical(run.learner.policy(batch.x), replicas=1)
    assert torch.equal(rx.Draw(dist, batch.noise).b[batch.mask], batch.action[batch.mask])
    run = small(False, "a2c")
    batch = run.play(torch.ones(2, dtype=torch.bool))
    dist = rx.Normal(*run.learner.policy(batch.x), replicas=1)
    torch.testing.assert_close(rx.Draw(dist, batch.noise).b[batch.mask], batch.action[batch.mask])


def test_episode_seeds_count_the_episodes_begun():
    played = torch.zeros(2, dtype=torch.long)
    next_seed = episode_seeds([3, 4], played)
    first = next_seed(1)
    assert next_seed(1) != first
    assert played.tolist() == [0, 2]

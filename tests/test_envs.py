"""The environments: gymnasium's own transitions, independent rows, starts from the seed alone."""

import builtins

import numpy as np
import pytest

from experiments import envs
from experiments.config import UserError

pytest.importorskip("gymnasium")


def test_cartpole_is_gymnasiums_bit_for_bit():
    ours, theirs = envs.make("CartPole-v1", 5, 60), envs.Environments("CartPole-v1", 5, 60)
    rng, rows = np.random.default_rng(0), np.arange(5)
    first = [envs.episode_seed(int(row), 0) for row in rows]
    seen = ours.reset(rows, first)
    assert np.array_equal(seen, theirs.reset(rows, first))
    episodes = 5
    for _ in range(3000):
        steady = seen[:, 2] + seen[:, 3] > 0  # keeps the pole up long enough for the clock
        action = np.where(rng.random(5) < 0.3, rng.integers(0, 2, 5), steady)
        a, b = ours.step(rows, action), theirs.step(rows, action)
        assert all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))
        seen, ended = a[0], a[2] | a[3]
        if ended.any():
            seeds = [envs.episode_seed(7, episodes + i) for i in range(ended.sum())]
            episodes += len(seeds)
            seen[ended] = ours.reset(rows[ended], seeds)
            assert np.array_equal(seen[ended], theirs.reset(rows[ended], seeds))
    assert episodes > 30


def test_the_clock_truncates_and_does_not_terminate():
    stepper = envs.make("CartPole-v1", 1, 3)
    stepper.reset(np.array([0]), [0])
    flags = [stepper.step(np.array([0]), np.array([t % 2]))[2:] for t in range(3)]
    assert [bool(terminated[0]) for terminated, _ in flags] == [False] * 3
    assert [bool(truncated[0]) for _, truncated in flags] == [False, False, True]


def test_a_row_steps_alone():
    both, one = envs.make("Acrobot-v1", 3, 50), envs.make("Acrobot-v1", 1, 50)
    both.reset(np.array([0, 1, 2]), [4, 5, 6])
    one.reset(np.array([0]), [5])
    for action in (0, 2, 1, 2):
        there = both.step(np.array([1]), np.array([action]))
        here = one.step(np.array([0]), np.array([action]))
        assert all(np.array_equal(a, b) for a, b in zip(there, here, strict=True))


def test_episode_seeds_depend_on_run_and_episode_only():
    seeds = {
        (run, episode): envs.episode_seed(run, episode)
        for run in range(20)
        for episode in range(50)
    }
    assert len(set(seeds.values())) == len(seeds)
    assert envs.episode_seed(3, 11) == seeds[3, 11]


def test_actions_are_spread_and_then_clipped():
    pytest.importorskip("mujoco")
    pendulum = envs.make("InvertedPendulum-v4", 1, 10, rescale=True)
    low, high = pendulum.low[0], pendulum.high[0]
    taken = pendulum.to_bounds(np.array([[-1.0], [0.0], [1.0], [9.0]]))
    np.testing.assert_allclose(taken[:, 0], [low, (low + high) / 2, high, high])


def test_a_missing_gymnasium_names_the_extra(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "gymnasium":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UserError, match=r"\[experiments\]"):
        envs.make("CartPole-v1", 1, 10)


def test_an_unknown_environment_is_named():
    with pytest.raises(UserError, match="NoSuchEnv-v0"):
        envs.make("NoSuchEnv-v0", 1, 10)

"""The task of targets: its reward, and the control variate that is the best for it."""

import numpy as np
import torch

import relax as rx
from experiments.rl.bandit import ACTIONS, FEATURES, Target
from experiments.rl.envs import make


def test_the_reward_is_the_distance_to_the_target(float64):
    envs = make("experiments.rl.bandit:Target-v0", 2, 1)
    state = envs.reset(np.arange(2), [3, 4])
    action = torch.randn(2, ACTIONS, generator=torch.Generator().manual_seed(0))
    _, reward, terminated, _ = envs.step(np.arange(2), action.numpy())
    wanted = -(action - torch.from_numpy(state @ Target().matrix.T)).square().mean(1)
    torch.testing.assert_close(torch.from_numpy(reward), wanted)
    assert terminated.all()


def test_the_best_control_variate_leaves_no_noise_in_the_mean(float64):
    """And LAX with the reward itself, the pathwise gradient, leaves some."""
    generator = torch.Generator().manual_seed(0)
    state, mean = (torch.randn(n, generator=generator) for n in (FEATURES, ACTIONS))
    log_std = torch.full((ACTIONS,), -0.7)
    target = torch.from_numpy(Target().matrix) @ state
    value = -(mean - target).square().mean() - log_std.exp().square().mean()

    def advantage(a):
        return -(a - target).square().mean(-1) - value

    def gradients(c):
        dist = rx.Normal(mean.expand(1000, -1), log_std.expand(1000, -1))
        return rx.lax(advantage, dist.draw(generator=generator), c=c).grad[..., 0]

    exact = -2 * (mean - target) / ACTIONS
    best = gradients(lambda a: advantage(a) - 2 * float(log_std[0].exp()) ** 2 / ACTIONS)
    torch.testing.assert_close(best, exact.expand_as(best))
    assert (gradients(advantage).std(0) > 0.1).all()

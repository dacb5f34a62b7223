"""A task in which the action explains nearly all noise: one step, a target, a quadratic cost.

The observation is s ~ N(0, I), the target is W s for a fixed matrix W, and the reward is
-|a - W s|^2 / D. Nothing else is random: given s and a the reward is certain, so the trajectory
term of the gradient's variance is zero, and a control variate that depends on the action can remove
all that an exact V(s) leaves. For a policy with the standard deviation sigma in every coordinate

    c*(a, s) = R(a, s) - V(s) - 2 sigma^2 / D

leaves LAX's gradient in the policy's mean without any noise: the errors of its two terms cancel.
With c = R - V, which gives the pathwise gradient, some noise remains.
"""

from __future__ import annotations

import gymnasium
import numpy as np

FEATURES, ACTIONS = 4, 8


class Target(gymnasium.Env):
    """One step per episode; see the module."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (FEATURES,))
    action_space = gymnasium.spaces.Box(-np.inf, np.inf, (ACTIONS,))

    def __init__(self) -> None:
        self.matrix = np.random.default_rng(0).normal(size=(ACTIONS, FEATURES)) / FEATURES**0.5

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.state = self.np_random.normal(size=FEATURES)
        return self.state, {}

    def step(self, action):
        miss = np.asarray(action) - self.matrix @ self.state
        return self.state, -float(np.mean(np.square(miss))), True, False, {}


gymnasium.register("Target-v0", Target)

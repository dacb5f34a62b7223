"""Frames per second while training policies, and steps per second of the bare environment.

The bare environment is gymnasium's with random actions, on one core.
"""

from __future__ import annotations

import time

from experiments.rl.agents import Agents, replica_keys
from experiments.rl.config import Env, Rl
from experiments.rl.envs import Environments, episode_seed

CASES = {
    "cartpole": (Env(), "relax"),
    "lunarlander": (Env("lunarlander", "LunarLander-v3", 1000, 200.0), "relax"),
    "pendulum": (Env("pendulum", "InvertedPendulum-v4", 1000, 950.0, True), "lax"),
}


def start(env: Env, estimator: str, replicas: int) -> Agents:
    config = Rl(env=env, seeds=replicas, frames=10**9, estimators={estimator: {}})
    config.check()
    return Agents(config, estimator, replica_keys(config, estimator))


def train(run: Agents, seconds: float) -> float:
    """Frames per second of acting and learning; the policies improve from call to call."""
    frames, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        batch = run.play(run.active())
        run.learner.update(batch, run.active())
        run.scores.add(batch)
        frames += int(batch.length.sum())
    return frames / (time.perf_counter() - begun)


def bare(env: Env, seconds: float) -> float:
    """Steps per second of one plain environment with random actions, resets included."""
    plain = Environments(env.id, 1, env.steps, env.rescale).envs[0]
    plain.action_space.seed(0)
    plain.reset(seed=0)
    steps, episode, begun = 0, 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        *_, terminated, truncated, _ = plain.step(plain.action_space.sample())
        steps += 1
        if terminated or truncated:
            episode += 1
            plain.reset(seed=episode_seed(0, episode))
    return steps / (time.perf_counter() - begun)

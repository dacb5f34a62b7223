"""Policies in training beside the bare environment, and policies of which two have collapsed."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from experiments.rl.agents import Agents, replica_keys
from experiments.rl.config import Env, Rl
from experiments.rl.envs import CartPole, Environments, episode_seed

REPLICAS, COLLAPSED, SHORT = 10, 2, 10  # SHORT: steps of a collapsed policy's episode
FRAMES = 100_000  # of each of the replicas, in the run with collapsed policies
ENVIRONMENTS = {
    "CartPole": Env(),
    "LunarLander": Env("lunarlander", "LunarLander-v3", 1000, 200.0),
}


def start(env: Env, compile: str, frames: int = 10**9) -> Agents:
    estimators = {"relax": {}}
    config = Rl(env=env, seeds=REPLICAS, frames=frames, compile=compile, estimators=estimators)
    config.check()
    return Agents(config, "relax", replica_keys(config, "relax"))


class Clock:
    """Processor time spent in the parts of training."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def call(self, part: str, function: Callable, *arguments):
        begin = time.process_time()
        result = function(*arguments)
        self.spent[part] = self.spent.get(part, 0.0) + time.process_time() - begin
        return result

    @property
    def total(self) -> float:
        return sum(self.spent.values())


def train(run: Agents, clock: Clock, seconds: float = float("inf")) -> float:
    """Train for this long, or to the end; the frames that were played."""
    frames, until = 0, clock.total + seconds
    while clock.total < until and (active := run.active()).any():
        batch = clock.call("playing", run.play, active)
        clock.call("update", run.learner.update, batch, active)
        clock.call("scores", run.scores.add, batch)
        frames += int(batch.length.sum())
    return frames


def bare(env: Env, seconds: float) -> float:
    """Seconds per step of one environment of gymnasium with random actions, resets included."""
    plain = Environments(env.id, 1, env.steps, env.rescale).envs[0]
    plain.action_space.seed(0)
    plain.reset(seed=0)
    steps, episode, begin = 0, 0, time.process_time()
    while time.process_time() - begin < seconds:
        *_, terminated, truncated, _ = plain.step(plain.action_space.sample())
        steps += 1
        if terminated or truncated:
            episode += 1
            plain.reset(seed=episode_seed(0, episode))
    return (time.process_time() - begin) / steps


class PartlyCollapsed(CartPole):
    """CartPole whose first replicas end every episode after SHORT steps, and not before."""

    def step(self, rows: np.ndarray, actions: np.ndarray):
        observation, reward, terminated, truncated = super().step(rows, actions)
        collapsed = rows < COLLAPSED
        terminated = np.where(collapsed, self.clock[rows] >= SHORT, terminated)
        return observation, reward, terminated, truncated


def collapsed(compile: str, frames: int) -> Clock:
    """The time of training CartPole's policies for so many frames per seed, without compiling."""
    env = ENVIRONMENTS["CartPole"]
    run = start(env, compile, frames)
    run.envs = PartlyCollapsed(env.id, REPLICAS, env.steps, env.rescale)
    run.learner.update(run.play(run.active()), run.active())
    clock = Clock()
    train(run, clock)
    return clock

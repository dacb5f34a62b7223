"""Frames a second while training, beside the bare environment's: python -m scripts.rl_speed

Ten replicas on one core: frames of training with RELAX or LAX, and steps of gymnasium's own
environment with random actions, in turns of a few seconds. Writes results/rl/speed.csv.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from experiments.rl.agents import Agents, replica_keys
from experiments.rl.config import Env, Rl
from experiments.rl.envs import Environments, episode_seed
from experiments.run.files import write_table

CASES = {
    "cartpole": (Env(), "relax"),
    "lunarlander": (Env("lunarlander", "LunarLander-v3", 1000, 200.0), "relax"),
    "pendulum": (Env("pendulum", "InvertedPendulum-v4", 1000, 950.0, True), "lax"),
}
COLUMNS = ["env", "replicas", "training_frames_per_s", "bare_steps_per_s", "share"]


def main(seconds: float, replicas: int, results: Path) -> None:
    torch.set_num_threads(1)
    rows = []
    for name, (env, estimator) in CASES.items():
        run = start(env, estimator, replicas)
        turns = [(train(run, seconds / 4), bare(env, seconds / 4)) for _ in range(4)]
        training, plain = np.median(turns, axis=0)
        share = training / plain
        rows.append([name, replicas, f"{training:.0f}", f"{plain:.0f}", f"{share:.2f}"])
        print(f"{name}: {training:.0f} frames/s in training, {plain:.0f} bare, {share:.0%}")
    write_table(results / "rl" / "speed.csv", COLUMNS, rows)


def start(env: Env, estimator: str, replicas: int) -> Agents:
    config = Rl(env=env, seeds=replicas, frames=10**9, estimators={estimator: {}})
    config.check()
    return Agents(config, estimator, replica_keys(config, estimator))


def train(run: Agents, seconds: float) -> float:
    """Frames a second of playing and learning; the policies get better from turn to turn."""
    frames, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        batch = run.play(run.active())
        run.learner.update(batch, run.active())
        run.scores.add(batch)
        frames += int(batch.length.sum())
    return frames / (time.perf_counter() - begun)


def bare(env: Env, seconds: float) -> float:
    """Steps a second of one plain environment with random actions, resets included."""
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="per environment")
    parser.add_argument("--replicas", type=int, default=10)
    parser.add_argument("--results", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    main(arguments.seconds, arguments.replicas, arguments.results)

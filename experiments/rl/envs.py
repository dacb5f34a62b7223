"""Environments of several replicas, which play their own episodes and are stepped together.

gymnasium's environments are stepped one after the other. CartPole is simulated for all replicas at
once, with the bits of gymnasium's own. A row is not reset when its episode ends; the caller does
that, so no row of the data is a transition between two episodes. `terminated` (the task ended) and
`truncated` (the episode reached its length) are separate.

An episode starts from `episode_seed(run seed, episode)`, a pure function: a run is resumed between
two episodes without any state of the simulators, and a replica plays the same episodes whatever
other replicas there are.
"""

from __future__ import annotations

import importlib
import os
import warnings
from functools import cache

import numpy as np

from experiments.run.errors import UserError, check


def episode_seed(seed: int, episode: int) -> int:
    """The seed of one episode of one run."""
    return int(np.random.SeedSequence((seed, episode)).generate_state(1)[0])


def make(name: str, copies: int, steps: int, rescale: bool = False) -> Environments:
    """`copies` environments of gymnasium's id `name` with episodes of at most `steps` steps."""
    kind = CartPole if name in ("CartPole-v0", "CartPole-v1") else Environments
    return kind(name, copies, steps, rescale)


@cache
def discrete(name: str) -> bool:
    """Whether the action space of the environment with gymnasium's id `name` is discrete."""
    return Environments(name, 1, steps=1).actions is not None


def gym_make(name: str, steps: int, **options):
    """gymnasium.make, with every failure as a UserError of one line."""
    extra = "pip install -e '.[experiments]' installs those of the paper"
    try:
        import gymnasium
    except ImportError as error:
        raise UserError(
            f"env.id={name} needs gymnasium, which is not installed: {extra}"
        ) from error
    _import_module_of(name)
    with warnings.catch_warnings():
        # InvertedPendulum-v4 is old, but as in the paper it has a reward of 1 in the last step.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return gymnasium.make(
                name, max_episode_steps=steps, disable_env_checker=True, **options
            )
        except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
            raise UserError(
                f"env.id={name} needs a package that is missing ({_reason(error)}); {extra}"
            ) from error
        except gymnasium.error.Error as error:
            raise UserError(f"env.id={name} is not an environment of gymnasium: {error}") from error
        except Exception as error:  # an environment's own code may fail in any way
            raise UserError(f"env.id={name} cannot be made: {_reason(error)}") from error


def _import_module_of(name: str) -> None:
    """Import the module that registers an environment, in an id such as corridor:Corridor-v0."""
    module, _, _ = name.rpartition(":")
    if not module:
        return
    try:
        importlib.import_module(module)
    except Exception as error:
        raise UserError(
            f"env.id={name}: importing {module} failed ({_reason(error)}); the module must be in "
            "this folder or on PYTHONPATH"
        ) from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]


class Environments:
    """Copies of one gymnasium environment. Rows are indices of copies.

    Args:
        name: gymnasium's id.
        copies: how many there are, one per replica.
        steps: the length at which an episode is truncated.
        rescale: map actions in [-1, 1] to the action space's bounds, as the authors' code does.
        options: of gymnasium.make.

    Attributes:
        actions: the number of actions, None if they are continuous.
        dimension: the number of coordinates of a continuous action.
        features: the number of coordinates of an observation; a discrete one is one-hot.
    """

    def __init__(
        self, name: str, copies: int, steps: int, rescale: bool = False, **options: str
    ) -> None:
        self.name, self.copies, self.steps, self.rescale = name, copies, steps, rescale
        self.envs = [gym_make(name, steps, **options) for _ in range(self.simulators)]
        self._read_actions(self.envs[0].action_space)
        self._read_observations(self.envs[0].observation_space)

    def _read_actions(self, space) -> None:
        from gymnasium.spaces import Box, Discrete

        self.space = space
        if isinstance(space, Discrete):
            self.actions, self.dimension = int(space.n), 0
            return
        check(
            isinstance(space, Box) and np.issubdtype(space.dtype, np.floating),
            f"env.id={self.name} has the action space {_in_one_line(space)}; supported are "
            "Discrete and a Box of floating-point numbers",
        )
        self.actions, self.dimension = None, int(np.prod(space.shape))
        self.low, self.high = (x.astype(np.float64).ravel() for x in (space.low, space.high))
        check(
            space.is_bounded() or not self.rescale,
            f"env.id={self.name} has actions without bounds: env.rescale=true has no meaning",
        )

    def _read_observations(self, space) -> None:
        from gymnasium.spaces import Box, Discrete

        check(
            isinstance(space, Box | Discrete),
            f"env.id={self.name} has the observation space {_in_one_line(space)}; supported are "
            "Box and Discrete; gymnasium.wrappers.FlattenObservation makes a Box of most others",
        )
        self.one_hot = isinstance(space, Discrete)
        self.first = int(space.start) if self.one_hot else 0
        self.features = int(space.n) if self.one_hot else int(np.prod(space.shape))

    @property
    def simulators(self) -> int:
        return self.copies

    def reset(self, rows: np.ndarray, seeds: list[int]) -> np.ndarray:
        """Start an episode in each of `rows`; returns the first observations [rows, features]."""
        starts = [self.envs[row].reset(seed=seed)[0] for row, seed in zip(rows, seeds, strict=True)]
        return self.observed(starts)

    def reseed(self, row: int, seed: int) -> None:
        """Start the environment's own random numbers anew, within an episode."""
        self.envs[row].unwrapped.np_random = np.random.default_rng(seed)

    def step(self, rows: np.ndarray, actions: np.ndarray):
        """One step in each of `rows`; returns observation, reward, terminated and truncated.

        A continuous action is clipped here: its log-probability is that of the unclipped action.
        """
        envs, taken = self.envs, self.taken(actions)
        steps = [envs[row].step(action) for row, action in zip(rows.tolist(), taken, strict=True)]
        observation, reward, terminated, truncated, _ = zip(*steps, strict=True)
        flags = np.array(terminated, dtype=bool), np.array(truncated, dtype=bool)
        return self.observed(observation), np.array(reward, dtype=np.float64), *flags

    def observed(self, observations) -> np.ndarray:
        """Observations of the environments as an array [rows, features]."""
        if self.one_hot:
            return np.eye(self.features)[np.array(observations, dtype=np.int64) - self.first]
        return np.array(observations, dtype=np.float64).reshape(len(observations), -1)

    def taken(self, actions: np.ndarray) -> np.ndarray:
        """Actions [rows] or [rows, dimension] of a policy as elements of the action space."""
        if self.actions:
            return actions + self.space.start
        within = self.to_bounds(actions).astype(self.space.dtype)
        return within.reshape(len(actions), *self.space.shape)

    def to_bounds(self, actions: np.ndarray) -> np.ndarray:
        if self.rescale:
            actions = self.low + (actions + 1) / 2 * (self.high - self.low)
        return np.clip(actions, self.low, self.high)


def _in_one_line(space) -> str:
    return " ".join(str(space).split())


class Recorded(Environments):
    """One environment that keeps a rendered frame of every step in `frames`."""

    def __init__(self, name: str, steps: int, rescale: bool = False) -> None:
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # else pygame looks for a display
        super().__init__(name, 1, steps, rescale, render_mode="rgb_array")
        self.frames: list[np.ndarray] = []

    def step(self, rows: np.ndarray, actions: np.ndarray):
        self.frames.append(self.envs[0].render())
        return super().step(rows, actions)


class CartPole(Environments):
    """CartPole for all rows at once, with gymnasium's operations in their order: the same bits."""

    def __init__(self, name: str, copies: int, steps: int, rescale: bool = False) -> None:
        super().__init__(name, copies, steps, rescale)
        self.pole = self.envs[0].unwrapped
        self.state = np.zeros((4, copies))
        self.clock = np.zeros(copies, dtype=np.int64)
        self.ones = np.ones(copies)

    @property
    def simulators(self) -> int:
        return 1  # only for the constants and the first state of an episode

    def reseed(self, row: int, seed: int) -> None:
        """A step has no randomness."""

    def reset(self, rows: np.ndarray, seeds: list[int]) -> np.ndarray:
        for row, seed in zip(rows, seeds, strict=True):
            self.pole.reset(seed=seed)
            self.state[:, row] = self.pole.state
        self.clock[rows] = 0
        return self.state[:, rows].T.astype(np.float32)

    def step(self, rows: np.ndarray, actions: np.ndarray):
        pole, tau = self.pole, self.pole.tau
        x, x_dot, theta, theta_dot = state = self.state[:, rows]
        force = pole.force_mag * (2.0 * actions - 1.0)
        cos, sin = np.cos(theta), np.sin(theta)
        temp = (force + pole.polemass_length * np.square(theta_dot) * sin) / pole.total_mass
        theta_acc = (pole.gravity * sin - cos * temp) / (
            pole.length * (4.0 / 3.0 - pole.masspole * np.square(cos) / pole.total_mass)
        )
        x_acc = temp - pole.polemass_length * theta_acc * cos / pole.total_mass
        x += tau * x_dot  # Euler's method, with the derivatives of before the step
        x_dot += tau * x_acc
        theta += tau * theta_dot
        theta_dot += tau * theta_acc
        self.state[:, rows] = state
        self.clock[rows] = clock = self.clock[rows] + 1
        terminated = (np.abs(x) > pole.x_threshold) | (np.abs(theta) > pole.theta_threshold_radians)
        return state.T.astype(np.float32), self.ones[: len(rows)], terminated, clock >= self.steps

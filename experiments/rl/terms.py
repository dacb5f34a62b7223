"""Where the variance of a policy gradient comes from: trajectories, actions or states (mode=terms).

At a step with state s, action a and what follows, tau, A2C's estimate is the vector

    g = (R(s, a, tau) - V(s)) d log pi(a|s)

in the policy's weights. By the law of total variance, with Q(s, a) = E[R | s, a],

    Var g = E |d log pi(a|s)|^2 Var[R | s, a]                 trajectory
          + E_s Var_a[(Q(s, a) - V(s)) d log pi(a|s)]         action
          + Var_s E_a[(Q(s, a) - V(s)) d log pi(a|s)]         state

and a control variate that depends on the action, as those of RELAX and LAX, can remove the action
term alone. The part of it that is left when V is exact, V(s) = E_a Q(s, a), is measured as well:
a better V would remove the rest. For one step of every episode, the episode is replayed up to that
step, and for each of several actions two independent continuations are simulated. The product of an
action's two returns is an unbiased estimate of Q(s, a)^2. The return R is that of the estimators:
it contains V of the state after a truncated episode if theirs does. Variances are sums over the
weights (traces).

Source: Tucker et al. (2018), "The mirage of action-dependent baselines in deep reinforcement
learning", section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from experiments.rl.agents import Agents
from experiments.rl.batch import Batch
from experiments.rl.envs import Environments, episode_seed
from experiments.rl.rollout import collect, draw_noise

SAMPLED = 4  # actions per state where they cannot be enumerated
FUTURES = 2


class Branched:
    """An actor that repeats each row's actions up to a step and then follows the policy.

    Args:
        actor: of the policy.
        envs: whose own randomness starts anew after the step.
        script: the actions to repeat, [R, T] or [R, T, D].
        last: the last step to repeat, [R].
        seed: of the environments' randomness after it.
    """

    def __init__(self, actor, envs: Environments, script: np.ndarray, last: np.ndarray, seed: int):
        self.actor, self.envs, self.script, self.last, self.seed = actor, envs, script, last, seed

    def select(self, rows: np.ndarray) -> None:
        self.rows = rows
        self.actor.select(rows)

    def __call__(self, x: np.ndarray, t: int) -> np.ndarray:
        action, repeated = self.actor(x, t), t <= self.last[self.rows]
        if repeated.any():
            action[repeated] = self.script[self.rows[repeated], t]
        for row in self.rows[t == self.last[self.rows] + 1]:
            self.envs.reseed(row, self.seed + row)
        return action


def measure(players: Agents, names: list[str], generator: np.random.Generator) -> dict[str, float]:
    """The three terms of A2C's variance, and the variance of every estimator in `names`.

    Args:
        players: replicas with the same parameters, each with an episode of its own to play.
        names: of the estimators whose critics the players have.
        generator: chooses the steps, one per episode, and what follows them.
    """
    learner, everyone = players.learner, np.arange(len(players.seeds))
    batch = players.play(torch.ones(len(everyone), dtype=torch.bool))
    length = batch.length.numpy()
    step = np.minimum((generator.random(len(length)) * length).astype(int), length - 1)
    weight = batch.length / batch.length.sum()  # a step drawn from all steps of all episodes
    chosen = torch.zeros_like(batch.reward).to(batch.x.dtype)
    chosen[everyone, step] = 1.0
    totals = {
        f"total_{name}": total(flat(learner.replica_gradients(name, batch, chosen)), weight)
        for name in names
    }
    actions, probability = learner.alternatives(batch, step, SAMPLED, generator)
    gradients, returns = [], []
    for action in actions:  # [R] or [R, D]
        gradients.append(flat(learner.score_gradients(batch, action, chosen)))
        futures = [follow(players, batch, step, action, generator) for _ in range(FUTURES)]
        returns.append(torch.stack(futures))
    value = learner.state_value(batch)[everyone, step]
    enumerated = players.envs.actions is not None
    branches = Branches(
        torch.stack(gradients), torch.stack(returns), probability, weight, enumerated
    )
    parts = branches.terms(value)
    return {**{f"term_{name}": float(x) for name, x in parts.items()}, **totals}


def flat(gradients: list[Tensor]) -> Tensor:
    """Gradients [R, ...] of each parameter as vectors, [R, P]."""
    return torch.cat([g.double().flatten(1) for g in gradients], 1)


def total(gradients: Tensor, weight: Tensor) -> float:
    """The trace of the covariance of [R, P] over rows, unbiased for weights that sum to 1."""
    mean = (weight[:, None] * gradients).sum(0)
    squares = (weight * (gradients - mean).square().sum(1)).sum()
    return float(squares / (1 - weight.square().sum()))


def follow(
    players: Agents, batch: Batch, step: np.ndarray, action: np.ndarray, generator
) -> Tensor:
    """The return from `step` on, [R], as the estimators see it, if `action` is taken there."""
    envs, everyone = players.envs, np.arange(len(step))
    script = batch.action.argmax(-1).numpy() if envs.actions else batch.action.numpy().copy()
    script[everyone, step] = action
    noise = draw_noise(envs.actions, envs.dimension, players.streams, envs.steps)
    actor = Branched(
        players.learner.actor(noise), envs, script, step, int(generator.integers(2**31))
    )
    seeds = players.seeds
    again = collect(
        envs,
        players.learner.observer,
        actor,
        noise,
        everyone,
        1,
        lambda row: episode_seed(seeds[row], 0),
    )
    same = torch.allclose(again.x[everyone, step], batch.x[everyone, step], atol=1e-5)
    assert same, "the environment did not repeat an episode"
    return players.learner.returns(again)[everyone, step].double()


@dataclass
class Branches:
    """What followed each of several actions at R states.

    gradient     d log pi(a|s), [A, R, P]
    returns      of each action, future and state, [A, 2, R]
    probability  of the actions, [A, R]; 1 / A where they were drawn from the policy
    weight       of the states, [R], with the sum 1
    enumerated   whether these are all actions; otherwise pairs of an action with itself are left
                 out of products of means
    """

    gradient: Tensor
    returns: Tensor
    probability: Tensor
    weight: Tensor
    enumerated: bool

    def terms(self, value: Tensor) -> dict[str, Tensor]:
        """The terms for the baseline V(s) = value, [R], named as in TERMS."""
        norm = self.gradient.square().sum(-1)  # [A, R]
        noise = 0.5 * (self.returns[:, 0] - self.returns[:, 1]).square()
        advantage = self.returns - value
        of_mean, of_all = self._squared_means(advantage)

        def action(squared_advantage: Tensor) -> Tensor:
            """E_a |(Q - V) d log pi|^2 - |E_a (Q - V) d log pi|^2; the latter is equal for all V"""
            return self._mean((self.probability * norm * squared_advantage).sum(0) - of_mean)

        return {
            "trajectory": self._mean((self.probability * norm * noise).sum(0)),
            "action": action(advantage.prod(1)),
            "state": self._mean(of_mean) - of_all,
            "action_with_exact_value": action(self._squared_advantage()),
        }

    def _squared_means(self, advantage: Tensor) -> tuple[Tensor, Tensor]:
        """|E_a (Q - V) d log pi|^2, [R], and |E_s E_a (Q - V) d log pi|^2."""
        first, second = (
            self.probability[..., None] * self.gradient * advantage[:, k, :, None] for k in (0, 1)
        )
        one, other = first.sum(0), second.sum(0)  # estimates of E_a (Q - V) d log pi, [R, P]
        of_mean = (one * other).sum(-1)
        if not self.enumerated:
            actions, itself = len(advantage), (first * second).sum(-1).sum(0)
            of_mean = (of_mean - itself) * actions / (actions - 1)
        sums = [(self.weight[:, None] * x).sum(0) for x in (one, other)]
        squares = self.weight.square()
        diagonal = (squares * (one * other).sum(-1)).sum()
        return of_mean, ((sums[0] * sums[1]).sum() - diagonal) / (1 - squares.sum())

    def _squared_advantage(self) -> Tensor:
        """(Q(s, a) - V(s))^2 with the exact V(s) = E_a Q(s, a), [A, R].

        Of drawn actions, V is estimated from the others, and V^2 from products of two of them.
        """
        one, other = self.returns[:, 0], self.returns[:, 1]
        if self.enumerated:
            v, w = ((self.probability * x).sum(0) for x in (one, other))
            return (one - v) * (other - w)
        count, itself = len(one) - 1, one * other
        v, w = (x.sum(0) - x for x in (one, other))
        of_value = (v * w - (itself.sum(0) - itself)) / (count * (count - 1))
        return itself - (one * w + v * other) / count + of_value

    def _mean(self, x: Tensor) -> Tensor:
        return (self.weight * x).sum()

"""The log-variance of the policy gradient, as the paper defines it.

At fixed parameters, 100 episodes are played. The log-variance is the mean over the policy's
parameters of the natural log of the sample variance, over the episodes, of that parameter's
gradient, which is the sum over the steps of an episode. All estimators are measured on the same
episodes, each with a critic of its own that was trained on the same policy. Source: Grathwohl et
al. (2018), section 5.3.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from experiments.rl import terms
from experiments.rl.agents import Agents


def log_variance(gradients: list[Tensor]) -> Tensor:
    """The log-variance of one estimator; gradients [E, ...] of E episodes for each parameter.

    A parameter behind a dead ReLU has the gradient 0 in every episode and no logarithm: it is left
    out.
    """
    variance = torch.cat([g.double().flatten(1).var(0) for g in gradients])
    return variance[variance > 0].log().mean()


class VarianceMeter:
    """Measures the estimators in env.variance.of while `agents` are trained."""

    def __init__(self, agents: Agents) -> None:
        self.agents = agents
        self._players: Agents | None = None

    def due(self) -> bool:
        """Whether there is a measurement before the next update."""
        variance, updates = self.agents.config.env.variance, self.agents.updates
        point, rest = divmod(updates, variance.every)
        return bool(self.agents.config.measured) and point < variance.points and not rest

    def measure(self) -> dict[str, list[float]]:
        """What the mode measures, a value for each replica."""
        config, rows = self.agents.config, []
        for row, seed in enumerate(self.agents.seeds):
            self.players.copy_replica(self.agents, row)
            if config.mode == "terms":
                generator = np.random.default_rng([seed, self.agents.updates])
                rows.append(terms.measure(self.players, config.measured, generator))
            else:
                rows.append(self.log_variances())
        return {name: [values[name] for values in rows] for name in rows[0]}

    def log_variances(self) -> dict[str, float]:
        """The log-variance of every estimator, `logvar_<estimator>`, at the players' policy."""
        players = self.players
        batch = players.play(torch.ones(len(players.seeds), dtype=torch.bool))
        return {
            f"logvar_{name}": float(log_variance(players.learner.replica_gradients(name, batch)))
            for name in players.config.measured
        }

    @property
    def players(self) -> Agents:
        """Agents with one replica per measured episode, made when they are first needed."""
        if self._players is None:
            agents = self.agents
            count = agents.config.env.variance.episodes
            keys = {key: column[:1] * count for key, column in agents.keys.items()}
            keys["seed"] = list(range(count))  # replaced by copy_replica
            self._players = Agents(agents.config, agents.name, keys)
            self._players.at_least = 1
        return self._players

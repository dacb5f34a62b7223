"""Discrete actions: A2C, REINFORCE and RELAX, with one episode per update.

    g = sum_t [R_t - c(z~_t, s_t)] dlog pi(a_t|s_t) + d c(z_t, s_t) - d c(z~_t, s_t)

R_t is the discounted reward to go. The core's estimators take a step as a row. The gradient of an
episode is the sum over its steps, and the surrogate minimises the squared norm of that sum.

Source: Grathwohl et al. (2018), appendix E and section 5.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

import relax as rx
from experiments.rl.actor import Actor
from experiments.rl.batch import Batch, discount
from experiments.rl.config import Rl
from experiments.rl.envs import Environments
from experiments.rl.gradients import clipped, squared_norm
from experiments.rl.networks import DiscreteSurrogate, orthogonal
from experiments.rl.observer import Observer
from experiments.rl.variants import DISCRETE, Variant
from experiments.run.accelerate import compiled
from relax.replicas import MLP


class PublishedSampler(rx.Categorical):
    """z~ as the authors' code samples it: the chosen coordinate is log p_b plus Gumbel noise.

    The largest z has the law of Gumbel(0) whatever is chosen, so this is not the law of z given b,
    and RELAX with it is biased.
    """

    def condition(self, b: Tensor, v: Tensor) -> Tensor:
        gumbel = -torch.log(-torch.log(v))
        chosen = (b * (self.log_p + gumbel)).sum(-1, keepdim=True)
        others = -torch.logaddexp(-gumbel - self.log_p, -chosen)
        return torch.where(b > 0, chosen, others)

    # Derived by autograd: Categorical's closed form is that of its own `condition`.
    vjp_z_tilde = rx.Distribution.vjp_z_tilde


class Steps(NamedTuple):
    """What the estimators see of a batch, [R, N, ...]; `mask` is 0 in the padding."""

    x: Tensor
    action: Tensor
    noise: rx.Noise
    mask: Tensor
    returns: Tensor


class Critic:
    """What a variant learns beside the policy: nothing, V(s) or c(z, s), with its optimiser."""

    def __init__(
        self, variant: Variant, net: nn.Module | None = None, optimizer: Any = None
    ) -> None:
        self.variant, self.net, self.optimizer = variant, net, optimizer

    @property
    def phi(self) -> list[Tensor]:
        return list(self.net.parameters()) if self.net else []

    def estimate(self, logits: Tensor, steps: Steps) -> rx.Estimate:
        """The core's estimate for the episodes as they were played, one row per step."""
        distribution = PublishedSampler if self.variant.published else rx.Categorical
        policy = distribution(logits, replicas=1, validate=False)  # it did not draw the padding
        draw = rx.Draw(policy, steps.noise, steps.action)
        if self.variant.critic == "surrogate":
            return rx.relax(steps.returns, draw, c=partial(self.net, steps.x))
        baseline = self.net(steps.x).squeeze(-1) if self.net else 0.0
        return rx.reinforce(steps.returns, draw, baseline=baseline)

    def objective(
        self, estimate: rx.Estimate, steps: Steps, episode_gradient: Callable[..., list[Tensor]]
    ) -> Tensor:
        """What phi minimises, summed over replicas."""
        if self.variant.critic == "value":
            error = estimate.value - self.net(steps.x).squeeze(-1)
            return 0.5 * (steps.mask * error.square()).sum()
        if self.variant.objective == "variance":
            return squared_norm(episode_gradient(estimate.theta, estimate.grad, steps)).sum()
        draw = estimate.draw
        residual = steps.mask * (estimate.value - self.net(steps.x, draw.z_tilde.detach()))
        if self.variant.objective == "squared":
            return 0.5 * residual.square().sum()
        score = residual[..., None] * draw.score  # the score-function part of g alone
        return squared_norm(episode_gradient(estimate.theta, score, steps)).sum()


class Discrete:
    """The policies and critics of all replicas, and one update of them."""

    metrics = ("entropy",)

    def __init__(
        self,
        config: Rl,
        envs: Environments,
        name: str,
        rates: dict[str, Tensor],
        generators: list[torch.Generator],
    ) -> None:
        self.config, self.name = config, name
        self.observer = Observer(envs.features, envs.copies)
        sizes = [envs.features, *config.hidden, envs.actions]
        self.policy = network(sizes, generators)
        self.optimizer = self._optimizer(self.policy, rates["lr"])
        self.advance = compiled(self._advance, varying=1) if config.compiled else self._advance
        self.critics = {}
        for critic in dict.fromkeys([name, *config.measured]):
            own_rates = rates if critic == name else config.first_rates_of(critic)
            lr = own_rates["lr"] * own_rates["scale"] * torch.ones(envs.copies)
            self.critics[critic] = self._critic(DISCRETE[critic], lr, envs, generators)

    def _critic(
        self, variant: Variant, lr: Tensor, envs: Environments, generators: list[torch.Generator]
    ) -> Critic:
        if variant.critic is None:
            return Critic(variant)
        inputs = envs.features + (envs.actions if variant.critic == "surrogate" else 0)
        sizes = [inputs, *self.config.hidden, 1]
        net: nn.Module = network(sizes, generators)
        if variant.critic == "surrogate":
            net = DiscreteSurrogate(net)
        return Critic(variant, net, self._optimizer(net, lr))

    def _optimizer(self, net: nn.Module, lr: Tensor) -> rx.replicas.Optimizer:
        if self.config.optimizer == "adam":
            return rx.replicas.Adam(net.parameters(), lr, betas=(0.9, 0.99999))
        return rx.replicas.RMSprop(net.parameters(), lr, alpha=0.99, eps=1e-5)

    def actor(self, noise: rx.Noise) -> Actor:
        return Actor(self.policy, noise)

    def steps(self, batch: Batch) -> Steps:
        """The batch with the discounted rewards to go.

        There is no bootstrapping and no factor gamma^t, as in the paper.
        """
        returns = discount(batch.reward, batch.last, self.config.gamma).to(batch.x.dtype)
        # A compiled update expects the same layout whatever the number of steps.
        noise = rx.Noise(*(None if n is None else n.contiguous() for n in batch.noise))
        return Steps(batch.x, batch.action, noise, batch.mask, returns.contiguous())

    def episode_gradient(self, logits: Tensor, logits_grad: Tensor, steps: Steps) -> list[Tensor]:
        """The gradient in the policy's weights, summed over each replica's episode.

        Attached to phi where logits_grad is. [R, ...] for each parameter.
        """
        real, weights = logits_grad * steps.mask[..., None], list(self.policy.parameters())
        return list(torch.autograd.grad(logits, weights, real, create_graph=True))

    def replica_gradients(
        self, name: str, batch: Batch, weight: Tensor | None = None
    ) -> list[Tensor]:
        """One estimator's gradient in the policy's weights, [R, ...] for each parameter.

        weight: of the steps, [R, N]; by default 1 for each step of the episodes.
        """
        steps, logits = self.steps(batch), self.policy(batch.x)
        estimate = self.critics[name].estimate(logits, steps)
        steps = steps if weight is None else steps._replace(mask=weight)
        return [g.detach() for g in self.episode_gradient(logits, estimate.grad, steps)]

    # ---- for terms.py: other actions at one step of each episode ----

    def alternatives(
        self, batch: Batch, step: np.ndarray, count: int, generator: np.random.Generator
    ) -> tuple[list[np.ndarray], Tensor]:
        """Every action, as [R] each, and its probability at the step, [A, R]."""
        rows = torch.arange(len(step))
        with torch.no_grad():
            probability = self.policy(batch.x)[rows, step].softmax(-1)
        actions = [np.full(len(step), action) for action in range(probability.shape[-1])]
        return actions, probability.T.double()

    def score_gradients(self, batch: Batch, action: np.ndarray, weight: Tensor) -> list[Tensor]:
        """d log pi(action|s) in the policy's weights, [R, ...] each, summed over weighted steps."""
        logits = self.policy(batch.x)
        b = nn.functional.one_hot(torch.from_numpy(action), logits.shape[-1]).to(logits)
        score = rx.Categorical(logits, replicas=1).score(b[:, None].expand_as(logits))
        steps = self.steps(batch)._replace(mask=weight)
        return [g.detach() for g in self.episode_gradient(logits, score.detach(), steps)]

    def returns(self, batch: Batch) -> Tensor:
        """The discounted reward to go, [R, N]."""
        return self.steps(batch).returns

    @torch.no_grad()
    def state_value(self, batch: Batch) -> Tensor:
        """A2C's V(s), [R, N]."""
        return self.critics["a2c"].net(batch.x).squeeze(-1).double()

    def update(self, batch: Batch, active: Tensor) -> dict[str, Tensor]:
        """One step of the policy and of each critic, in the `active` replicas."""
        entropy, self.gradient = self.advance(self.steps(batch), active)
        return {"entropy": entropy / batch.length.clamp(min=1)}

    def _advance(self, steps: Steps, active: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The update as a function of tensors: the sum of the entropies over steps, [R], and the
        policy's gradient, [R, ...] for each parameter."""
        logits = self.policy(steps.x)
        entropy = (Categorical(logits=logits, validate_args=False).entropy() * steps.mask).sum(1)
        for name, critic in self.critics.items():
            estimate = critic.estimate(logits, steps)
            if name == self.name:
                policy_grad = self.policy_gradient(estimate, entropy, steps)
            if critic.phi:
                loss = critic.objective(estimate, steps, self.episode_gradient)
                phi_grad = torch.autograd.grad(loss, critic.phi, retain_graph=True)
                critic.optimizer.move(phi_grad, active)
        step = clipped(policy_grad, self.config.max_norm)
        self.optimizer.move([-g for g in step], active)
        return entropy.detach(), list(policy_grad)

    def policy_gradient(
        self, estimate: rx.Estimate, entropy: Tensor, steps: Steps
    ) -> tuple[Tensor, ...]:
        """The estimate and the gradient of the entropy bonus, in the policy's weights."""
        real = estimate.grad.detach() * steps.mask[..., None]
        bonus = torch.full_like(entropy, self.config.entropy)
        weights = list(self.policy.parameters())
        return torch.autograd.grad(
            [estimate.theta, entropy], weights, [real, bonus], retain_graph=True
        )

    def tensors(self) -> list[Tensor]:
        """Everything that the policy and the critics depend on, [R, ...] each."""
        critics = [p for critic in self.critics.values() for p in critic.phi]
        return [*self.policy.parameters(), *critics]

    def parts(self) -> dict:
        """Everything with a state of its own."""
        trained = [(name, critic) for name, critic in self.critics.items() if critic.net]
        return {
            "policy": self.policy,
            "optimizer": self.optimizer,
            **{f"{name}.net": critic.net for name, critic in trained},
            **{f"{name}.optimizer": critic.optimizer for name, critic in trained},
        }

    def state_dict(self) -> dict:
        return {name: dict(part.state_dict()) for name, part in self.parts().items()}

    def load_state_dict(self, saved: dict) -> None:
        for name, part in self.parts().items():
            part.load_state_dict(saved[name])


def network(sizes: list[int], generators: list[torch.Generator]) -> MLP:
    """ReLU layers that start orthogonal, with gain sqrt(2) in the hidden layers."""
    hidden = partial(orthogonal, gain=math.sqrt(2))
    return MLP(sizes, "relu", len(generators), generators, init=hidden, init_last=orthogonal)

"""Continuous actions: A2C and LAX with a Gaussian policy, on batches of whole episodes.

    g = 1/N sum_t [A_t - c(a_t, s_t)] dlog pi(a_t|s_t) + d c(a_t, s_t),    a_t = mean(s_t) + std u_t

A_t is the advantage over V(s), so that V(s) + c(a, s) is the paper's surrogate. A2C and LAX share
V(s), the advantage and the mean over the batch; LAX with c = 0 is A2C. The surrogate minimises the
squared norm of an episode's gradient, the sum over its steps, averaged over episodes. The variance
that is reported (`replica_gradients`, variance.py) is that of the same sum. The authors' code logs
the mean over an episode's steps instead, which is smaller by the squared length of the episodes and
weighs a short episode as much as a long one.

Source: Grathwohl et al. (2018), appendix E.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

import relax as rx
from experiments.rl.actor import Actor
from experiments.rl.batch import Batch, advantages
from experiments.rl.config import Rl
from experiments.rl.envs import Environments
from experiments.rl.gradients import clipped, episodes_by_length, squared_norm
from experiments.rl.networks import ContinuousSurrogate, GaussianPolicy, normed_columns
from experiments.rl.observer import Observer
from experiments.rl.variants import CONTINUOUS
from relax.replicas import MLP


@dataclass
class Surrogate:
    """c(a, s) of one variant, trained by `steps` steps of its optimiser per batch."""

    net: ContinuousSurrogate
    optimizer: rx.replicas.Adam
    steps: int


@dataclass
class Inputs:
    """What the estimators and the critics see of a batch."""

    states: Tensor  # of V and c, [R, N, in]
    advantage: Tensor  # [R, N], with the V of before this batch's update
    returns: Tensor  # [R, N], the target of V
    per_step: Tensor  # [R, N]: weighs a sum over steps so that it is the mean over the real ones


class Continuous:
    """The policies, values and surrogates of all replicas, and one update of them."""

    metrics = ("kl", "lr_now", "std")

    def __init__(
        self,
        config: Rl,
        envs: Environments,
        name: str,
        rates: dict[str, Tensor],
        generators: list[torch.Generator],
    ) -> None:
        self.config, self.name = config, name
        hidden, dimension, replicas = config.continuous_hidden, envs.dimension, envs.copies
        self.observer = Observer(envs.features, replicas, config.filtered, config.previous)
        small = partial(normed_columns, norm=0.1)
        sizes = [self.observer.size, *hidden, dimension]
        mean = MLP(sizes, "tanh", replicas, generators, init=normed_columns, init_last=small)
        self.policy = GaussianPolicy(mean, dimension)
        self.optimizer = rx.replicas.Adam(self.policy.parameters(), rates["lr"])
        states = self.observer.size + (2 * dimension + 1 if config.context else 0)
        self.value = MLP([states, *hidden, 1], "elu", replicas, generators)
        self.value_optimizer = rx.replicas.Adam(self.value.parameters(), rates["value_lr"])
        self.surrogates = {}
        for each in dict.fromkeys([name, *config.measured]):
            if CONTINUOUS[each].critic:
                own_rates = rates if each == name else config.first_rates_of(each)
                net = MLP([states + dimension, *hidden, 1], "elu", replicas, generators)
                self.surrogates[each] = self._surrogate(ContinuousSurrogate(net), own_rates)

    def _surrogate(self, c: ContinuousSurrogate, rates: dict) -> Surrogate:
        lr = rates["surrogate_lr"] * torch.ones(len(self.policy.log_std))
        optimizer = rx.replicas.Adam(c.parameters(), lr)
        return Surrogate(c, optimizer, rates["surrogate_steps"])

    def actor(self, noise: rx.Noise) -> Actor:
        return Actor(self.policy.net, noise, self.policy.log_std)

    # ---- what the critics see ----

    def states(self, x: Tensor, clock: Tensor) -> Tensor:
        """The policy's input and, as constants, its mean and standard deviation and the time."""
        if not self.config.context:
            return x
        with torch.no_grad():
            mean, log_std = self.policy(x)
        return torch.cat([x, mean, log_std.exp(), clock[..., None].to(x.dtype) / 10], -1)

    @torch.no_grad()
    def inputs(self, batch: Batch) -> Inputs:
        """States, advantages and returns of a batch."""
        config, dtype = self.config, batch.x.dtype
        states = self.states(batch.x, batch.clock)
        following = self.states(batch.after, batch.clock + 1)
        value, value_after = self.value(states).squeeze(-1), self.value(following).squeeze(-1)
        advantage, returns = advantages(
            batch, value, value_after, config.gamma, config.gae, config.bootstrap
        )
        per_step = batch.mask / batch.length.clamp(min=1)[:, None]
        return Inputs(states, advantage.to(dtype), returns.to(dtype), per_step.to(dtype))

    # ---- the estimators ----

    def estimate(self, name: str, batch: Batch, inputs: Inputs) -> rx.Estimate:
        """The core's estimate for the episodes as they were played, one row per step."""
        mean, log_std = self.policy(batch.x)
        policy = rx.Normal(mean, log_std, replicas=1, validate=False)  # it did not draw the padding
        draw = rx.Draw(policy, batch.noise, batch.action)
        if CONTINUOUS[name].critic:
            c = partial(self.surrogates[name].net, inputs.states)
            return rx.lax(inputs.advantage, draw, c=c)
        return rx.reinforce(inputs.advantage, draw)

    def policy_gradient(self, name: str, batch: Batch, inputs: Inputs) -> list[Tensor]:
        """One estimator's g in the policy's parameters, [R, ...] for each."""
        estimate = self.estimate(name, batch, inputs)
        theta_grad = estimate.grad.detach() * inputs.per_step[..., None, None]
        return list(torch.autograd.grad(estimate.theta, self.policy.parameters(), theta_grad))

    def replica_gradients(
        self, name: str, batch: Batch, weight: Tensor | None = None
    ) -> list[Tensor]:
        """The same as a sum over steps, on a batch of which nothing was computed before.

        weight: of the steps, [R, N]; by default 1 for each step of the episodes.
        """
        inputs = self.inputs(batch)
        inputs.per_step = batch.mask.to(batch.x.dtype) if weight is None else weight
        return self.policy_gradient(name, batch, inputs)

    # ---- for terms.py: other actions at one step of each episode ----

    def alternatives(
        self, batch: Batch, step: np.ndarray, count: int, generator: np.random.Generator
    ) -> tuple[list[np.ndarray], Tensor]:
        """`count` actions drawn from the policy at the step, [R, D] each, and 1 / count, [A, R]."""
        rows = torch.arange(len(step))
        with torch.no_grad():
            mean, log_std = (x[rows, step].numpy() for x in self.policy(batch.x))
        noise = generator.standard_normal((count, *mean.shape)).astype(mean.dtype)
        actions = list(mean + np.exp(log_std) * noise)
        return actions, torch.full((count, len(step)), 1 / count, dtype=torch.float64)

    def score_gradients(self, batch: Batch, action: np.ndarray, weight: Tensor) -> list[Tensor]:
        """d log pi(action|s) in the policy's weights, [R, ...] each, summed over weighted steps."""
        mean, log_std = self.policy(batch.x)
        dist = rx.Normal(mean, log_std, replicas=1)
        score = dist.score(torch.from_numpy(action)[:, None].expand_as(mean))
        theta_grad = score.detach() * weight[..., None, None]
        return list(torch.autograd.grad(dist.theta, self.policy.parameters(), theta_grad))

    def returns(self, batch: Batch) -> Tensor:
        """The discounted reward to go, [R, N], perhaps with V after a truncated episode."""
        return self.inputs(batch).returns

    @torch.no_grad()
    def state_value(self, batch: Batch) -> Tensor:
        """V(s), [R, N]."""
        return self.value(self.states(batch.x, batch.clock)).squeeze(-1).double()

    def update(self, batch: Batch, active: Tensor) -> dict[str, Tensor]:
        """One step of the policy; V and c learn from this batch after its gradient was taken."""
        inputs = self.inputs(batch)
        self.gradient = self.policy_gradient(self.name, batch, inputs)
        for name, surrogate in self.surrogates.items():
            self.fit_surrogate(name, surrogate, batch, inputs, active)
        self.fit_value(inputs, active)
        with torch.no_grad():
            before = self.policy.distribution(batch.x)
        step = clipped(self.gradient, self.config.max_norm)
        self.optimizer.move([-g for g in step], active)
        kl = self.follow_kl(batch, inputs, before)
        self.observer.update(batch.observation, batch.mask)
        std = self.policy.log_std.detach().exp().mean((1, 2))
        return {"kl": kl, "lr_now": self.optimizer.lr, "std": std}

    # ---- the surrogates ----

    def fit_surrogate(
        self, name: str, surrogate: Surrogate, batch: Batch, inputs: Inputs, active: Tensor
    ) -> None:
        objective = self.squared_error if CONTINUOUS[name].objective == "squared" else self.variance
        for _ in range(surrogate.steps):
            loss = objective(name, batch, inputs)
            phi_grad = torch.autograd.grad(loss, surrogate.net.parameters())
            surrogate.optimizer.move(phi_grad, active)

    def squared_error(self, name: str, batch: Batch, inputs: Inputs) -> Tensor:
        """Half the mean squared distance of c(a, s) to the advantage, summed over replicas."""
        residual = inputs.advantage - self.surrogates[name].net(inputs.states, batch.action)
        return 0.5 * (inputs.per_step * residual.square()).sum()

    def variance(self, name: str, batch: Batch, inputs: Inputs) -> Tensor:
        """Mean over episodes of |the episode's gradient|^2, summed over replicas.

        The objective "score" takes the score-function part of the gradient alone.
        """
        estimate = self.estimate(name, batch, inputs)
        theta_grad = estimate.grad
        if CONTINUOUS[name].objective == "score":
            c = self.surrogates[name].net(inputs.states, batch.action)
            theta_grad = (inputs.advantage - c)[..., None, None] * estimate.draw.score
        total = torch.zeros(())
        for episodes in episodes_by_length(batch):
            x, grad = episodes.take(batch.x), episodes.take(theta_grad)
            norms = squared_norm(self.episode_gradients(episodes.replica, x, grad))
            total = total + (episodes.weight * norms).sum()
        return total

    def episode_gradients(self, replica: Tensor, x: Tensor, theta_grad: Tensor) -> list[Tensor]:
        """The policy's gradient for each of E episodes, [E, ...] for each parameter.

        Every episode gets a copy of its replica's parameters, so that autograd does not add up the
        gradients of different episodes. Attached to phi where theta_grad is.

        Args:
            replica: of each episode, [E].
            x: the policy's inputs, [E, T, in].
            theta_grad: the estimate in the means and log standard deviations, [E, T, D, 2].
        """
        named = self.policy.named_parameters()
        copies = {name: p.detach()[replica].requires_grad_() for name, p in named}
        mean, log_std = torch.func.functional_call(self.policy, copies, (x,))
        theta = torch.stack([mean, log_std], -1)
        return list(
            torch.autograd.grad(theta, list(copies.values()), theta_grad, create_graph=True)
        )

    # ---- the value and the policy's rate ----

    def fit_value(self, inputs: Inputs, active: Tensor) -> None:
        """Least squares of V(s) on the returns."""
        for _ in range(self.config.value_steps):
            error = self.value(inputs.states).squeeze(-1) - inputs.returns
            loss = 0.5 * (inputs.per_step * error.square()).sum()
            gradient = torch.autograd.grad(loss, self.value.parameters())
            self.value_optimizer.move(gradient, active)

    @torch.no_grad()
    def follow_kl(self, batch: Batch, inputs: Inputs, before: Normal) -> Tensor:
        """KL(before || now) per replica. The policy's rate changes by a factor of 1.5 to keep it
        within a factor of 2 of its target."""
        divergence = kl_divergence(before, self.policy.distribution(batch.x)).sum(-1)
        kl, target, lr = (divergence * inputs.per_step).sum(1), self.config.kl, self.optimizer.lr
        if target:
            lr = torch.where(kl > 2 * target, lr / 1.5, lr)
            lr = torch.where(kl < target / 2, lr * 1.5, lr)
            self.optimizer.set_lr(torch.where(batch.length > 0, lr, self.optimizer.lr))
        return kl

    # ---- checkpoints ----

    def tensors(self) -> list[Tensor]:
        """Everything that the policy and the critics depend on, [R, ...] each."""
        networks = [self.policy, self.value, *(s.net for s in self.surrogates.values())]
        parameters = [p for network in networks for p in network.parameters()]
        return [*parameters, *self.observer.state_dict().values()]

    def parts(self) -> dict:
        """Everything with a state of its own."""
        surrogates = self.surrogates.items()
        return {
            "policy": self.policy,
            "value": self.value,
            "optimizer": self.optimizer,
            "value_optimizer": self.value_optimizer,
            "observer": self.observer,
            **{f"{name}.net": surrogate.net for name, surrogate in surrogates},
            **{f"{name}.optimizer": surrogate.optimizer for name, surrogate in surrogates},
        }

    def state_dict(self) -> dict:
        return {name: dict(part.state_dict()) for name, part in self.parts().items()}

    def load_state_dict(self, saved: dict) -> None:
        for name, part in self.parts().items():
            part.load_state_dict(saved[name])

"""Continuous actions: a Gaussian policy on batches of whole episodes; A2C and LAX with its arms.

    g = 1/N sum_t [A_t - c(a_t, s_t)] dlog pi(a_t|s_t) + d c(a_t, s_t),    a_t = mean(s_t) + std u_t

A_t is the advantage over V(s), so that V(s) + c(a, s) is the paper's surrogate. Both arms share V,
the advantage and the mean over the batch; with c = 0 LAX is A2C. The surrogate minimises the mean
over episodes of the square of the whole episode's gradient. Source: Grathwohl et al. (2018),
appendix E.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

import relax as rx
from experiments.rl.config import CONTINUOUS, Arm, Rl
from experiments.rl.envs import Environments
from experiments.rl.gradients import (
    Bucket,
    buckets,
    descend,
    layer_signals,
    mean_squared_norm,
    summed,
)
from experiments.rl.networks import Actor, ContinuousSurrogate, Network, glorot, normed_columns
from experiments.rl.rollout import Batch, Observer, advantages


class Surrogate(NamedTuple):
    """c(a, s) of one arm, and how it learns: `steps` of the optimiser per batch."""

    net: ContinuousSurrogate
    optimizer: rx.replicas.Adam
    lr: Tensor
    steps: int


class Continuous:
    """All replicas' policies, values and surrogates, and one update of them."""

    metrics = ("kl", "lr_now", "std")

    def __init__(
        self, config: Rl, envs: Environments, name: str, rates: dict[str, Tensor], generators
    ) -> None:
        self.config, self.arm = config, name
        dtype = torch.get_default_dtype()
        self.observer = Observer(
            envs.features,
            envs.copies,
            config.filtered,
            config.previous,
            torch.zeros(0, dtype=dtype).numpy().dtype,
        )
        sizes = [self.observer.size, *config.continuous_hidden, envs.dimension]
        self.policy = Network(sizes, "tanh", normed_columns(sizes, generators, last=0.1))
        self.log_std = torch.nn.Parameter(torch.zeros(envs.copies, 1, envs.dimension))
        context = 2 * envs.dimension + 1 if config.context else 0
        states = self.observer.size + context
        self.value = Network(
            [states, *config.continuous_hidden, 1],
            "elu",
            glorot([states, *config.continuous_hidden, 1], generators),
        )
        self.lr, self.value_lr = rates["lr"], rates["value_lr"]
        self.optimizer = rx.replicas.Adam(self.parameters, self.lr)
        self.value_optimizer = rx.replicas.Adam(self.value.parameters(), self.value_lr)
        self.surrogates = {}
        for each in dict.fromkeys([name, *config.measured]):
            if CONTINUOUS[each].critic:
                wide = [states + envs.dimension, *config.continuous_hidden, 1]
                net = ContinuousSurrogate(Network(wide, "elu", glorot(wide, generators)), states)
                own = rates if each == name else config.rates_of(each)
                lr = own["surrogate_lr"] * torch.ones(envs.copies)
                optimizer = rx.replicas.Adam(net.parameters(), lr)
                self.surrogates[each] = Surrogate(net, optimizer, lr, own["surrogate_steps"])

    @property
    def parameters(self) -> list[Tensor]:
        return [*self.policy.layers, self.log_std]

    def actor(self, noise: rx.Noise) -> Actor:
        return Actor(self.policy, noise, self.log_std)

    def states(self, x: Tensor, clock: Tensor, mean: Tensor) -> Tensor:
        """What V and c see: the policy's input, and its mean, std and the time as constants."""
        if not self.config.context:
            return x
        std = self.log_std.detach().exp().expand_as(mean)
        return torch.cat([x, mean, std, clock[..., None].to(x.dtype) / 10], -1)

    @torch.no_grad()
    def advantage(self, batch: Batch, states: Tensor) -> tuple[Tensor, Tensor]:
        """(A, R) with the V of before this batch's update."""
        after = self.states(batch.after, batch.clock + 1, self.policy(batch.after))
        value, value_after = (self.value(s).squeeze(-1) for s in (states, after))
        config = self.config
        both = advantages(batch, value, value_after, config.gamma, config.gae, config.bootstrap)
        return tuple(x.to(batch.x.dtype) for x in both)

    def estimate(
        self, arm: Arm, surrogate, mean: Tensor, batch: Batch, states: Tensor, advantage: Tensor
    ):
        """The replayed rollout through the core: one row per step."""
        log_std = self.log_std.detach().expand_as(mean)
        draw = batch.draw(rx.Normal(mean, log_std, replicas=1, validate=False))
        if arm.critic:
            return rx.lax(advantage, draw, c=surrogate.at(states))
        return rx.reinforce(advantage, draw)

    def gradients(self, signal: Tensor, outputs: list[Tensor]) -> list[Tensor]:
        """The sum over steps of the policy's gradient, in the order of `parameters`."""
        gradients = summed(layer_signals(self.policy, outputs, signal[..., 0]))
        return [*gradients, signal[..., 1].sum(-2, keepdim=True)]

    @torch.no_grad()
    def episode_gradients(self, name: str, batch: Batch) -> list[Tensor]:
        """One arm's estimate where each replica is one episode: the mean over its steps."""
        outputs = self.policy.hidden(batch.x)
        states = self.states(batch.x, batch.clock, outputs[-1])
        surrogate = self.surrogates.get(name, (None,))[0]
        advantage = self.advantage(batch, states)[0]
        est = self.estimate(CONTINUOUS[name], surrogate, outputs[-1], batch, states, advantage)
        return self.gradients(est.grad * _per_step(batch)[..., None, None], outputs)

    def tensors(self) -> list[Tensor]:
        """Everything that the policy and the critics depend on, [R, ...] each."""
        nets = [self.value, *(net for net, *_ in self.surrogates.values())]
        weights = [p for net in nets for p in net.parameters()]
        observer = self.observer.state_dict().values()
        return [*self.parameters, *weights, *observer]

    def update(self, batch: Batch, active: Tensor) -> dict[str, Tensor]:
        """One step of the policy; V and c learn from this batch after its gradient is taken."""
        with torch.no_grad():
            outputs = self.policy.hidden(batch.x)
        states = self.states(batch.x, batch.clock, outputs[-1])
        advantage, returns = self.advantage(batch, states)
        own = self.surrogates.get(self.arm, (None,))[0]
        est = self.estimate(CONTINUOUS[self.arm], own, outputs[-1], batch, states, advantage)
        ascent = self.gradients(est.grad.detach() * _per_step(batch)[..., None, None], outputs)
        grouped = buckets(batch) if self.surrogates else []
        for name, (surrogate, optimizer, lr, steps) in self.surrogates.items():
            for _ in range(steps):
                loss = self.objective(name, surrogate, batch, outputs, states, advantage, grouped)
                descend(optimizer, torch.autograd.grad(loss, optimizer.params), lr, active)
        self.fit_value(states, returns, batch, active)
        before = outputs[-1], self.log_std.detach().clone()
        descend(self.optimizer, [-g for g in ascent], self.lr, active)
        kl = self.follow_kl(batch, before)
        self.observer.update(batch.observation, batch.mask)
        return {
            "kl": kl,
            "lr_now": self.lr,
            "std": self.log_std.detach().exp().mean((1, 2)),
        }

    def objective(
        self,
        name: str,
        surrogate,
        batch: Batch,
        outputs,
        states: Tensor,
        advantage: Tensor,
        grouped: list[Bucket],
    ) -> Tensor:
        """What phi minimises: a mean over episodes (or steps), summed over replicas."""
        arm = CONTINUOUS[name]
        if arm.objective == "squared":
            residual = batch.mask * (advantage - surrogate.at(states)(batch.action))
            return 0.5 * (residual.square() * _per_step(batch)).sum()
        est = self.estimate(arm, surrogate, outputs[-1], batch, states, advantage)
        grad = est.grad
        if arm.objective == "score":
            c = surrogate.at(states)(batch.action)
            grad = (advantage - c)[..., None, None] * est.draw.dist.score(est.draw.b)
        return mean_squared_norm(self.policy, outputs, grad, grouped)

    def fit_value(self, states: Tensor, returns: Tensor, batch: Batch, active: Tensor) -> None:
        """Least squares of V(s) on the returns."""
        weight, optimizer = _per_step(batch), self.value_optimizer
        for _ in range(self.config.value_steps):
            error = self.value(states).squeeze(-1) - returns
            loss = 0.5 * (weight * error.square()).sum()
            grads = torch.autograd.grad(loss, optimizer.params)
            descend(optimizer, grads, self.value_lr, active)

    @torch.no_grad()
    def follow_kl(self, batch: Batch, before: tuple[Tensor, Tensor]) -> Tensor:
        """KL(old || new) per replica; the policy's rate moves by 1.5 to keep it near its target."""
        mean, log_std = self.policy(batch.x), self.log_std
        old_mean, old_log_std = before
        ratio = ((old_log_std - log_std) * 2).exp() + ((old_mean - mean) / log_std.exp()) ** 2
        per_step = (log_std - old_log_std + 0.5 * (ratio - 1)).sum(-1)
        kl = (per_step * _per_step(batch)).sum(1)
        if self.config.kl:
            lr = self.lr
            lr = torch.where(
                kl > 2 * self.config.kl,
                lr / 1.5,
                torch.where(kl < self.config.kl / 2, lr * 1.5, lr),
            )
            self.lr = torch.where(batch.length > 0, lr, self.lr)
        return kl

    def state_dict(self) -> dict:
        surrogates = {
            name: {"net": dict(net.state_dict()), "optimizer": optimizer.state_dict()}
            for name, (net, optimizer, *_) in self.surrogates.items()
        }
        return {
            "policy": dict(self.policy.state_dict()),
            "log_std": self.log_std.detach(),
            "value": dict(self.value.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "value_optimizer": self.value_optimizer.state_dict(),
            "surrogates": surrogates,
            "lr": self.lr,
            "observer": self.observer.state_dict(),
        }

    def load_state_dict(self, saved: dict) -> None:
        self.policy.load_state_dict(saved["policy"])
        self.log_std.data.copy_(saved["log_std"])
        self.value.load_state_dict(saved["value"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.value_optimizer.load_state_dict(saved["value_optimizer"])
        for name, (net, optimizer, *_) in self.surrogates.items():
            net.load_state_dict(saved["surrogates"][name]["net"])
            optimizer.load_state_dict(saved["surrogates"][name]["optimizer"])
        self.lr = saved["lr"]
        self.observer.load_state_dict(saved["observer"])


def _per_step(batch: Batch) -> Tensor:
    """What makes a sum over steps the mean over a replica's real ones, [R, N]."""
    return (batch.mask / batch.length.clamp(min=1)[:, None]).to(batch.x.dtype)

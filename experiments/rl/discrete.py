"""Discrete actions: one episode, one update; A2C, REINFORCE and RELAX with its arms.

    g = sum_t [R_t - c(z~_t, s_t)] dlog pi(a_t|s_t) + d c(z_t, s_t) - d c(z~_t, s_t)

R_t is the discounted reward to go. The core's estimators see one step as one row; the episode's
gradient is the sum over its steps, and the surrogate minimises the square of that sum. Source:
Grathwohl et al. (2018), appendix E and section 5.3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import relax as rx
from experiments.rl.config import DISCRETE, Arm, Rl
from experiments.rl.envs import Environments
from experiments.rl.gradients import descend, layer_signals, squared_norm, summed
from experiments.rl.networks import Actor, DiscreteSurrogate, Network, orthogonal
from experiments.rl.rollout import Batch, Observer, discount


class PublishedSampler(rx.Categorical):
    """z~ as the published code draws it: the chosen coordinate as log p_b plus Gumbel noise.

    The largest z is Gumbel(0) whatever is chosen, so this law is not that of z given b, and RELAX
    with it is biased.
    """

    def condition(self, b: Tensor, v: Tensor) -> Tensor:
        return self._z_tilde(b, torch.log(-torch.log(v)) - b * self.log_p.detach())

    def vjp_z_tilde(self, grad: Tensor, b: Tensor, z_tilde: Tensor, v=None) -> Tensor:
        # dz~_i/dlog p_i = 1 - w_i and dz~_i/dlog p_b = w_i for the losers, dz~_b/dlog p_b = 1
        w = torch.exp(z_tilde - (b * z_tilde).sum(-1, keepdim=True))
        return self._vjp_log_p(grad * (1 - w) + b * (grad * w).sum(-1, keepdim=True))


class Critic:
    """What one arm has beside the policy: nothing, V(s) or the surrogate; and its optimiser."""

    def __init__(
        self, arm: Arm, net: torch.nn.Module | None, optimizer: Any = None, lr: Any = None
    ) -> None:
        self.arm, self.net, self.optimizer, self.lr = arm, net, optimizer, lr

    @property
    def phi(self) -> list[Tensor]:
        return list(self.net.parameters()) if self.net else []

    def estimate(self, logits: Tensor, batch: Batch, returns: Tensor) -> rx.Estimate:
        """The replayed rollout through the core: one row per step."""
        kind = PublishedSampler if self.arm.published else rx.Categorical
        draw = batch.draw(kind(logits, replicas=1, validate=False))
        if self.arm.critic == "surrogate":
            return rx.relax(returns, draw, c=self.net.at(batch.x))
        baseline = self.net(batch.x).squeeze(-1) if self.net else 0.0
        return rx.reinforce(returns, draw, baseline=baseline)

    def objective(
        self, gradients: list[Tensor], est: rx.Estimate, batch: Batch, policy, outputs
    ) -> Tensor:
        """What phi minimises, summed over replicas."""
        if self.arm.critic == "value":
            return 0.5 * (batch.mask * (est.value - self.net(batch.x).squeeze(-1)) ** 2).sum()
        if self.arm.objective == "variance":
            return squared_norm(gradients).sum()
        c_zt = self.net.at(batch.x)(est.draw.z_tilde.detach())
        residual = batch.mask * (est.value - c_zt)
        if self.arm.objective == "squared":
            return 0.5 * (residual**2).sum()
        score = residual[..., None] * est.draw.dist.score(est.draw.b)
        return squared_norm(summed(layer_signals(policy, outputs, score))).sum()


class Discrete:
    """All replicas' policies and critics, and one update of them."""

    metrics = ("entropy",)

    def __init__(
        self, config: Rl, envs: Environments, name: str, rates: dict[str, Tensor], generators
    ) -> None:
        self.config, self.arm = config, name
        states, actions, hidden = envs.features, envs.actions, config.hidden
        self.policy = Network(
            [states, *hidden, actions], "relu", orthogonal([states, *hidden, actions], generators)
        )
        self.observer = Observer(
            states, envs.copies, False, False, self.policy.biases[0].detach().numpy().dtype
        )
        self.lr = rates["lr"]
        self.optimizer = self._optimizer(self.policy.layers, self.lr)
        self.critics = {}
        for critic in dict.fromkeys([name, *config.measured]):
            own = rates if critic == name else config.rates_of(critic)
            lr = own["lr"] * own["scale"] * torch.ones(envs.copies)
            self.critics[critic] = self._critic(DISCRETE[critic], lr, states, actions, generators)

    def _critic(self, arm: Arm, lr: Tensor, states: int, actions: int, generators) -> Critic:
        if arm.critic is None:
            return Critic(arm, None)
        sizes = [states + (actions if arm.critic == "surrogate" else 0), *self.config.hidden, 1]
        net: torch.nn.Module = Network(sizes, "relu", orthogonal(sizes, generators))
        if arm.critic == "surrogate":
            net = DiscreteSurrogate(net, states)
        return Critic(arm, net, self._optimizer(net.parameters(), lr), lr)

    def _optimizer(self, params, lr: Tensor):
        if self.config.optimizer == "adam":
            return rx.replicas.Adam(params, lr, betas=(0.9, 0.99999))
        return rx.replicas.RMSprop(params, lr, alpha=0.99, eps=1e-5)

    def actor(self, noise: rx.Noise) -> Actor:
        return Actor(self.policy, noise)

    def returns(self, batch: Batch) -> Tensor:
        """Discounted reward to go: no bootstrapping and no gamma^t, as in the paper."""
        return discount(batch.reward, batch.last, self.config.gamma).to(batch.x.dtype)

    def gradients(self, critic: Critic, batch: Batch, outputs: list[Tensor], returns: Tensor):
        """The episode's gradient [R, ...], attached to phi, and the estimate behind it."""
        est = critic.estimate(outputs[-1], batch, returns)
        signal = est.grad * batch.mask[..., None]
        return summed(layer_signals(self.policy, outputs, signal)), est

    def episode_gradients(self, name: str, batch: Batch) -> list[Tensor]:
        """The estimate of one arm where each replica holds one episode, [E, ...] per parameter."""
        with torch.no_grad():
            outputs = self.policy.hidden(batch.x)
            return self.gradients(self.critics[name], batch, outputs, self.returns(batch))[0]

    def tensors(self) -> list[Tensor]:
        """Everything that the policy and the critics depend on, [R, ...] each."""
        return [*self.policy.layers, *(p for critic in self.critics.values() for p in critic.phi)]

    def update(self, batch: Batch, active: Tensor) -> dict[str, Tensor]:
        """One step up of the policy, one down of each critic, in the `active` replicas."""
        returns = self.returns(batch)
        with (
            torch.no_grad()
        ):  # the chain rule is written out: nothing here needs the policy's graph
            outputs = self.policy.hidden(batch.x)
            entropy, entropy_signal = _entropy(outputs[-1])
            bonus = summed(
                layer_signals(self.policy, outputs, entropy_signal * batch.mask[..., None])
            )
        for name, critic in self.critics.items():
            gradients, est = self.gradients(critic, batch, outputs, returns)
            if name == self.arm:
                ascent = [
                    g.detach() + self.config.entropy * h
                    for g, h in zip(gradients, bonus, strict=True)
                ]
            if critic.phi:
                loss = critic.objective(gradients, est, batch, self.policy, outputs)
                grads = torch.autograd.grad(loss, critic.phi)
                descend(critic.optimizer, grads, critic.lr, active)
        descend(self.optimizer, [-g for g in ascent], self.lr, active)
        steps = batch.length.clamp(min=1)
        return {"entropy": (entropy * batch.mask).sum(1) / steps}

    def state_dict(self) -> dict:
        critics = {
            name: {"net": dict(c.net.state_dict()), "optimizer": c.optimizer.state_dict()}
            for name, c in self.critics.items()
            if c.net
        }
        return {
            "policy": dict(self.policy.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "critics": critics,
        }

    def load_state_dict(self, saved: dict) -> None:
        self.policy.load_state_dict(saved["policy"])
        self.optimizer.load_state_dict(saved["optimizer"])
        for name, state in saved["critics"].items():
            self.critics[name].net.load_state_dict(state["net"])
            self.critics[name].optimizer.load_state_dict(state["optimizer"])


def _entropy(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The entropy of every step's policy and its derivative in the logits."""
    log_p = torch.log_softmax(logits, -1)
    p = log_p.exp()
    entropy = -(p * log_p).sum(-1)
    return entropy, -p * (log_p + entropy[..., None])

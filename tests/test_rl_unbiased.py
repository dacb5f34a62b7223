"""The variants of the policy gradient against exact gradients on a small decision process."""

import itertools

import numpy as np
import torch

import relax as rx
from experiments.rl.batch import Batch
from experiments.rl.config import Env, Rl, Variance
from experiments.rl.continuous import Continuous
from experiments.rl.discrete import Discrete
from experiments.rl.rollout import collect
from experiments.rl.variants import CONTINUOUS, DISCRETE

STEPS, STATES, GAMMA = 3, 2, 0.9
EPISODES, CHUNK = 300_000, 20_000


class Mdp:
    """Three steps, two states, random rewards and transitions; every copy is one episode.

    The state is one-hot in (time, state). Discrete: P(s'=1|s, a) is a table. Continuous: sigmoid(a
    + s - 1/2).
    """

    def __init__(self, copies: int, actions: int | None) -> None:
        self.copies, self.actions, self.steps = copies, actions, STEPS
        self.dimension, self.features = 0 if actions else 1, STEPS * STATES
        rng = np.random.default_rng(5)
        self.move = rng.uniform(0.1, 0.9, (STATES, actions or 1))
        self.pay = 2 * rng.normal(size=(STEPS, STATES, actions or 1))
        self.rng = np.random.default_rng(6)

    def reset(self, rows, seeds):
        self.state, self.time = np.zeros(self.copies, int), 0
        return self.observe()

    def observe(self):
        return np.eye(self.features)[self.time % STEPS * STATES + self.state]

    def chance(self, state, action):
        """P(s' = 1)."""
        return (
            self.move[state, action] if self.actions else 1 / (1 + np.exp(-(action + state - 0.5)))
        )

    def reward(self, time, state, action):
        """A table; the continuous one is a cubic in a, so that nothing is exact by luck."""
        if self.actions:
            return self.pay[time, state, action]
        return self.pay[time, state, 0] * action**2 + 0.3 * action**3 + state

    def step(self, rows, action):
        action = action if self.actions else action[:, 0]
        reward = self.reward(self.time, self.state, action)
        self.state = (self.rng.random(self.copies) < self.chance(self.state, action)).astype(int)
        self.time += 1
        over = np.full(self.copies, self.time == STEPS)
        return self.observe(), reward, over, np.zeros_like(over)


def config(discrete: bool, names: list[str]) -> Rl:
    same_actions = "CartPole-v1" if discrete else "Pendulum-v1"
    env = Env(name="mdp", id=same_actions, steps=STEPS, variance=Variance(of=names))
    plain = {"filtered": False, "previous": False, "continuous_hidden": [], "hidden": []}
    return Rl(env=env, gamma=GAMMA, frames=1, mode="variance", **plain)


def learner_of(mdp: Mdp, variants: list[str], seed: int = 0):
    """A learner with a critic for each variant and the same weights for every episode."""
    kind = Discrete if mdp.actions else Continuous
    names = ("lr", "scale", "value_lr", "surrogate_lr")
    rates = {name: torch.full((1,), 0.01) for name in names} | {"surrogate_steps": 1}
    generators = [torch.Generator().manual_seed(seed)]
    made, one_episode = config(bool(mdp.actions), variants), Mdp(1, mdp.actions)
    learner = kind(made, one_episode, variants[0], rates, generators)
    generator = torch.Generator().manual_seed(seed + 1)
    for p in learner.tensors():
        shifted = p.detach() + 0.7 * torch.randn(p.shape, generator=generator).to(p.dtype)
        p.data = shifted.expand(mdp.copies, *p.shape[1:]).contiguous()
    for critic in getattr(learner, "critics", {}).values():
        if critic.variant.critic == "surrogate":
            # An error in a term of c then exceeds the noise of the returns.
            critic.net.scale.data.fill_(10.0)
    return learner


def play(mdp: Mdp, learner, generator) -> Batch:
    zeros = torch.zeros(mdp.copies, STEPS, mdp.actions or 1)
    dist = rx.Categorical(zeros, replicas=1) if mdp.actions else rx.Normal(zeros, zeros, replicas=1)
    noise = dist.noise(generator=generator)
    rows = np.arange(mdp.copies)
    return collect(mdp, learner.observer, learner.actor(noise), noise, rows, 1, lambda row: 0)


def exact_discrete(mdp: Mdp, policy: torch.nn.Module) -> torch.Tensor:
    """sum over all paths of p(path) sum_t R_t dlog pi(a_t|s_t), flattened."""
    log_pi = torch.log_softmax(policy(torch.eye(mdp.features)[None])[0], -1)
    total = torch.zeros(())
    for actions in itertools.product(range(mdp.actions), repeat=STEPS):
        for later in itertools.product(range(STATES), repeat=STEPS - 1):
            states, p = (0, *later), 1.0
            for t in range(STEPS - 1):
                up = mdp.chance(states[t], actions[t])
                p = p * (up if states[t + 1] else 1 - up)
            chosen = [
                log_pi[t * STATES + s, a]
                for t, (s, a) in enumerate(zip(states, actions, strict=True))
            ]
            p = p * torch.exp(sum(chosen)).detach()
            pay = [
                mdp.reward(t, s, a) for t, (s, a) in enumerate(zip(states, actions, strict=True))
            ]
            to_go = [sum(GAMMA ** (u - t) * pay[u] for u in range(t, STEPS)) for t in range(STEPS)]
            total = total + p * sum(r * c for r, c in zip(to_go, chosen, strict=True))
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, list(policy.parameters()))])


def exact_continuous(mdp: Mdp, learner) -> torch.Tensor:
    """The same by Gauss-Hermite quadrature over each action, backwards in time."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = torch.tensor(weights / weights.sum())
    mean, log_std = (x[0, :, 0] for x in learner.policy(torch.eye(mdp.features)[None]))
    std = log_std[0].exp()
    action = (mean[:, None] + std * torch.tensor(nodes)).detach()  # [time x state, node]
    log_pi = -0.5 * ((action - mean[:, None]) / std) ** 2 - torch.log(std)
    a, value, q = action.numpy(), np.zeros(STATES), [None] * STEPS
    for t in reversed(range(STEPS)):
        actions = [a[t * STATES + s] for s in range(STATES)]
        up = [mdp.chance(s, actions[s]) for s in range(STATES)]
        rows = [
            mdp.reward(t, s, actions[s]) + GAMMA * (up[s] * value[1] + (1 - up[s]) * value[0])
            for s in range(STATES)
        ]
        q[t], value = (
            torch.tensor(np.array(rows)),
            np.array([(weights.numpy() * r).sum() for r in rows]),
        )
    visits, total = torch.tensor([1.0, 0.0]), torch.zeros(())
    for t in range(STEPS):
        rows = slice(t * STATES, (t + 1) * STATES)
        total = total + (visits[:, None] * weights * q[t] * log_pi[rows]).sum()
        up = torch.tensor(np.array([mdp.chance(s, a[t * STATES + s]) for s in range(STATES)]))
        one = (visits * (up * weights).sum(1)).sum()
        visits = torch.stack([1 - one, one])
    return torch.cat(
        [g.flatten() for g in torch.autograd.grad(total, list(learner.policy.parameters()))]
    )


def z_scores(mdp: Mdp, variants: list[str], exact) -> dict[str, torch.Tensor]:
    """(mean - exact) / standard error over EPISODES episodes, per coordinate."""
    learner, generator = learner_of(mdp, variants), torch.Generator().manual_seed(11)
    count, sums = 0, {name: [0.0, 0.0] for name in variants}
    while count < EPISODES:
        batch = play(mdp, learner, generator)
        count += mdp.copies
        for name in variants:
            parts = learner.replica_gradients(name, batch)
            g = torch.cat([part.flatten(1) for part in parts], 1).double()
            sums[name][0] += g.sum(0)
            sums[name][1] += g.square().sum(0)
    scores = {}
    for name, (first, second) in sums.items():
        mean = first / count
        error = ((second / count - mean**2) / count).sqrt()
        scores[name] = ((mean - exact) / error)[error > 1e-9]
    return scores


def test_discrete_variants_are_unbiased_and_the_published_sampler_is_not(float64):
    mdp, variants = Mdp(CHUNK, 3), list(DISCRETE)
    one = learner_of(Mdp(1, 3), variants)
    z = z_scores(mdp, variants, exact_discrete(mdp, one.policy))
    for name, scores in z.items():
        assert len(scores) >= 15
        if DISCRETE[name].published:
            assert scores.abs().max() > 10, name
        else:
            assert scores.abs().max() < 5, name


def test_continuous_variants_are_unbiased(float64):
    mdp, variants = Mdp(CHUNK, None), list(CONTINUOUS)
    exact = exact_continuous(mdp, learner_of(Mdp(1, None), variants))
    z = z_scores(mdp, variants, exact)
    for name, scores in z.items():
        assert len(scores) >= 6
        assert scores.abs().max() < 5, name


def test_return_to_go_without_discount_is_the_gradient_of_the_return(float64, monkeypatch):
    """What the exact sums above compute is the policy gradient."""
    monkeypatch.setattr(f"{__name__}.GAMMA", 1.0)
    mdp = Mdp(1, 3)
    policy = learner_of(mdp, ["reinforce"]).policy
    log_pi = torch.log_softmax(policy(torch.eye(mdp.features)[None])[0], -1)
    value = torch.zeros(STATES)
    for t in reversed(range(STEPS)):
        pay, up = torch.tensor(mdp.pay[t]), torch.tensor(mdp.move)
        q = pay + up * value[1] + (1 - up) * value[0]
        value = (log_pi[t * STATES : (t + 1) * STATES].exp() * q).sum(1)
    gradient = torch.autograd.grad(value[0], list(policy.parameters()))
    torch.testing.assert_close(
        torch.cat([g.flatten() for g in gradient]), exact_discrete(mdp, policy)
    )

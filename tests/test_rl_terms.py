"""The decomposition of the policy gradient's variance into trajectory, action and state terms."""

import numpy as np
import pytest
import torch

from experiments.rl import envs, terms
from experiments.rl.agents import TERMS
from experiments.rl.terms import Branches
from experiments.rl.variance import VarianceMeter
from tests import policies


def problem(states: int, seed: int = 0):
    """Scores, Q, probabilities, returns and V at random states with three actions.

    The returns are Q plus noise of standard deviation 2.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (3, states)
    probability = torch.rand(shape, generator=generator, dtype=torch.float64)
    probability = probability / probability.sum(0)
    q = torch.randn(shape, generator=generator, dtype=torch.float64)
    gradient = torch.randn((*shape, 2), generator=generator, dtype=torch.float64)
    gradient = gradient - (probability[..., None] * gradient).sum(0)  # scores have mean 0
    noise = 2 * torch.randn((3, 2, states), generator=generator, dtype=torch.float64)
    return gradient, q, probability, q[:, None] + noise, 0.3 * torch.ones(states).double()


def exact(gradient, q, probability, value):
    """The terms by enumeration of the actions."""
    norm, advantage = gradient.square().sum(-1), q - value
    each = gradient * advantage[..., None]
    mean = (probability[..., None] * each).sum(0)
    action = ((probability * each.square().sum(-1)).sum(0) - mean.square().sum(-1)).mean()
    state = (mean - mean.mean(0)).square().sum(-1).mean()
    return 4 * (probability * norm).sum(0).mean(), action, state


@pytest.mark.parametrize("enumerated", [True, False])
def test_the_terms_are_those_of_the_law_of_total_variance(enumerated):
    states = 400_000
    gradient, q, probability, returns, value = problem(states)
    wanted = [*exact(gradient, q, probability, value)]
    wanted.append(exact(gradient, q, probability, (probability * q).sum(0))[1])
    if not enumerated:  # four actions drawn from the policy in place of all
        drawn = torch.multinomial(probability.T, 4, replacement=True).T  # [4, R]
        rows = torch.arange(states)
        noise = 2 * torch.randn(4, 2, states, dtype=torch.float64)
        gradient, returns = gradient[drawn, rows], q[drawn, rows][:, None] + noise
        probability = torch.full((4, states), 0.25, dtype=torch.float64)
    weight = torch.full((states,), 1 / states, dtype=torch.float64)
    found = Branches(gradient, returns, probability, weight, enumerated).terms(value)
    assert tuple(found) == TERMS
    for name, want in zip(TERMS, wanted, strict=True):
        assert float(found[name]) == pytest.approx(float(want), rel=0.03, abs=0.02)


@pytest.mark.parametrize("discrete", [True, False])
def test_terms_are_measured_for_every_replica_and_add_up(discrete):
    names = ["a2c", "relax" if discrete else "lax"]
    variance = policies.Variance(points=2, every=1, episodes=1000, of=names)
    agents = policies.small(discrete, names[1], mode="terms", seeds=4)
    agents.config.env.variance = variance
    agents = type(agents)(agents.config, names[1], agents.keys)
    values = VarianceMeter(agents).measure()
    assert set(values) == {f"term_{name}" for name in TERMS} | {f"total_{name}" for name in names}
    assert all(len(column) == 4 and np.isfinite(column).all() for column in values.values())
    parts = sum(np.mean(values[f"term_{name}"]) for name in TERMS[:3])
    assert parts == pytest.approx(np.mean(values["total_a2c"]), rel=0.4)


def test_an_episode_goes_on_differently_after_the_repeated_steps():
    agents = policies.small(True, "relax", seeds=20)
    batch = agents.play(policies.everyone(agents))
    step = (batch.length // 2).numpy()
    same = batch.action.argmax(-1).numpy()[np.arange(20), step]
    generator = np.random.default_rng(0)
    returns = [terms.follow(agents, batch, step, same, generator) for _ in range(2)]
    assert not torch.equal(*returns)


@pytest.mark.parametrize("bootstrap", [True, False])
def test_the_return_of_a_repeated_episode_is_the_estimators(bootstrap):
    """The last step, after which nothing is random; its return may contain V of the next state."""
    agents = policies.small(False, "lax", seeds=6, bootstrap=bootstrap)
    agents.envs.steps = 2  # so that episodes are truncated
    agents.envs.envs = [envs.gym_make("InvertedPendulum-v4", 2) for _ in range(6)]
    agents.at_least = 1
    batch, everyone = agents.play(policies.everyone(agents)), np.arange(6)
    assert not (batch.terminated & batch.last).any()
    step = batch.length.numpy() - 1
    same = batch.action.numpy()[everyone, step]
    found = terms.follow(agents, batch, step, same, np.random.default_rng(0))
    wanted = agents.learner.inputs(batch).returns[everyone, step]
    torch.testing.assert_close(found, wanted.double())
    assert (found != 1.0).all() == bootstrap  # the reward of a step is 1

"""The gradients of whole episodes against one backward pass per episode."""

import pytest
import torch

from experiments.rl.gradients import clipped, episodes_by_length
from tests.policies import everyone, small, updated
from tests.reference import grouped_objective


def test_the_discrete_objective_squares_the_gradient_of_each_episode(float64):
    learner, batch = small_batch(True, "relax", seeds=3)
    assert len(set(batch.length.tolist())) > 1, "the episodes should differ in length"
    critic, steps = learner.critics["relax"], learner.steps(batch)
    estimate = critic.estimate(learner.policy(batch.x), steps)
    ours = critic.objective(estimate, steps, learner.episode_gradient)
    parameters = list(learner.policy.parameters())
    plain = grouped_objective(estimate, parameters, torch.where(batch.mask, 0, -1))
    assert_same_gradient(ours, plain, critic.phi)


def test_the_continuous_objective_squares_the_gradient_of_each_episode(float64):
    learner, batch = small_batch(False, "lax", seeds=2)
    inputs = learner.inputs(batch)
    ours = learner.variance("lax", batch, inputs)
    groups = torch.full(batch.mask.shape, -1)
    for row, episodes in enumerate(batch.episodes()):
        assert len(episodes) > 2
        for index, (start, end) in enumerate(episodes):
            groups[row, start:end] = index
    estimate = learner.estimate("lax", batch, inputs)
    plain = grouped_objective(estimate, list(learner.policy.parameters()), groups)
    assert_same_gradient(ours, plain, list(learner.surrogates["lax"].net.parameters()))


def test_every_step_is_in_one_group_of_episodes(float64):
    _, batch = small_batch(False, "lax")
    groups = episodes_by_length(batch)
    rows = torch.cat([episodes.index[episodes.real] for episodes in groups])
    assert len(rows) == len(rows.unique()) == int(batch.mask.sum())
    assert sum(float(episodes.weight.sum()) for episodes in groups) == pytest.approx(2)
    for episodes in groups:
        lengths = episodes.real.sum(1)
        assert lengths.max() <= 2 * lengths.min()


def small_batch(discrete, name, seeds=2):
    agents = small(discrete, name, seeds=seeds)
    return agents.learner, agents.play(everyone(agents))


def assert_same_gradient(ours, plain, phi):
    """Two objectives are equal, and so are their gradients in phi."""
    torch.testing.assert_close(ours, plain)
    gradients = (torch.autograd.grad(loss, phi, retain_graph=True) for loss in (ours, plain))
    for p, q in zip(*gradients, strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("discrete, name", [(True, "a2c"), (True, "relax"), (False, "lax")])
def test_the_policy_s_gradient_is_clipped_as_by_torch(float64, discrete, name):
    """The norm over all parameters of a replica; here between the norms of the two replicas."""
    raw = policy_gradients(discrete, name)
    norms = torch.stack([g.flatten(1).norm(dim=1) for g in raw]).norm(dim=0)
    limit = float(norms.mean())
    for row in range(2):
        leaves = [torch.zeros_like(g[row], requires_grad=True) for g in raw]
        for leaf, g in zip(leaves, raw, strict=True):
            leaf.grad = g[row].clone()
        torch.nn.utils.clip_grad_norm_(leaves, limit)
        for leaf, g in zip(leaves, policy_gradients(discrete, name, max_norm=limit), strict=True):
            torch.testing.assert_close(g[row], leaf.grad, rtol=1e-5, atol=1e-10)


def policy_gradients(discrete, name, **changes):
    run = small(discrete, name, seeds=2, **changes)
    return updated(run, run.play(everyone(run)), run.learner.optimizer)[1]


def test_a_gradient_of_zero_stays_zero():
    assert (clipped([torch.zeros(2, 3)], 1.0)[0] == 0).all()

"""One update of a continuous policy: what V and c minimise, the KL rule, what V and c see."""

from functools import partial

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from tests.policies import everyone, small, updated

SEEDS = 2


def played(name, **changes):
    run = small(False, name, seeds=SEEDS, **changes)
    with torch.no_grad():
        run.learner.policy.log_std += torch.tensor([0.3, -0.4]).reshape(SEEDS, 1, 1)
    return run, run.play(everyone(run))


def autograd(run, batch, name):
    """The gradient of c's objective in its weights, an episode at a time."""
    learner, real = run.learner, batch.mask
    inputs, net = learner.inputs(batch), learner.surrogates[name].net
    action = batch.action.clone().requires_grad_()
    c = net(inputs.states, action)
    if name == "lax_squared":
        per_replica = ((inputs.advantage - c).square() * real).sum(1) / real.sum(1)
        return torch.autograd.grad(0.5 * per_replica.sum(), list(net.parameters()))
    mean, log_std = learner.policy(batch.x)
    residual = (inputs.advantage - c)[..., None]
    deviation, std = (batch.action - mean).detach(), log_std.exp().detach()
    of_mean = residual * deviation / std**2
    of_log_std = residual * (deviation**2 / std**2 - 1)
    if name == "lax":
        dc = torch.autograd.grad(c.sum(), action, create_graph=True)[0]
        of_mean, of_log_std = of_mean + dc, of_log_std + dc * deviation
    params, loss = list(learner.policy.parameters()), torch.zeros(())
    for row, episodes in enumerate(batch.episodes()):
        for start, end in episodes:
            steps = torch.zeros_like(real)
            steps[row, start:end] = True
            weights = [steps[..., None] * of_mean, steps[..., None] * of_log_std]
            grads = torch.autograd.grad([mean, log_std], params, weights, create_graph=True)
            loss = loss + sum(g.square().sum() for g in grads) / len(episodes)
    return torch.autograd.grad(loss, list(net.parameters()))


@pytest.mark.parametrize("name", ["lax", "lax_score", "lax_squared"])
def test_a_surrogate_follows_the_gradient_of_its_objective(float64, name):
    """The mean over episodes of the square of a whole episode's gradient, not of its steps'."""
    run, batch = played(name)
    assert max(len(episodes) for episodes in batch.episodes()) > 1
    wanted = autograd(run, batch, name)
    _, gradients = updated(run, batch, run.learner.surrogates[name].optimizer)
    torch.testing.assert_close(gradients, list(wanted), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", ["a2c", "lax"])
def test_the_policy_climbs_the_mean_over_its_steps(float64, name):
    """For A2C by torch.distributions: mean over real steps of A_t log pi(a_t|s_t)."""
    run, batch = played(name)
    learner = run.learner
    inputs, (mean, log_std) = learner.inputs(batch), learner.policy(batch.x)
    advantage, std = inputs.advantage, log_std.exp()
    log_pi = Normal(mean, std).log_prob(batch.action).sum(-1)
    each = advantage * log_pi
    if name == "lax":  # the terms of the surrogate, whose mean is 0
        c = partial(learner.surrogates["lax"].net, inputs.states)
        each = each - c(batch.action).detach() * log_pi + c(mean + std * batch.noise.u)
    total = ((each * batch.mask).sum(1) / batch.length).sum()
    wanted = torch.autograd.grad(-total, list(learner.policy.parameters()))
    _, gradients = updated(run, batch, learner.optimizer)
    torch.testing.assert_close(gradients, list(wanted), rtol=1e-7, atol=1e-10)


# ---- the KL rule ----


@torch.no_grad()
def distribution(learner, batch):
    return Normal(learner.policy.net(batch.x), learner.policy.log_std.exp())


def test_the_rate_follows_the_kl_that_torch_computes(float64):
    """A long step makes the KL large and the rate falls by 1.5; a short one, the other way."""
    for lr, factor in ((0.1, 1 / 1.5), (1e-7, 1.5)):
        run, batch = played("a2c", kl=0.002, rates={"lr": [lr]})
        learner = run.learner
        before = distribution(learner, batch)
        readings = learner.update(batch, everyone(run))
        kl = kl_divergence(before, distribution(learner, batch)).sum(-1)
        mean = torch.stack([kl[r, : batch.length[r]].mean() for r in range(SEEDS)])
        torch.testing.assert_close(readings["kl"], mean, rtol=1e-6, atol=1e-12)
        assert (readings["kl"] > 0.004).all() if factor < 1 else (readings["kl"] < 0.001).all()
        torch.testing.assert_close(readings["lr_now"], torch.full((SEEDS,), lr * factor))


def test_the_rate_of_a_replica_that_sat_out_stays():
    run, _ = played("a2c", kl=0.002, rates={"lr": [1e-7]})
    active = torch.tensor([True, False])
    readings = run.learner.update(run.play(active), active)
    assert readings["lr_now"].tolist() == pytest.approx([1.5e-7, 1e-7])


# ---- what V and c see ----


def test_states_are_the_input_the_policy_and_the_time():
    run, batch = played("lax")
    mean = run.learner.policy(batch.x)[0].detach()
    states = run.learner.states(batch.x, batch.clock)
    std = torch.tensor([0.3, -0.4]).exp()
    width = batch.x.shape[-1]
    assert torch.equal(states[..., :width], batch.x)
    assert torch.equal(states[..., width : width + 1], mean)
    torch.testing.assert_close(states[..., width + 1], std[:, None].expand(batch.mask.shape))
    torch.testing.assert_close(states[..., width + 2], batch.clock / 10)


def test_a_cut_episode_goes_on_with_the_value_of_the_state_behind_it(float64):
    """With V(s) = clock / 10, an episode of n paid steps is worth gamma^n n / 10 more."""
    run, batch = played("a2c", continuous_hidden=[3])
    first, last = (layer.weight for layer in run.learner.value.layers)
    with torch.no_grad():
        for p in run.learner.value.parameters():
            p.zero_()
        first[:, -1, 0] = last[:, 0, 0] = 1.0  # the time is the last of the states
    batch.terminated.zero_()
    returns = run.learner.inputs(batch).returns
    gamma = run.config.gamma
    for row, episodes in enumerate(batch.episodes()):
        for start, end in episodes:
            n = end - start
            paid = sum(gamma**k * float(batch.reward[row, start + k]) for k in range(n))
            assert returns[row, start].item() == pytest.approx(paid + gamma**n * n / 10)


def test_the_filter_learns_after_the_batch():
    run, batch = played("a2c")
    assert (run.learner.observer.count == 0).all()
    run.learner.update(batch, everyone(run))
    assert run.learner.observer.count.flatten().tolist() == batch.length.tolist()


def test_the_policy_starts_with_small_means():
    policy = small(False, "a2c").learner.policy
    for layer, weight in enumerate(layer.weight for layer in policy.net.layers):
        length = 0.1 if layer == 2 else 1.0
        torch.testing.assert_close(
            weight.detach().norm(dim=1), torch.full_like(weight[:, 0], length)
        )

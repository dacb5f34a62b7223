"""One update of a discrete policy: the entropy bonus, what each critic minimises, whose rate."""

import math
from functools import partial

import pytest
import torch
from torch.distributions import Categorical

from experiments.rl.config import Env, Variance
from experiments.rl.variants import DISCRETE
from tests.policies import everyone, small, to_go, updated

SURROGATES = [name for name, variant in DISCRETE.items() if variant.critic == "surrogate"]


def played(name, **changes):
    """A run and a batch whose episodes differ in length."""
    run = small(True, name, seeds=3, **changes)
    batch = run.play(everyone(run))
    assert len(set(batch.length.tolist())) > 1
    return run, batch


def z_and_z_tilde(logits, batch, published):
    """The paper's appendix B.2, from the rollout's own uniform numbers.

    published: the largest z~ is log p_b plus Gumbel noise, as the authors' code draws it.
    """
    log_p, (u, v), b = torch.log_softmax(logits, -1), batch.noise, batch.action
    exponential = -torch.log(v)
    largest = (log_p if published else 0.0) - torch.log(exponential)
    of_b = torch.exp(-(b * largest).sum(-1, keepdim=True))
    loser = -torch.log(exponential / log_p.exp() + of_b)
    return log_p - torch.log(-torch.log(u)), torch.where(b > 0, largest, loser)


def autograd(run, batch, name, objective):
    """The gradient of an objective in phi, by plain autograd of the paper's formulas."""
    policy, net = run.learner.policy, run.learner.critics[name].net
    logits, c = policy(batch.x), partial(net, batch.x)
    z, z_tilde = z_and_z_tilde(logits, batch, DISCRETE[name].published)
    residual = to_go(batch, run.config.gamma) - c(z_tilde.detach())
    if objective == "squared":
        loss = 0.5 * (residual.square() * batch.mask).sum()
    else:
        score = batch.action - torch.softmax(logits, -1).detach()
        grad = residual[..., None] * score
        if objective == "variance":
            moved = c(z).sum() - c(z_tilde).sum()
            grad = grad + torch.autograd.grad(moved, logits, create_graph=True)[0]
        params, real = list(policy.parameters()), grad * batch.mask[..., None]
        of_episode = torch.autograd.grad(logits, params, real, create_graph=True)
        loss = sum(g.square().sum() for g in of_episode)
    return torch.autograd.grad(loss, list(net.parameters()))


@pytest.mark.parametrize("name", SURROGATES)
def test_a_surrogate_follows_the_gradient_of_its_objective(float64, name):
    """The square of the whole episode's gradient, of its score part, the distance to the return."""
    run, batch = played(name)
    wanted = autograd(run, batch, name, DISCRETE[name].objective)
    _, gradients = updated(run, batch, run.learner.critics[name].optimizer)
    torch.testing.assert_close(gradients, list(wanted), rtol=1e-7, atol=1e-9)


def test_the_value_learns_the_discounted_return_of_real_steps(float64):
    run, batch = played("a2c")
    critic = run.learner.critics["a2c"]
    error = to_go(batch, run.config.gamma) - critic.net(batch.x).squeeze(-1)
    wanted = torch.autograd.grad(0.5 * (error[batch.mask] ** 2).sum(), critic.phi)
    _, gradients = updated(run, batch, critic.optimizer)
    torch.testing.assert_close(gradients, list(wanted))


def test_the_policy_climbs_the_score_and_the_entropy(float64):
    """By torch.distributions: sum_t R_t log pi(a_t|s_t) + .01 H(pi(.|s_t)) over real steps."""
    run, batch = played("reinforce", entropy=0.01)
    dist = Categorical(logits=run.learner.policy(batch.x))
    log_pi = dist.log_prob(batch.action.argmax(-1))
    each = to_go(batch, run.config.gamma) * log_pi + 0.01 * dist.entropy()
    wanted = torch.autograd.grad(-each[batch.mask].sum(), list(run.learner.policy.parameters()))
    entropy = [dist.entropy()[r, : batch.length[r]].mean() for r in range(3)]
    readings, gradients = updated(run, batch, run.learner.optimizer)
    torch.testing.assert_close(gradients, list(wanted))
    torch.testing.assert_close(readings["entropy"], torch.stack(entropy))


def test_entropy_rises_where_nothing_is_paid():
    run, batch = played("reinforce", rates={"lr": [1e-4]})
    batch.reward.zero_()

    def entropy():
        return Categorical(logits=run.learner.policy(batch.x)).entropy()[batch.mask].mean().item()

    before = entropy()
    run.learner.update(batch, everyone(run))
    assert entropy() > before


# ---- rates and starts ----


def distance(run, name) -> float:
    """How far the first update moves a critic."""
    params = run.learner.critics[name].phi
    before = [p.detach().clone() for p in params]
    run.learner.update(run.play(everyone(run)), everyone(run))
    pairs = zip(params, before, strict=True)
    return max((p - q).abs().max().item() for p, q in pairs)


@pytest.mark.parametrize("name", ["a2c", "relax"])
def test_a_critic_s_rate_is_scale_times_the_policy_s(name):
    """RMSprop's first step is 10 rates long."""
    for scale in (1.0, 0.25):
        run = small(True, name, rates={"lr": [0.004], "scale": [scale]})
        assert distance(run, name) == pytest.approx(0.04 * scale, rel=0.01)


def test_a_critic_that_is_measured_beside_learns_at_its_own_rate():
    rates = {"a2c": {"lr": [0.5], "scale": [0.1]}, "relax": {"lr": [0.002], "scale": [1.0]}}
    env = Env(steps=30, variance=Variance(3, 1, 6, ["a2c", "relax"]), rates=rates)
    for name, step in (("relax", 0.02), ("a2c", 0.5)):
        run = small(True, "relax", mode="variance", env=env)
        assert distance(run, name) == pytest.approx(step, rel=0.01)


def test_adam_has_the_published_memory():
    learner = small(True, "relax", optimizer="adam").learner
    for optimizer in (learner.optimizer, learner.critics["relax"].optimizer):
        assert optimizer.betas == (0.9, 0.99999)


def test_nets_start_orthogonal():
    """Hidden layers with gain sqrt(2), the last with 1."""
    run = small(True, "relax", hidden=[6, 5])
    for net in (run.learner.policy, run.learner.critics["relax"].net.net):
        for layer, weight in enumerate(layer.weight for layer in net.layers):
            gain = 1.0 if layer == 2 else math.sqrt(2)
            for one in weight.detach():
                small_side = one @ one.T if one.shape[0] <= one.shape[1] else one.T @ one
                wanted = gain**2 * torch.eye(len(small_side))
                torch.testing.assert_close(small_side, wanted, atol=1e-5, rtol=0)

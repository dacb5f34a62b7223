"""Policy gradients: unbiased arms, one gradient per episode, replicas, kill and resume."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import relax as rx
from experiments.rl import plan
from experiments.rl.config import CONTINUOUS, DISCRETE, Env, Rl, Variance, arm
from experiments.rl.continuous import Continuous
from experiments.rl.discrete import Discrete
from experiments.rl.gradients import buckets, mean_squared_norm, squared_norm
from experiments.rl.loop import Run, Scores, train
from experiments.rl.networks import ACTIVATIONS, Network, glorot
from experiments.rl.report import ratio, restricted
from experiments.rl.rollout import Batch, Observer, advantages, collect, discount, seeds_of
from experiments.rl.variance import log_variance
from experiments.run.errors import UserError
from scripts import rl_figures
from scripts.torture import victims
from tests.policies import made_batch, small
from tests.reference import grouped_objective

ROOT = Path(__file__).parents[1]
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


def config(discrete: bool, of: list[str], **changes) -> Rl:
    same_kind = "CartPole-v1" if discrete else "Pendulum-v1"  # of actions as the Mdp's
    env = Env(name="mdp", id=same_kind, steps=STEPS, variance=Variance(of=of))
    same = {"filtered": False, "previous": False, "continuous_hidden": [], "hidden": []}
    return Rl(env=env, gamma=GAMMA, frames=1, mode="variance", **{**same, **changes})


def learner_of(mdp: Mdp, arms: list[str], seed: int = 0):
    """A learner with every arm's critic; one replica's weights are repeated for every episode."""
    kind = Discrete if mdp.actions else Continuous
    names = ("lr", "scale", "value_lr", "surrogate_lr")
    rates = {name: torch.full((1,), 0.01) for name in names} | {"surrogate_steps": 1}
    one = Mdp(1, mdp.actions)
    learner = kind(
        config(bool(mdp.actions), arms), one, arms[0], rates, [torch.Generator().manual_seed(seed)]
    )
    generator = torch.Generator().manual_seed(seed + 1)
    for p in learner.tensors():
        wide = p.detach() + 0.7 * torch.randn(p.shape, generator=generator).to(p.dtype)
        p.data = wide.expand(mdp.copies, *p.shape[1:]).contiguous()
    for critic in getattr(learner, "critics", {}).values():
        if critic.arm.critic == "surrogate":
            critic.net.scale.data.fill_(
                10.0
            )  # what is wrong with c is then larger than the noise of the returns
    return learner


def play(mdp: Mdp, learner, generator) -> Batch:
    zeros = torch.zeros(mdp.copies, STEPS, mdp.actions or 1)
    dist = rx.Categorical(zeros, replicas=1) if mdp.actions else rx.Normal(zeros, zeros, replicas=1)
    noise = dist.noise(generator=generator)
    rows = np.arange(mdp.copies)
    return collect(mdp, learner.observer, learner.actor(noise), noise, rows, 1, lambda row: 0)


def exact_discrete(mdp: Mdp, policy: Network) -> torch.Tensor:
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
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, policy.layers)])


def exact_continuous(mdp: Mdp, learner) -> torch.Tensor:
    """The same by Gauss-Hermite quadrature over each action, backwards in time."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = torch.tensor(weights / weights.sum())
    mean = learner.policy(torch.eye(mdp.features)[None])[0, :, 0]
    std = learner.log_std[0, 0, 0].exp()
    action = (mean[:, None] + std * torch.tensor(nodes)).detach()  # [time x state, node]
    log_pi = -0.5 * ((action - mean[:, None]) / std) ** 2 - torch.log(std)
    a, value, q = action.numpy(), np.zeros(STATES), [None] * STEPS
    for t in reversed(range(STEPS)):
        here = [a[t * STATES + s] for s in range(STATES)]
        up = [mdp.chance(s, here[s]) for s in range(STATES)]
        rows = [
            mdp.reward(t, s, here[s]) + GAMMA * (up[s] * value[1] + (1 - up[s]) * value[0])
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
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, learner.parameters)])


def z_scores(mdp: Mdp, arms: list[str], exact, scale: float) -> dict[str, torch.Tensor]:
    """(mean - exact) / standard error over EPISODES episodes, per coordinate."""
    learner, generator = learner_of(mdp, arms), torch.Generator().manual_seed(11)
    count, sums = 0, {name: [0.0, 0.0] for name in arms}
    while count < EPISODES:
        batch = play(mdp, learner, generator)
        count += mdp.copies
        for name in arms:
            parts = learner.episode_gradients(name, batch)
            g = scale * torch.cat([part.flatten(1) for part in parts], 1).double()
            sums[name][0] += g.sum(0)
            sums[name][1] += g.square().sum(0)
    found = {}
    for name, (first, second) in sums.items():
        mean = first / count
        error = ((second / count - mean**2) / count).sqrt()
        found[name] = ((mean - exact) / error)[error > 1e-9]
    return found


def test_discrete_arms_are_unbiased_and_the_published_sampler_is_not(float64):
    mdp, arms = Mdp(CHUNK, 3), list(DISCRETE)
    one = learner_of(Mdp(1, 3), arms)
    z = z_scores(mdp, arms, exact_discrete(mdp, one.policy), 1.0)
    for name, scores in z.items():
        assert len(scores) >= 15
        if DISCRETE[name].published:
            assert scores.abs().max() > 10, name
        else:
            assert scores.abs().max() < 5, name


def test_continuous_arms_are_unbiased(float64):
    mdp, arms = Mdp(CHUNK, None), list(CONTINUOUS)
    one = learner_of(Mdp(1, None), arms)
    z = z_scores(
        mdp, arms, exact_continuous(mdp, one), STEPS
    )  # the learner takes the mean over steps
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
    gradient = torch.autograd.grad(value[0], policy.layers)
    torch.testing.assert_close(
        torch.cat([g.flatten() for g in gradient]), exact_discrete(mdp, policy)
    )


# ---- one gradient per episode ----


def test_the_written_out_chain_rule_is_autograds_discrete(float64):
    run = small(True, "relax", seeds=3)
    learner, batch = run.learner, run.play(torch.ones(3, dtype=torch.bool))
    assert len(set(batch.length.tolist())) > 1, "the episodes should differ in length"
    critic, returns = learner.critics["relax"], learner.returns(batch)
    with torch.no_grad():
        outputs = learner.policy.hidden(batch.x)
    gradients, _ = learner.gradients(critic, batch, outputs, returns)
    ours = squared_norm(gradients).sum()
    est = critic.estimate(learner.policy(batch.x), batch, returns)
    plain = grouped_objective(est, learner.policy.layers, torch.where(batch.mask, 0, -1))
    torch.testing.assert_close(ours, plain)
    for p, q in zip(
        *(torch.autograd.grad(loss, critic.phi) for loss in (ours, plain)), strict=True
    ):
        torch.testing.assert_close(p, q)
    applied = torch.autograd.grad(
        est.theta, learner.policy.layers, est.grad.detach() * batch.mask[..., None]
    )
    for p, q in zip(gradients, applied, strict=True):
        torch.testing.assert_close(p.detach(), q)


def test_the_written_out_chain_rule_is_autograds_continuous(float64):
    run = small(False, "lax", seeds=2)
    learner, batch = run.learner, run.play(torch.ones(2, dtype=torch.bool))
    mean = learner.policy(batch.x)
    outputs = [h.detach() for h in learner.policy.hidden(batch.x)]
    states = learner.states(batch.x, batch.clock, outputs[-1])
    advantage, _ = learner.advantage(batch, states)
    net = learner.surrogates["lax"][0]
    est = learner.estimate(CONTINUOUS["lax"], net, outputs[-1], batch, states, advantage)
    ours = mean_squared_norm(learner.policy, outputs, est.grad, buckets(batch))

    dist = rx.Normal(mean, learner.log_std.expand_as(mean), replicas=1, validate=False)
    plain = rx.lax(advantage, batch.draw(dist), c=net.at(states))
    groups = torch.full(batch.mask.shape, -1)
    for row, episodes in enumerate(batch.episodes()):
        assert len(episodes) > 2
        for index, (start, end) in enumerate(episodes):
            groups[row, start:end] = index
    plain = grouped_objective(plain, learner.parameters, groups)
    torch.testing.assert_close(ours, plain)
    for p, q in zip(
        *(torch.autograd.grad(loss, list(net.parameters())) for loss in (ours, plain)), strict=True
    ):
        torch.testing.assert_close(p, q)


def test_the_squared_norms_do_not_depend_on_the_buckets(float64):
    """Each episode's rows lie in one bucket, and every one is there once."""
    batch = small(False, "lax").play(torch.ones(2, dtype=torch.bool))
    found = buckets(batch)
    rows = torch.cat([bucket.rows[bucket.real] for bucket in found])
    assert len(rows) == len(rows.unique()) == int(batch.mask.sum())
    assert sum(float(bucket.weight.sum()) for bucket in found) == pytest.approx(2)


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_the_jacobian_is_autograds(float64, activation):
    generators = [torch.Generator().manual_seed(s) for s in range(2)]
    net = Network([3, 5, 4, 2], activation, glorot([3, 5, 4, 2], generators))
    x, signal = torch.randn(2, 6, 3, requires_grad=True), torch.randn(2, 6, 2)
    outputs = net.hidden(x)
    (plain,) = torch.autograd.grad(outputs[-1], x, signal)
    torch.testing.assert_close(net.jacobian(outputs, signal)[0], plain)


@pytest.mark.parametrize(("discrete", "name"), [(True, "relax"), (False, "lax")])
def test_the_surrogates_gradient_in_z_is_autograds(float64, discrete, name):
    run = small(discrete, name)
    learner, batch = run.learner, run.play(torch.ones(2, dtype=torch.bool))
    if discrete:
        c = learner.critics[name].net.at(batch.x)
        z = torch.randn(2, *batch.action.shape, requires_grad=True)
    else:
        states = learner.states(batch.x, batch.clock, learner.policy(batch.x).detach())
        c, z = (
            learner.surrogates[name][0].at(states),
            torch.randn(batch.action.shape, requires_grad=True),
        )
    (plain,) = torch.autograd.grad(c(z).sum(), z)
    torch.testing.assert_close(c.value_and_grad(z)[1], plain)


def test_the_actions_are_those_of_the_replayed_policy(float64):
    run = small(True, "relax", seeds=4)
    batch = run.play(torch.ones(4, dtype=torch.bool))
    dist = rx.Categorical(run.learner.policy(batch.x), replicas=1)
    assert torch.equal(rx.Draw(dist, batch.noise).b[batch.mask], batch.action[batch.mask])
    run = small(False, "a2c")
    batch = run.play(torch.ones(2, dtype=torch.bool))
    mean = run.learner.policy(batch.x)
    dist = rx.Normal(mean, run.learner.log_std.expand_as(mean), replicas=1)
    torch.testing.assert_close(rx.Draw(dist, batch.noise).b[batch.mask], batch.action[batch.mask])


# ---- returns, advantages, filter, scores ----


def test_returns_stop_at_the_end_of_an_episode(float64):
    last = torch.tensor([[False, True, False, True]])
    found = discount(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), last, 0.5)
    torch.testing.assert_close(found, torch.tensor([[2.0, 2.0, 5.0, 4.0]]))


def test_advantages_continue_what_the_clock_cut(float64):
    batch = made_batch([[1, 1, 1, 1, 0]], [[0, 1, 0, 1, 0]], [[0, 1, 0, 0, 0]])
    batch.last, batch.terminated = batch.last.bool(), batch.terminated.bool()
    value, after = torch.tensor([[1.0, 2, 3, 4, 0]]), torch.full((1, 5), 10.0)
    for lambda_ in (1.0, 0.6):
        advantage, returns = advantages(batch, value, after, 0.9, lambda_, bootstrap=True)
        torch.testing.assert_close(returns, torch.tensor([[1.9, 1, 1 + 0.9 * 10, 1 + 9.0, 0]]))
        delta = torch.tensor([1 + 0.9 * 2 - 1, 1 - 2, 1 + 0.9 * 4 - 3, 1 + 9 - 4])
        rate = 0.9 * lambda_
        gae = torch.stack(
            [delta[0] + rate * delta[1], delta[1], delta[2] + rate * delta[3], delta[3]]
        )
        torch.testing.assert_close(advantage[0, :4], gae)
    assert not advantages(batch, value, after, 0.9, 1.0, bootstrap=False)[1][0, 3] > 1


def test_mask_clock_and_episodes_of_a_batch():
    batch = made_batch([[1, 1, 1, 1], [1, 1, 0, 0]], [[0, 1, 0, 1], [0, 1, 0, 0]], [[0] * 4] * 2)
    batch.last = batch.last.bool()
    assert batch.length.tolist() == [4, 2]
    assert batch.mask.sum().item() == 6
    assert batch.clock[0].tolist() == [0, 1, 0, 1]
    assert batch.episodes() == [[(0, 2), (2, 4)], [(0, 2)]]


def test_the_filter_keeps_the_moments_of_all_it_saw(float64):
    observer, seen = Observer(2, 1, True, False, np.float64), []
    for size in (5, 1, 30):
        seen.append(torch.randn(1, size, 2) * 3 + 1)
        observer.update(seen[-1], torch.ones(1, size, dtype=torch.bool))
    everything = torch.cat(seen, 1)[0]
    observer.focus(np.array([0]))
    torch.testing.assert_close(torch.from_numpy(observer.shift[0]), everything.mean(0))
    np.testing.assert_allclose(observer.scale[0], everything.std(0, correction=0), rtol=1e-6)


def test_solved_needs_a_hundred_episodes():
    scores = Scores(1, 195.0)
    for episode in range(150):
        scores._add(0, 200.0 if episode >= 20 else 0.0, 10)
    first = next(n for n in range(100, 151) if 200 * min(100, n - 20) / 100 > 195)
    assert scores.solved_episodes[0] == first
    assert scores.solved_frames[0] == 10 * first


def test_log_variance_is_the_mean_of_the_logs_and_leaves_dead_parameters_out(float64):
    g = torch.randn(50, 4, 3)
    dead = torch.zeros(50, 2)
    expected = g.flatten(1).var(0).log().mean()
    torch.testing.assert_close(log_variance([g, dead]), expected)


# ---- replicas, resuming, the command ----


@pytest.mark.parametrize(("discrete", "name"), [(True, "relax"), (True, "a2c"), (False, "lax")])
def test_a_replica_equals_the_run_alone(float64, discrete, name):
    changes = {"precision": "float64", "kl": 0.002}
    together, alone = (
        small(discrete, name, seeds=3, **changes),
        small(discrete, name, seeds=1, first_seed=101, **changes),
    )
    for _ in range(20 if discrete else 4):
        for run in (together, alone):
            batch = run.play(run.active())
            run.learner.update(batch, run.active())
    for many, one in zip(together.learner.tensors(), alone.learner.tensors(), strict=True):
        torch.testing.assert_close(many[1], one[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("discrete", "name"), [(True, "relax"), (False, "lax")])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, monkeypatch, discrete, name):
    made = small(discrete, name).config
    made.frames, made.log_every, made.save_every = 1000, 1, 0.0
    own = arm(name, {}, made)[1]

    def curve(folder):
        made.runs = str(tmp_path / folder)
        path = train(made, name, own)
        summary = json.loads((path / "summary.json").read_text())
        return (path / "metrics.csv").read_text(), {
            k: v for k, v in summary.items() if k != "seconds"
        }

    whole = curve("whole")
    real, calls = Run.play, itertools.count()

    def dies(self, active):
        if next(calls) == 5:
            raise RuntimeError("killed")
        return real(self, active)

    monkeypatch.setattr(Run, "play", dies)
    with pytest.raises(RuntimeError, match="killed"):
        curve("torn")
    assert curve("torn") == whole


def test_replicas_that_are_done_stay_where_they_are():
    run = small(True, "relax", seeds=2)
    active = torch.tensor([True, False])
    before = [p.detach().clone() for p in run.learner.tensors()]
    run.learner.update(run.play(active), active)
    for p, q in zip(run.learner.tensors(), before, strict=True):
        assert torch.equal(p[1], q[1])
    assert not torch.equal(run.learner.policy.weights[0][0], before[0][0])


def test_measuring_does_not_touch_the_training():
    plain, measured = (
        small(True, "relax"),
        small(True, "relax", mode="variance"),
    )
    told = {}

    class Recorder:
        def log(self, step, values):
            told[step] = values

    for run in (plain, measured):
        for _ in range(3):
            if run is measured:
                run.measure_if_due(Recorder())
            run.learner.update(run.play(run.active()), run.active())
            run.updates += 1
    assert all(
        torch.equal(p, q)
        for p, q in zip(plain.learner.policy.layers, measured.learner.policy.layers, strict=True)
    )
    assert list(told) == [0, 1, 2]
    assert all(np.isfinite(values["logvar_relax"]).all() for values in told.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"env": Env(id="Pendulum-v1"), "estimators": {"relax": {}}},
            "not for the continuous actions",
        ),
        ({"estimators": {"lax": {}}}, "not for the discrete actions"),
        (
            {
                "env": Env("pendulum", "Pendulum-v1", 1000),
                "estimators": {"a2c": {}},
                "batch": 500,
            },
            "shorter than",
        ),
        (
            {"env": Env(id="Pendulum-v1", rates={"a2c": {"lr": [0.1], "scale": [1.0]}})},
            "has scale for a2c.*continuous actions of Pendulum-v1; start from env=own",
        ),
        ({"estimators": {"relax": {"rate": 1}}}, "rate"),
        ({"estimators": {"relax": {"lr": [-1.0]}}}, "lr"),
        ({"frames": 0}, "frames"),
        ({"device": "cuda"}, "device"),
    ],
)
def test_bad_input_is_one_line(changes, message):
    settings = {"frames": 10, "estimators": {"a2c": {}}, **changes}
    with pytest.raises(UserError, match=message) as error:
        Rl(**settings).check()
    assert "\n" not in str(error.value)


def test_a_run_folder_of_version_1_is_read_as_meant(tmp_path):
    """There env.discrete was a setting; one that contradicts the action space is refused."""
    made = small(True, "relax").config
    made.runs, made.frames = str(tmp_path), 40
    path = train(made, "relax", arm("relax", {}, made)[1])
    old = json.loads((path / "config.json").read_text())
    assert old["env"]["discrete"] is True  # as version 1 wrote it
    old["env"]["discrete"] = False
    (path / "config.json").write_text(json.dumps(old))
    with pytest.raises(UserError, match="env.discrete=False there, True here"):
        train(made, "relax", arm("relax", {}, made)[1])


def test_seeds_of_counts_the_episodes_begun():
    played = torch.zeros(2, dtype=torch.long)
    next_seed = seeds_of([3, 4], played)
    first = next_seed(1)
    assert next_seed(1) != first
    assert played.tolist() == [0, 2]


@pytest.mark.parametrize("discrete", [True, False])
def test_the_plan_measures_and_counts_every_replica(discrete):
    run = small(discrete, "a2c")
    assert plan.frames_per_second(run, seconds=0.01) > 10
    config = run.config
    cost, config.estimators = plan.seconds(config, "a2c"), {"a2c": {}, "relax": {}, "lax": {}}
    said = plan.plan(config, {"a": 30.0, "b": 50.0, "c": 10.0})
    assert 0 < cost < 3600 * config.frames
    assert "about 50 s" in said and "2 processes" in said


def test_the_plan_of_a_variance_counts_its_episodes():
    variance = Variance(points=3, every=10, episodes=100)
    config = Rl(env=Env(variance=variance), mode="variance", frames=10**9)
    assert plan.frames(config) == 10**9
    config.env.variance.of.append("a2c")
    assert plan.frames(config) == 21 * 200 + 3 * 100 * 200


# ---- the command ----


def command(*arguments: str) -> subprocess.CompletedProcess:
    words = [sys.executable, "-m", *arguments]
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=300)


def test_smoke_from_the_command_to_the_figure(run_dirs, tmp_path):
    found = command("experiments.rl", "preset=rl/smoke", "processes=1", *run_dirs)
    assert found.returncode == 0, found.stderr
    case = tmp_path / "results" / "rl" / "smoke" / "cartpole"
    assert {"a2c.csv", "relax.csv", "a2c-solved.csv", "summary.csv"} <= {
        file.name for file in case.iterdir()
    }
    rl_figures.main("smoke", tmp_path / "results")
    assert (tmp_path / "results" / "figures" / "rl-smoke-cartpole.png").stat().st_size > 10_000
    table = (case.parent / "solve.csv").read_text().splitlines()
    assert table[0].startswith("case,estimator,seeds") and len(table) == 3


def test_a_wrong_estimator_ends_in_one_line(tmp_path):
    victims.prepare()
    assert victims.run("rl", tmp_path / "run", "env=pendulum") == 2
    told = victims.told(tmp_path / "run")
    assert "not for the continuous actions of pendulum" in told
    assert "Traceback" not in told


def test_the_ratio_and_its_interval():
    slow, fast = np.array([100.0, 120, 80, 100]), np.array([50.0, 60, 40, 50])
    middle, low, high = ratio(slow, fast)
    assert middle == 2
    assert 1.5 < low < 2 < high < 2.6


def test_a_seed_that_does_not_solve_counts_with_its_budget():
    table = {"solved_frames": np.array([-1, 30]), "frames": np.array([100, 100])}
    assert restricted(table).tolist() == [100, 30]

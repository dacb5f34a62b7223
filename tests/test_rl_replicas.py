"""Replicas beside each other, finished replicas, and resuming a killed run."""

import itertools
import json

import pytest
import torch

from experiments.rl.agents import Agents
from experiments.rl.train import train
from tests.policies import everyone, small


@pytest.mark.parametrize(("discrete", "name"), [(True, "relax"), (True, "a2c"), (False, "lax")])
def test_a_replica_equals_the_run_alone(float64, discrete, name):
    changes = {"precision": "float64", "kl": 0.002}
    together = small(discrete, name, seeds=3, **changes)
    alone = small(discrete, name, seeds=1, first_seed=101, **changes)
    for _ in range(20 if discrete else 4):
        for agents in (together, alone):
            batch = agents.play(agents.active())
            agents.learner.update(batch, agents.active())
    for many, one in zip(together.learner.tensors(), alone.learner.tensors(), strict=True):
        torch.testing.assert_close(many[1], one[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("discrete", "name"), [(True, "relax"), (False, "lax")])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, monkeypatch, discrete, name):
    made = small(discrete, name).config
    made.frames, made.log_every, made.save_every = 1000, 1, 0.0

    def curve(folder):
        made.runs = str(tmp_path / folder)
        path = train(made, name)
        summary = json.loads((path / "summary.json").read_text())
        return (path / "metrics.csv").read_text(), {
            k: v for k, v in summary.items() if k != "seconds"
        }

    whole = curve("whole")
    real, calls = Agents.play, itertools.count()

    def dies(self, active):
        if next(calls) == 5:
            raise RuntimeError("killed")
        return real(self, active)

    monkeypatch.setattr(Agents, "play", dies)
    with pytest.raises(RuntimeError, match="killed"):
        curve("torn")
    assert curve("torn") == whole


def test_replicas_that_are_done_stay_where_they_are():
    agents = small(True, "relax", seeds=2)
    active = torch.tensor([True, False])
    before = [p.detach().clone() for p in agents.learner.tensors()]
    agents.learner.update(agents.play(active), active)
    for p, q in zip(agents.learner.tensors(), before, strict=True):
        assert torch.equal(p[1], q[1])
    assert not torch.equal(agents.learner.policy.layers[0].weight[0], before[0][0])


def test_replicas_that_are_done_neither_move_nor_learn():
    agents = small(True, "a2c", seeds=2)
    batch = agents.play(everyone(agents))
    before = [p.detach().clone() for p in agents.learner.tensors()]
    agents.learner.update(batch, torch.tensor([True, False]))
    for p, q in zip(agents.learner.tensors(), before, strict=True):
        assert torch.equal(p[1], q[1]) and not torch.equal(p[0], q[0])

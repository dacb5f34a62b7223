"""Measuring the variance of the policy gradient."""

import numpy as np
import pytest
import torch

from experiments.rl.variance import VarianceMeter, log_variance
from tests.policies import small


def test_log_variance_is_the_mean_of_the_logs_and_leaves_dead_parameters_out(float64):
    g = torch.randn(50, 4, 3)
    dead = torch.zeros(50, 2)
    expected = g.flatten(1).var(0).log().mean()
    torch.testing.assert_close(log_variance([g, dead]), expected)


def test_measuring_does_not_touch_the_training():
    plain, measured = small(True, "relax"), small(True, "relax", mode="variance")
    meter, values = VarianceMeter(measured), {}
    for agents in (plain, measured):
        for update in range(3):
            if agents is measured and meter.due():
                values[update] = meter.measure()
            agents.learner.update(agents.play(agents.active()), agents.active())
            agents.updates += 1
    pairs = zip(
        plain.learner.policy.parameters(), measured.learner.policy.parameters(), strict=True
    )
    assert all(torch.equal(p, q) for p, q in pairs)
    assert list(values) == [0, 1, 2]
    assert all(np.isfinite(point["logvar_relax"]).all() for point in values.values())


def test_every_measurement_plays_episodes_of_its_own():
    """The same ones at the same update, others at the next and for another seed."""
    agents = small(True, "a2c", seeds=2, mode="variance")
    players = small(True, "a2c", seeds=6, mode="variance")
    seen = {}
    for update in (0, 1):
        agents.updates = update
        for row in (0, 1):
            players.copy_replica(agents, row)
            seen[update, row] = list(players.seeds)
    assert len({seed for seeds in seen.values() for seed in seeds}) == 4 * 6
    agents.updates = 0
    players.copy_replica(agents, 0)
    assert players.seeds == seen[0, 0]


def test_a_dead_parameter_has_no_logarithm():
    """Variances 1 and e^2, and a 0 that is left out: the mean of the logarithms is 1."""
    e = np.e
    alive = torch.tensor([[1.0, e], [-1.0, -e]]) / 2**0.5
    assert log_variance([alive, torch.zeros(2, 3)]).item() == pytest.approx(1.0, abs=1e-6)

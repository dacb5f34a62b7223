"""A draw knows how it was made: others are refused, and it can be replayed under a graph."""

from __future__ import annotations

from itertools import product

import pytest
import torch

import relax as rx
from tests.helpers import (
    cases,
    distribution,
    estimate,
    generator,
    own_arguments,
    rows,
    wavy,
)


def test_a_draw_of_another_kind_is_refused():
    """A4: the draw of every estimator, given to every other one that knows its distribution."""
    refused = 0
    for dist in map(distribution, ("bernoulli", "categorical", "normal")):
        entries = [entry for entry in rx.ESTIMATORS.values() if entry.accepts(dist)]
        for entry, other in product(entries, repeat=2):
            own = own_arguments(entry.name, dist)[0]
            own = {k: v for k, v in own.items() if k not in ("samples", "coupled")}
            draw, scheme = other.function.draw(dist, samples=2), entry.scheme
            if draw.kind == scheme.kind and (
                not scheme.with_v or scheme.may_couple or draw.noise.v is not None
            ):
                entry.function(wavy, draw, **own)
            else:
                with pytest.raises(ValueError, match="needs a draw"):
                    entry.function(wavy, draw, **own)
                refused += 1
    assert refused > 100


def test_noise_and_b_are_no_arguments():
    dist = distribution("bernoulli")
    for name in ("b", "noise"):
        with pytest.raises(TypeError, match="unexpected keyword"):
            rx.arm(wavy, dist, **{name: dist.sample()})


def test_a_b_that_was_changed_after_it_was_drawn_is_refused():
    for name in ("bernoulli", "categorical", "normal"):
        draw = distribution(name).expand(50).draw()
        draw.b.numpy()[:] += 1
        with pytest.raises(ValueError, match="changed in place"):
            rx.reinforce(wavy, draw)


@pytest.mark.parametrize("name", ["bernoulli", "categorical", "normal"])
def test_a_draw_is_replayed_under_parameters_with_a_graph(name):
    base = distribution(name).expand(100)
    with torch.no_grad():
        draw = base.draw(generator=generator())
        value = wavy(draw.b)
    theta = base.theta.clone().requires_grad_()
    now = draw.at(base.with_theta(theta))
    assert now.b is draw.b or torch.equal(now.b, draw.b)
    est = rx.reinforce(value, now)
    rx.backward(est)
    assert torch.equal(theta.grad, est.grad / 100)
    with pytest.raises(ValueError, match="not those that drew it"):
        draw.at(base.with_theta(theta + torch.linspace(-1, 1, theta.shape[-1])))


@pytest.mark.parametrize(
    "case", cases("bernoulli", "categorical", "normal"), ids=lambda case: case.id
)
def test_theta_without_a_graph_is_refused(case):
    est = estimate(case, wavy, rows(case))
    with pytest.raises(ValueError, match="theta has no graph"):
        rx.backward(est)

"""An estimator and a distribution from outside the package get everything that ours have."""

import inspect
import math
from functools import partial

import pytest
import torch

import relax as rx
from tests.helpers import quadratic


@pytest.fixture
def registry(monkeypatch):
    """A copy of the registry, so that what a test adds is gone after it."""
    entries = dict(rx.ESTIMATORS)
    yield rx.ESTIMATORS
    rx.ESTIMATORS.clear()
    rx.ESTIMATORS.update(entries)


class ThreeStates(rx.Discrete):
    """States 0, 1 and 2, ordered: b = [z > -1] + [z > 1] with z = theta + logistic noise."""

    def reparameterize(self, u):
        return self.theta + torch.logit(u)

    def hard(self, z):
        return (z > -1).to(z.dtype) + (z > 1).to(z.dtype)

    def interval(self, b):
        edges = torch.tensor([-math.inf, -1.0, 1.0, math.inf], dtype=self.theta.dtype)
        low, high = edges[b.long()], edges[b.long() + 1]
        return torch.sigmoid(low - self.theta), torch.sigmoid(high - self.theta)

    def log_prob(self, b):
        low, high = self.interval(b)
        return (high - low).log()

    def condition(self, b, v):
        low, high = self.interval(b)
        return self.theta + torch.logit(low + v * (high - low))

    def support(self):
        return self.enumerate(torch.arange(3, dtype=self.theta.dtype))


def test_a_distribution_from_outside(float64):
    dist = ThreeStates(torch.tensor([0.4, -0.9]))
    names = {name for name, entry in rx.ESTIMATORS.items() if entry.accepts(dist)}
    assert names == {"reinforce", "nvil", "rloo", "grpo", "relax"}
    c = rx.surrogates.mlp(2, zero_scale=False).double()
    for estimator, own in ((rx.reinforce, {}), (rx.rloo, {}), (rx.relax, {"c": c})):
        generator = torch.Generator().manual_seed(0)
        test = rx.bias_test(estimator, quadratic, dist, samples=100_000, generator=generator, **own)
        assert test.max_z < 5


def test_an_estimator_from_outside(registry):
    @rx.estimator(
        unbiased=True, evaluations=2, differentiable=False, needs=("mean",), samples=2,
        draws="several independent",
    )  # fmt: skip
    def shifted(f, draw, *, shift: float = 0.0):
        """g = mean_k [f(b_k) - mean_{j != k} f(b_j) - shift] d/dtheta log p(b_k|theta)"""
        f_b = f(draw.b)
        others = (f_b.sum(0) - f_b) / (len(f_b) - 1)
        return rx.weigh(f_b - others - shift, draw.score)

    entry = registry["shifted"]
    assert entry.function is shifted and entry.unbiased and entry.samples == 2
    assert list(inspect.signature(shifted).parameters) == [
        "f", "dist", "shift", "samples", "generator",
    ]  # fmt: skip
    dist = rx.Categorical(torch.tensor([0.3, -0.2, 0.8]))
    assert entry.accepts(dist) and not entry.accepts(rx.Normal(torch.zeros(2), torch.zeros(2)))
    for own in ({}, {"shift": 1.5}, {"samples": 3}):
        bound = partial(shifted, **own)
        assert rx.bias_test(bound, quadratic, dist, samples=100_000).max_z < 5
    with pytest.raises(ValueError, match="samples=2 or more"):
        shifted(quadratic, dist, samples=1)
    with pytest.raises(ValueError, match="kind 'independent'"):
        shifted(quadratic, rx.unordered_set.draw(dist))


def test_the_value_is_f_at_b_whatever_is_evaluated_first(registry):
    @rx.estimator(unbiased=True, evaluations=2, differentiable=False, needs=("mean",))
    def mean_first(f, draw):
        baseline = f(draw.dist.mean().detach().expand_as(draw.b))
        return rx.weigh(f(draw.b) - baseline, draw.score)

    calls = []
    est = mean_first(lambda b: calls.append(b) or quadratic(b), rx.Bernoulli(torch.zeros(4, 3)))
    torch.testing.assert_close(est.value, quadratic(est.draw.b))
    assert len(calls) == 2

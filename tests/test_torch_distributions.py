"""torch's distributions, probabilities instead of logits, and what a repr says."""

from __future__ import annotations

import pytest
import torch
from torch import distributions as td

import relax as rx
from relax.distributions import as_distribution
from tests.helpers import quadratic

pytestmark = pytest.mark.usefixtures("float64")

THETA = torch.tensor([0.7, -0.4, 0.1], dtype=torch.float64)


@pytest.mark.parametrize("kind", [rx.Bernoulli, rx.Categorical])
def test_probs_are_the_other_way_to_give_logits(kind):
    probs = torch.tensor([0.2, 0.5, 0.3]).requires_grad_()
    dist = kind(probs=probs)
    torch.testing.assert_close(dist.mean(), probs)
    rx.backward(rx.rloo(quadratic, dist))
    assert probs.grad.isfinite().all()
    certain = kind(probs=torch.tensor([0.0, 1.0, 0.0]))
    b = certain.sample(generator=torch.Generator().manual_seed(0))
    assert torch.equal(b[..., 1], torch.tensor(1.0))
    assert rx.reinforce(quadratic, certain).grad.isfinite().all()
    for wrong in ({}, {"logits": THETA, "probs": probs}, {"probs": torch.tensor([-0.1, 0.4])}):
        with pytest.raises(ValueError, match="either|between|negative"):
            kind(**wrong)


def test_reprs_say_what_there_is():
    draw = rx.Categorical(torch.zeros(4, 3, 10), event_ndim=2).draw(2)
    text = repr(draw)
    assert "[2, 4, 3, 10]" in text and "event_ndim=2" in text and "independent, with v" in text


TORCH = [
    (td.Bernoulli(logits=torch.zeros(4, 3)), "Bernoulli", 1),
    (td.Bernoulli(probs=torch.full((4, 3), 0.3)), "Bernoulli", 1),
    (td.OneHotCategorical(logits=torch.zeros(4, 3)), "Categorical", 1),
    (td.Independent(td.OneHotCategorical(logits=torch.zeros(4, 2, 3)), 1), "Categorical", 2),
    (td.Independent(td.Bernoulli(logits=torch.zeros(4, 2, 3)), 2), "Bernoulli", 2),
    (td.Normal(torch.zeros(4, 3), torch.full((4, 3), 0.5)), "Normal", 1),
    (td.Independent(td.Normal(torch.zeros(4, 2, 3), torch.ones(4, 2, 3)), 2), "Normal", 2),
]


@pytest.mark.parametrize(("dist", "kind", "event_ndim"), TORCH, ids=lambda x: str(x)[:30])
def test_torch_distributions_are_accepted(dist, kind, event_ndim):
    ours = as_distribution(dist)
    assert type(ours).__name__ == kind and ours.event_ndim == event_ndim
    assert ours.batch_shape == (4,)
    est = rx.rloo(lambda b: b.flatten(-event_ndim).sum(-1) ** 2, dist)
    assert est.value.shape == (2, 4)
    base = getattr(dist, "base_dist", dist)
    b = ours.sample()
    theirs = base.log_prob(b)
    torch.testing.assert_close(ours.joint_log_prob(b), theirs.reshape(4, -1).sum(-1))


def test_the_gradient_reaches_the_parameters_of_torch_distributions():
    loc, scale = torch.zeros(4, 3).requires_grad_(), torch.ones(4, 3).requires_grad_()
    rx.backward(rx.pathwise(quadratic, td.Normal(loc, scale)))
    assert loc.grad.abs().sum() > 0 and scale.grad.abs().sum() > 0
    probs = torch.full((4, 3), 0.3).requires_grad_()
    rx.backward(rx.disarm(quadratic, td.Bernoulli(probs=probs)))
    assert probs.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "dist",
    [td.Categorical(logits=torch.zeros(3)), td.Beta(torch.ones(3), torch.ones(3)), "Bernoulli",
     td.Independent(td.Bernoulli(logits=torch.zeros(3)), 0)],
)  # fmt: skip
def test_other_objects_are_refused_by_name(dist):
    with pytest.raises(TypeError, match="OneHotCategorical|at least one axis"):
        rx.reinforce(quadratic, dist)

"""Infinite logits, temperatures and empty batches: a finite gradient, or an error."""

from __future__ import annotations

import pytest
import torch

import relax as rx
from tests.helpers import (
    cases,
    distribution,
    generator,
    own_arguments,
    quadratic,
    smooth_surrogate,
    wavy,
)


@pytest.mark.parametrize("case", cases("bernoulli", "categorical"), ids=lambda case: case.id)
def test_masked_outcomes_get_finite_gradients_of_zero(case, float64):
    """A10: a logit of -inf, for a Bernoulli +inf as well."""
    base = distribution(case.dist)
    theta = torch.cat([base.theta, base.theta[:2]]).expand(50, 5).clone()
    theta[:, 1] = -torch.inf
    if case.dist == "bernoulli":
        theta[:, 4] = torch.inf
    masked = theta.isinf()
    dist = type(base)(theta.requires_grad_())
    own = own_arguments(case.name, type(base)(theta.detach()[0]))[case.index]
    function = rx.ESTIMATORS[case.name].function
    est = function(wavy, dist, generator=generator(), **own)
    assert est.grad.isfinite().all() and est.draw.z.isfinite().all()
    assert (est.grad[masked] == 0).all() and (est.grad[~masked] != 0).any()
    assert torch.equal(est.draw.b[..., 1], torch.zeros_like(est.draw.b[..., 1]))
    rx.backward(est)
    assert theta.grad.isfinite().all() and (theta.grad[masked] == 0).all()


@pytest.mark.parametrize("name", ["bernoulli", "categorical"])
def test_a_masked_distribution_is_the_one_without_the_outcome(name, float64):
    """The exact gradient, and RELAX against it."""
    base = distribution(name)
    theta = torch.cat([base.theta[:1], torch.tensor([-torch.inf]), base.theta[1:]])
    masked, free = type(base)(theta), base

    def f(b):
        return wavy(b[..., [0, 2, 3]])

    exact = rx.exact_gradient(f, masked)
    assert exact[1] == 0
    torch.testing.assert_close(exact[[0, 2, 3]], rx.exact_gradient(wavy, free))
    for coupled in (False, True):
        test = rx.bias_test(
            rx.relax, f, masked, c=smooth_surrogate(masked), coupled=coupled, samples=100_000,
            generator=generator(),
        )  # fmt: skip
        assert test.max_z < 5


def test_masks_under_validate_false_are_announced():
    logits = torch.tensor([[0.0, -torch.inf, 1.0]])
    dist = rx.Categorical(logits, masked=True, validate=False)
    assert rx.relax(wavy, dist, c=lambda z: z.sin().sum(-1)).grad.isfinite().all()


def test_logits_that_are_no_mask_are_refused():
    with pytest.raises(ValueError, match="no class is allowed"):
        rx.Categorical(torch.full((2, 3), -torch.inf))
    with pytest.raises(ValueError, match=r"\+inf"):
        rx.Categorical(torch.tensor([0.0, torch.inf]))
    with pytest.raises(ValueError, match="NaN"):
        rx.Bernoulli(torch.tensor([0.0, torch.nan]))


@pytest.mark.parametrize("lambda_", [0.0, -0.5, torch.tensor(0.0), torch.tensor(-1.0)])
@pytest.mark.parametrize(
    "name", ["rebar", "concrete", "st_gumbel", "rao_gumbel", "unbiased_reinmax"]
)
def test_a_temperature_must_be_positive(name, lambda_):
    """A11."""
    with pytest.raises(ValueError, match="above 0"):
        getattr(rx, name)(wavy, distribution("bernoulli"), lambda_=lambda_)


def test_an_empty_batch_is_refused():
    theta = torch.zeros(0, 3).requires_grad_()
    with pytest.raises(ValueError, match="batch is empty"):
        rx.backward(rx.reinforce(quadratic, rx.Bernoulli(theta)))


def test_unbiased_reinmax_refuses_an_f_that_is_not_finite_between_the_outcomes():
    """A15: what can be seen; a jump between the outcomes cannot, and the docstring says so."""
    dist = rx.Bernoulli(torch.zeros(200, 3))
    with pytest.raises(ValueError, match="not finite between"):
        rx.unbiased_reinmax(lambda b: b.sqrt().sum(-1), dist)
    with pytest.raises(ValueError, match="is NaN"):
        rx.unbiased_reinmax(lambda b: (b - 2).log().sum(-1) * 0 + 1, dist)
    assert "silent bias" in rx.unbiased_reinmax.__doc__

"""What the core promises of every estimator, over the registry: no input gives a wrong gradient
without an error."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

import relax as rx
from tests.helpers import (
    cases,
    distribution,
    draw_of,
    estimate,
    generator,
    own_arguments,
    quadratic,
    rows,
    smooth_stein,
    wavy,
)

ALL = cases("bernoulli", "categorical", "normal")
SURROGATE = [case for case in ALL if "c" in case.bind(distribution(case.dist)).keywords]
HALF = (torch.bfloat16, torch.float16)


# ---- 1. f and c receive tensors of their own ----


def pure(b: Tensor) -> Tensor:
    return ((2 * b - 1).sum(-1) - 1) ** 2


def in_place(b: Tensor) -> Tensor:
    b *= 2
    b -= 1
    return (b.sum(-1) - 1) ** 2


def in_place_through_numpy(b: Tensor) -> Tensor:
    x = b.numpy()
    x *= 2
    x -= 1
    return torch.as_tensor((x.sum(-1) - 1) ** 2)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
def test_f_may_change_its_input(case, float64):
    """A1."""
    expected = estimate(case, pure, rows(case)).grad
    torch.testing.assert_close(estimate(case, in_place, rows(case)).grad, expected)
    if not rx.ESTIMATORS[case.name].differentiable:
        found = estimate(case, in_place_through_numpy, rows(case)).grad
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("case", SURROGATE, ids=lambda case: case.id)
def test_c_may_change_its_input(case, float64):
    estimator, dist = case.bind(distribution(case.dist)), rows(case)
    own = dict(estimator.keywords)
    c = own.pop("c")

    def changing(z: Tensor) -> Tensor:
        value = c(z.clone())
        z.mul_(3.0)
        return value

    class WithGrad:
        def value_and_grad(self, z: Tensor):
            leaf = z.clone().requires_grad_()
            with torch.enable_grad():
                value = c(leaf)
                (grad,) = torch.autograd.grad(value.sum(), leaf)
            z.mul_(3.0)
            return value.detach(), grad

        def __call__(self, z: Tensor):
            return c(z)

    found = [
        estimator.func(wavy, dist, c=each, generator=generator(), **own).grad.detach()
        for each in (c, changing, WithGrad())
    ]
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


# ---- 2. precision ----


@pytest.mark.parametrize("dtype", HALF)
def test_rare_outcomes_happen_in_half_precision(dtype):
    """A3: b = 1 with probability .00247 at a logit of -6, .000335 at -8."""
    for logit in (-6.0, -8.0):
        p = 1 / (1 + math.exp(-logit))
        bits = rx.Bernoulli(torch.full((400_000, 1), logit).to(dtype))
        b = bits.sample(generator=generator())
        assert b.dtype == dtype
        assert abs(float(b.double().mean()) - p) < 5 * (p / len(b)) ** 0.5
        logits = torch.tensor([0.0, logit]).to(dtype).expand(400_000, 2)
        b = rx.Categorical(logits).sample(generator=generator())
        assert abs(float(b[:, 1].double().mean()) - p) < 5 * (p / len(b)) ** 0.5


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
def test_half_precision_parameters_have_float32_estimates(case, dtype):
    """And f's value is the tensor that f returned."""
    returned, seen = [], []
    base = distribution(case.dist).expand(5)
    theta = base.theta.to(dtype).requires_grad_()
    dist = rx.Normal(*theta.unbind(-1)) if case.dist == "normal" else type(base)(theta)

    def f(b):
        seen.append(b.dtype)
        returned.append((b.float() @ torch.linspace(0.3, 1, b.shape[-1])).square())
        return returned[-1]

    estimator = case.bind(distribution(case.dist))
    est = estimator(f, dist, generator=generator())
    assert est.grad.dtype == est.theta.dtype == est.draw.z.dtype == torch.float32
    assert set(seen) == {torch.float32 if case.dist == "normal" else dtype}
    assert est.value is returned[0] or case.name == "unordered_set"
    rx.backward(est)
    assert theta.grad.dtype == dtype and theta.grad.isfinite().all()


# ---- 3. a c that is not connected to z ----

NET = torch.nn.Linear(3, 1)


def by_numpy(z):
    return torch.as_tensor(z.detach().numpy().sum(-1))


def without_grad(z):
    with torch.no_grad():
        return NET(z).squeeze(-1)


def attached_to_phi_only(z):
    with torch.no_grad():
        value = NET(z).squeeze(-1)
    return NET.weight.sum() * value


def of_hard_z(z):
    return NET((z > 0).to(z.dtype)).squeeze(-1)


def a_constant(z):
    return torch.full(z.shape[:-1], 0.3)


@pytest.mark.parametrize("c", [by_numpy, without_grad, attached_to_phi_only, of_hard_z, a_constant])
@pytest.mark.parametrize("name", ["relax", "coupled", "dlax", "lax", "unbiased_reinmax"])
def test_a_surrogate_without_z_is_refused(name, c):
    """A2."""
    if name == "lax":
        dist = rx.Normal(torch.zeros(4, 3), torch.zeros(4, 3))
    else:
        dist = rx.Bernoulli(torch.zeros(4, 3))
    estimator = partial(rx.relax, coupled=True) if name == "coupled" else getattr(rx, name)
    with pytest.raises(ValueError, match="not connected to z"):
        estimator(quadratic, dist, c=c)


@pytest.mark.parametrize("name", ["relax", "dlax", "lax", "pathwise", "concrete", "rebar"])
def test_inference_mode_is_refused(name):
    dist = distribution("normal" if name in ("lax", "pathwise") else "bernoulli")
    own = own_arguments(name, dist)[0]
    with torch.inference_mode(), pytest.raises((ValueError, TypeError), match="z by autograd|grad"):
        getattr(rx, name)(wavy, dist, **own)


# ---- 5. what f may return ----


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
def test_a_reduced_loss_is_refused(case):
    """A12."""
    with pytest.raises(ValueError, match="one number per row"):
        estimate(case, lambda b: wavy(b).mean(), rows(case))
    with pytest.raises(ValueError, match="squeeze"):
        estimate(case, lambda b: wavy(b).unsqueeze(-1), rows(case))


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
def test_samples_and_rows_are_not_confused(case):
    """A12: f of [B] for [K, B] where K = B."""
    estimator = case.bind(distribution(case.dist))
    k = draw_of(estimator, rows(case)).samples
    if k == 1:
        pytest.skip("a single sample has no axis of its own")
    with pytest.raises(ValueError, match="one number per row"):
        estimator(lambda b: wavy(b)[0], rows(case, k))


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
def test_f_may_return_any_kind_of_number(case):
    entry = rx.ESTIMATORS[case.name]
    expected = estimate(case, lambda b: (wavy(b) > 1).float() + 0 * wavy(b), rows(case)).grad
    kinds = [lambda b: (wavy(b) > 1).double() + 0 * wavy(b).double()]
    if not entry.differentiable:
        kinds += [
            lambda b: wavy(b) > 1,
            lambda b: (wavy(b) > 1).long(),
            lambda b: (wavy(b) > 1).numpy(),
            lambda b: (wavy(b) > 1).tolist(),
        ]
    for f in kinds:
        torch.testing.assert_close(estimate(case, f, rows(case)).grad, expected)


# ---- registration ----


def test_stein_is_a_module_of_the_right_form():
    alpha_h, beta_h = rx.Stein(4)(torch.zeros(2, 3), torch.zeros(2, 3))
    assert alpha_h.shape == beta_h.shape == (2, 3)
    assert smooth_stein(torch.zeros(2), torch.zeros(2))[0].shape == (2,)


@pytest.mark.parametrize("name", list(rx.ESTIMATORS))
def test_help_shows_the_whole_signature_and_the_source(name):
    import inspect

    function = rx.ESTIMATORS[name].function
    parameters = inspect.signature(function).parameters
    assert list(parameters)[:2] == ["f", "dist"]
    assert {"samples", "generator"} <= set(parameters)
    assert "Source:" in function.__doc__ and "Args:" in function.__doc__
    assert getattr(rx, name) is function

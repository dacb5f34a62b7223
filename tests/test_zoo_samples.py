"""Estimators that compare several samples: the identities that their papers claim."""

import math
from functools import partial
from itertools import product

import pytest
import torch

import relax as rx
from relax.sampling import dirichlet_copula
from tests.helpers import (
    distribution,
    linear,
    over_event,
    replay,
    same,
    smooth_stein,
    wavy,
    without_checks,
)
from tests.quadrature import gauss_legendre, mean_over_tuples

pytestmark = pytest.mark.usefixtures("float64")

LOGITS = (-3.0, -0.7, 0.0, 1.4)


@pytest.mark.parametrize("name", ["bernoulli", "categorical", "categoricals", "plackett_luce"])
@pytest.mark.parametrize("estimator", [rx.rloo, partial(rx.double_cv, alpha=-0.8)])
def test_independent_samples_are_unbiased_by_enumeration(estimator, name):
    dist = distribution(name)
    if estimator is not rx.rloo and not dist.supports("mean"):
        pytest.skip("it needs E[b]")
    f = over_event(wavy, dist)
    assert same(mean_over_tuples(estimator, f, dist, 2), rx.exact_gradient(f, dist))


def test_the_stein_terms_of_rodeo_have_mean_zero_by_enumeration():
    dist = distribution("bernoulli")
    rodeo = partial(rx.rodeo, stein=smooth_stein)
    for samples in (2, 3):
        without = mean_over_tuples(rx.rloo, wavy, dist, samples)
        assert same(mean_over_tuples(rodeo, wavy, dist, samples), without)
    draw = rx.rloo.draw(dist.expand(100))
    difference = rodeo(wavy, draw).grad - rx.rloo(wavy, draw).grad
    assert difference.abs().max() > 0.1


def test_rodeo_with_zero_scales_is_leave_one_out():
    draw = rx.rloo.draw(distribution("bernoulli").expand(50))
    rodeo = rx.rodeo(wavy, draw, stein=rx.Stein(8))
    assert same(rodeo.grad.detach(), rx.rloo(wavy, draw).grad)


def test_double_cv_with_alpha_zero_is_leave_one_out():
    draw = rx.rloo.draw(distribution("categoricals").expand(50), samples=3)
    f = over_event(wavy, distribution("categoricals"))
    assert same(rx.double_cv(f, draw, alpha=0.0).grad, rx.rloo(f, draw).grad)


def test_double_cv_with_alpha_minus_one_is_exact_for_a_linear_f():
    many = distribution("bernoulli").expand(50)
    grad = rx.double_cv(linear, many, alpha=-1.0).grad
    assert same(grad, rx.exact_gradient(linear, distribution("bernoulli")).expand_as(grad))


def test_leave_one_out_of_two_is_half_the_product_of_the_differences():
    many = distribution("bernoulli").expand(50)
    est = rx.rloo(wavy, many)
    (f_1, f_2), (b_1, b_2) = est.value, est.draw.b
    assert same(est.grad, (f_1 - f_2)[:, None] * (b_1 - b_2) / 2)


def test_vargrad_is_the_score_part_of_leave_one_out():
    """The gradient of half the sample variance of f = log q - log p, f's direct term left out."""
    theta = distribution("bernoulli").theta.clone().requires_grad_()
    dist = rx.Bernoulli(theta)

    def f(b):
        return dist.log_prob(b).sum(-1) - torch.log(0.2 + wavy(b).square())

    est = rx.rloo(f, dist, samples=4)
    (vargrad,) = torch.autograd.grad(f(est.draw.b).var() / 2, theta)
    assert same(vargrad, est.grad)


@pytest.mark.parametrize("logit", LOGITS)
def test_disarm_is_the_mean_of_arm_given_the_pair(logit):
    """For one bit, cell by cell of (b, b'), by quadrature over u inside the cell."""
    p = 1 / (1 + math.exp(-logit))
    breaks = sorted({0.0, p, 1 - p, 1.0})
    for a, b in zip(breaks[:-1], breaks[1:], strict=True):
        u, w = gauss_legendre([a, b])
        dist = rx.Bernoulli(torch.full((len(u), 1), logit))
        draw = rx.arm.draw(dist, noise=rx.Noise(u[:, None]))
        arm, disarm = (e(wavy, draw).grad[:, 0] for e in (rx.arm, rx.disarm))
        assert same((w * arm).sum() + 0 * disarm, w.sum() * disarm)


def test_arms_with_two_samples_is_disarm():
    many = distribution("bernoulli").expand(200)
    noise = many.noise(2)
    pair = rx.Noise(dirichlet_copula(noise.u, many.theta)[0])
    arms = rx.arms(wavy, rx.arms.draw(many, noise=noise))
    assert same(arms.grad, rx.disarm(wavy, rx.disarm.draw(many, noise=pair)).grad)


@pytest.mark.parametrize("logit", LOGITS)
@pytest.mark.parametrize("samples", [2, 3, 4])
def test_arms_is_unbiased_by_the_probabilities_of_its_copula(samples, logit):
    """P(e_k / sum e > t for k in A) = max(1 - |A| t, 0)^(K-1) gives that of every b_1 .. b_K."""
    p = 1 / (1 + math.exp(-logit))
    rare = min(p, 1 - p)
    t = 1 - rare ** (1 / (samples - 1))
    patterns = torch.tensor(list(product([0.0, 1.0], repeat=samples)))

    def probability(pattern):  # inclusion and exclusion over the samples that are not rare
        ones, zeros = int(pattern.sum()), samples - int(pattern.sum())
        return sum(
            (-1) ** i * math.comb(zeros, i) * max(1 - (ones + i) * t, 0) ** (samples - 1)
            for i in range(zeros + 1)
        )

    weights = torch.tensor([probability(pattern) for pattern in patterns])
    b = (patterns if p < 0.5 else 1 - patterns).T[..., None]  # [K, patterns, 1]
    many = without_checks(rx.Bernoulli(torch.full((len(patterns), 1), logit)))
    grad = replay(rx.arms, wavy, many, many.noise(samples), b).grad[:, 0]
    exact = rx.exact_gradient(wavy, rx.Bernoulli(torch.tensor([logit])))
    assert same((weights * grad).sum(), exact[0], 1e-9)


def test_arms_makes_bits_with_the_right_probability():
    logits = torch.tensor([-6.0, -0.4, 0.9, 5.0])
    many = rx.Bernoulli(logits.expand(400_000, 4))
    generator = torch.Generator().manual_seed(0)
    b = rx.arms(wavy, many, samples=3, generator=generator).draw.b
    p = torch.sigmoid(logits)
    z = (b.mean(1) - p) / (p * (1 - p) / 400_000).sqrt()
    assert z.abs().max() < 5


def test_unordered_set_of_all_classes_is_exact():
    dist = distribution("categorical")
    est = rx.unordered_set(wavy, dist.expand(30), samples=dist.theta.shape[-1])
    assert same(est.grad, rx.exact_gradient(wavy, dist).expand_as(est.grad))
    assert same(est.value.mean(0), (dist.p * wavy(torch.eye(3))).sum().expand(30))


def test_the_value_of_an_unordered_set_estimates_the_mean_of_f():
    dist = distribution("categorical")
    generator = torch.Generator().manual_seed(3)
    value = rx.unordered_set(wavy, dist.expand(300_000), generator=generator).value.mean(0)
    exact = (dist.p * wavy(torch.eye(3))).sum()
    assert (value.mean() - exact).abs() < 5 * value.std() / math.sqrt(len(value))


@pytest.mark.parametrize("name", ["rloo", "arms", "double_cv", "rodeo"])
def test_one_sample_is_too_few(name):
    own = {"stein": smooth_stein} if name == "rodeo" else {}
    with pytest.raises(ValueError, match="samples=2 or more"):
        getattr(rx, name)(wavy, distribution("bernoulli"), samples=1, **own)


@pytest.mark.parametrize("name", ["arm", "disarm", "arms", "rodeo"])
def test_bits_are_asked_for(name):
    own = {"stein": smooth_stein} if name == "rodeo" else {}
    with pytest.raises(TypeError, match="needs a Bernoulli"):
        getattr(rx, name)(wavy, distribution("categorical"), **own)


def test_an_odd_number_of_antithetic_samples_is_refused():
    with pytest.raises(ValueError, match="even number"):
        rx.disarm(wavy, distribution("bernoulli"), samples=3)


def test_more_classes_than_there_are_cannot_be_drawn():
    with pytest.raises(ValueError, match="2 to 3 classes"):
        rx.unordered_set(wavy, distribution("categorical"), samples=4)
    with pytest.raises(ValueError, match="single choice"):
        rx.unordered_set(
            over_event(wavy, distribution("categoricals")), distribution("categoricals")
        )

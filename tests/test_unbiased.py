"""Every estimator against the exact gradient: by quadrature, and by a z-test over enumeration."""

import math

import pytest
import torch

import relax as rx
from tests import mutants
from tests.helpers import FUNCTIONS, Case, cases, distribution, draw_of, over_event, wavy
from tests.quadrature import bernoulli_mean, normal_mean

pytestmark = pytest.mark.usefixtures("float64")

TOLERANCE = 1e-6
LOGITS = (-4.0, -1.3, 0.0, 0.6, 4.0)
SAMPLES = 300_000


def ids(case: Case) -> str:
    return case.id


def quadrature_cases(unbiased: bool) -> list[Case]:
    """The estimators of one sample whose noise is (u, v): K samples have K times the axes."""
    return [
        case
        for case in cases("bernoulli", unbiased=unbiased)
        if draw_of(case.bind(dist := distribution("bernoulli")), dist).kind == "independent"
        and not draw_of(case.bind(dist), dist).sampled
    ]


def quadrature_error(case: Case, dist_class: type[rx.Bernoulli] = rx.Bernoulli) -> float:
    """The largest |E[grad] - exact| over logits and functions."""
    errors = []
    for logit in LOGITS:
        one = dist_class(torch.tensor([logit]))
        for f in FUNCTIONS.values():
            mean = bernoulli_mean(case.bind(one), f, logit, dist_class)
            errors.append(float((mean - rx.exact_gradient(f, one)).abs().max()))
    return max(errors)


@pytest.mark.parametrize("case", quadrature_cases(unbiased=True), ids=ids)
def test_unbiased_by_quadrature(case):
    assert quadrature_error(case) < TOLERANCE


@pytest.mark.parametrize("case", quadrature_cases(unbiased=False), ids=ids)
def test_biased_estimators_fail_the_quadrature(case):
    assert quadrature_error(case) > 100 * TOLERANCE


@pytest.mark.parametrize("mutant", [mutants.NoPathThroughZTilde, mutants.SwappedTheta])
def test_quadrature_catches_a_wrong_conditional_path(mutant):
    independent = Case("relax", "bernoulli", 0)
    assert quadrature_error(independent, mutant) > 100 * TOLERANCE


def z_scores(case: Case) -> list[float]:
    """The largest |z| of every function."""
    dist = distribution(case.dist)
    generator = torch.Generator().manual_seed(20260)
    estimator = case.bind(dist)
    return [
        rx.bias_test(
            estimator, over_event(f, dist), dist, samples=SAMPLES, generator=generator
        ).max_z
        for f in FUNCTIONS.values()
    ]


DISCRETE = ("bernoulli", "categorical", "categoricals", "plackett_luce")


@pytest.mark.parametrize("case", cases(*DISCRETE, unbiased=True), ids=ids)
def test_unbiased_against_enumeration(case, record_property):
    scores = z_scores(case)
    record_property("comparisons", len(scores) * distribution(case.dist).theta.numel())
    assert max(scores) < 5


@pytest.mark.parametrize("case", cases(*DISCRETE, unbiased=False), ids=ids)
def test_biased_estimators_fail_the_enumeration(case):
    assert max(z_scores(case)) > 10


@pytest.mark.parametrize("case", cases("normal", unbiased=True), ids=ids)
def test_unbiased_normal_by_quadrature(case):
    draw = draw_of(case.bind(distribution("normal")), distribution("normal"))
    if draw.kind != "independent" or draw.sampled:
        pytest.skip("more noise than one normal: against the closed form in test_zoo")

    def f(b):
        return torch.sin(2 * b.squeeze(-1)) + 0.3 * b.squeeze(-1) ** 2

    mean, log_std = 0.7, -0.6
    estimator = case.bind(rx.Normal(torch.tensor([mean]), torch.tensor([log_std])))
    found = normal_mean(estimator, f, mean, log_std)
    # E sin(2b) = sin(2 mean) exp(-2 std^2), E b^2 = mean^2 + std^2
    variance = math.exp(2 * log_std)
    damped = math.exp(-2 * variance)
    exact = [
        2 * math.cos(2 * mean) * damped + 0.6 * mean,
        (-4 * math.sin(2 * mean) * damped + 0.6) * variance,
    ]
    assert (found - torch.tensor([exact])).abs().max() < TOLERANCE


@pytest.mark.parametrize("coupled", [False, True])
def test_two_layers_are_unbiased(coupled):
    """b2 ~ p(b2|b1), f(b1, b2): each layer's estimate through b.detach() and one shared value."""
    rows = 200_000
    torch.manual_seed(5)
    theta_1 = torch.tensor([0.8, -0.5]).requires_grad_()
    weight = torch.tensor([[1.1, -0.7], [0.4, 0.9]]).requires_grad_()

    def f(b_1, b_2):
        return wavy(b_1 + 0.5 * b_2)

    def exact():
        dist_1 = rx.Bernoulli(theta_1)
        b_1 = dist_1.support()
        dist_2 = rx.Bernoulli(b_1 @ weight)
        b_2 = dist_2.support()  # [4, 4, 2]
        joint = dist_1.log_prob(b_1).sum(-1) + dist_2.log_prob(b_2).sum(-1)
        return torch.autograd.grad((joint.exp() * f(b_1, b_2)).sum(), [theta_1, weight])

    leaf_1 = theta_1.detach().expand(rows, 2).clone().requires_grad_()
    leaf_w = weight.detach().expand(rows, 2, 2).clone().requires_grad_()
    draw_1 = rx.relax.draw(rx.Bernoulli(leaf_1), coupled=coupled)
    draw_2 = rx.relax.draw(rx.Bernoulli((draw_1.b[:, None] @ leaf_w).squeeze(1)), coupled=coupled)
    value = f(draw_1.b, draw_2.b)

    def c_1(z):  # may relax the later layer too, from noise of its own
        x = torch.sigmoid(z / 0.5)
        later = torch.sigmoid((x @ weight.detach() + torch.logit(draw_2.noise.u)) / 0.5)
        return 0.8 * f(x, later)

    layers = [
        rx.relax(value, draw_1, c=c_1),
        rx.relax(value, draw_2, c=lambda z: 0.8 * f(draw_1.b, torch.sigmoid(z / 0.5))),
    ]
    rx.backward(layers)
    for leaf, truth in zip((leaf_1, leaf_w), exact(), strict=True):
        per_row = leaf.grad * rows
        z = (per_row.mean(0) - truth) / (per_row.std(0) / math.sqrt(rows))
        assert z.abs().max() < 5

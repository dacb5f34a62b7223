"""Wrong shapes and wrong distributions: one line that names the cause and the fix."""

import pytest
import torch

import relax as rx
from tests.helpers import quadratic

BERNOULLI = rx.Bernoulli(torch.zeros(4, 3))
NORMAL = rx.Normal(torch.zeros(4, 3), torch.zeros(4, 3))


def bad_c(z):
    return z.sum(-1, keepdim=True)


def in_numpy(b):
    return b.numpy().sum(-1)


class Steps(rx.Distribution):
    """A discrete distribution of one's own with the three methods that are required."""

    def reparameterize(self, u):
        return self.theta + torch.logit(u)

    def hard(self, z):
        return (z > 0).to(z.dtype)

    def log_prob(self, b):
        return torch.nn.functional.logsigmoid((2 * b - 1) * self.theta)


STEPS = Steps(torch.zeros(4, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: rx.relax(quadratic, BERNOULLI, c=bad_c), ValueError, r"c\(z\) has shape"),
        (lambda: rx.lax(quadratic, NORMAL, c=bad_c), ValueError, r"c\(z\) has shape \[4, 1\]"),
        (lambda: rx.dlax(quadratic, BERNOULLI, c=bad_c), ValueError, r"squeeze\(-1\)"),
        (lambda: rx.reinforce(bad_c, BERNOULLI), ValueError, r"f\(b\) has shape \[4, 1\]"),
        (lambda: rx.reinforce(lambda b: b, BERNOULLI), ValueError, "one number per row"),
        (lambda: rx.reinforce(lambda b: b.mean(), BERNOULLI, samples=2), ValueError, "one number"),
        (
            lambda: rx.reinforce(lambda b: b.sum(), rx.Bernoulli(torch.zeros(4, 3), replicas=1)),
            ValueError,
            "reduction='none'",
        ),
        (
            lambda: rx.reinforce(quadratic, BERNOULLI, baseline=torch.zeros(4, 1)),
            ValueError,
            "the baseline has shape",
        ),
        (lambda: rx.rebar(quadratic, NORMAL), TypeError, "discrete distribution"),
        (
            lambda: rx.relax(quadratic, NORMAL, c=quadratic),
            TypeError,
            "Normal is continuous: use grpo, lax, .* reinforce or rloo",
        ),
        (
            lambda: rx.lax(quadratic, BERNOULLI, c=quadratic),
            TypeError,
            "Bernoulli is discrete: use .*, relax,",
        ),
        (lambda: rx.pathwise(quadratic, BERNOULLI), TypeError, "continuous distribution"),
        (lambda: rx.rebar(in_numpy, BERNOULLI), TypeError, "relaxed inputs"),
        (lambda: rx.concrete(in_numpy, BERNOULLI), TypeError, "differentiates f"),
        (lambda: rx.muprop(in_numpy, BERNOULLI), TypeError, "differentiates f"),
        (lambda: rx.rebar(quadratic, BERNOULLI, relaxation="hard"), ValueError, "relaxation"),
        (
            lambda: rx.rebar(quadratic, rx.Categorical(torch.zeros(3)), relaxation="tucker"),
            TypeError,
            "needs a Bernoulli",
        ),
        (lambda: rx.exact_gradient(quadratic, NORMAL), TypeError, "discrete distribution"),
        (
            lambda: rx.surrogates.mlp(3, activation="gelu"),
            ValueError,
            "tanh, relu, leaky_relu, elu",
        ),
        (lambda: rx.surrogates.Scales(lambda_=0.0), ValueError, "above 0"),
        (
            lambda: rx.Draw(BERNOULLI, rx.Bernoulli(torch.zeros(2)).noise()),
            ValueError,
            "noise of shape",
        ),
        (
            lambda: rx.relax(torch.ones(4), BERNOULLI, c=quadratic),
            TypeError,
            "the Draw that produced b",
        ),
        (lambda: rx.rebar(torch.ones(4), BERNOULLI.draw()), TypeError, "needs f as a function"),
        (
            lambda: rx.reinforce(quadratic, BERNOULLI.draw(), samples=2),
            TypeError,
            "samples: belongs to sampling",
        ),
        (lambda: rx.reinforce(quadratic, torch.zeros(4, 3)), TypeError, "a distribution is needed"),
        (lambda: rx.reinforce(quadratic, BERNOULLI, lr=1), TypeError, "unexpected keyword"),
        (
            lambda: rx.gradient_variance({"r": rx.reinforce}, quadratic, BERNOULLI, samples=1),
            ValueError,
            "at least 2",
        ),
    ],
)
def test_misuse_is_answered_with_cause_and_fix(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: rx.relax(quadratic, STEPS, c=quadratic),
            r"condition\(b, v\).*Steps does not define condition: define it, or use grpo, nvil, "
            "reinforce or rloo",
        ),
        (
            lambda: rx.dlax(quadratic, STEPS, c=quadratic),
            "Steps does not define log_prob_z: define it, or use grpo, nvil, reinforce or rloo",
        ),
        (
            lambda: rx.lax(quadratic, STEPS, c=quadratic),
            "Steps is discrete: use grpo, nvil, reinforce or rloo",
        ),
        (lambda: rx.disarm(quadratic, STEPS), "needs a Bernoulli.*got a Steps: use grpo"),
        (lambda: rx.exact_gradient(quadratic, STEPS), "define it, or give bias_test the exact"),
    ],
)
def test_advice_for_a_discrete_distribution_of_ones_own_is_not_circular(call, message):
    """relax said: use lax; lax: use dlax; dlax: use relax. What is named works."""
    with pytest.raises(TypeError, match=message):
        call()
    for accepted in (rx.reinforce, rx.rloo):
        accepted(quadratic, STEPS)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda b: b.sum((-1, -2)), r"pass event_ndim=2\)"),
        (lambda b: b, r"\.unsqueeze\(-1\)"),
        (lambda b: b.sum(-1, keepdim=True), r"\.squeeze\(-1\)"),
    ],
)
def test_the_wrong_shape_of_f_names_event_ndim(f, message):
    with pytest.raises(ValueError, match=message):
        rx.reinforce(f, rx.Bernoulli(torch.zeros(4, 3, 2)))


@pytest.mark.parametrize("result", [None, object(), "three"])
def test_f_that_returns_no_numbers_is_named(result):
    with pytest.raises(TypeError, match="f must return a tensor or numbers.*returned"):
        rx.reinforce(lambda b: result, BERNOULLI)


@pytest.mark.parametrize(
    "f", [lambda b: (b - 2).log().sum(-1), lambda b: [1.0, 2.0, 3.0, float("nan")]]
)
def test_nan_in_f_is_refused_where_the_distribution_validates(f):
    with pytest.raises(ValueError, match=r"reinforce: f\(b\) is NaN for [14] rows"):
        rx.reinforce(f, BERNOULLI)
    unchecked = rx.Bernoulli(torch.zeros(4, 3), validate=False)
    assert rx.reinforce(f, unchecked).value.isnan().any()
    rx.reinforce(lambda b: (1 + b.sum(-1)) / 0, BERNOULLI)  # infinite is a number


def test_a_normal_may_have_one_number():
    for dist in (rx.Normal(torch.ones(4, 3), 0.0), rx.Normal(1.0, torch.zeros(4, 3))):
        assert torch.equal(dist.theta, torch.tensor([1.0, 0.0]).expand(4, 3, 2))
    with pytest.raises(TypeError, match="must be a tensor"):
        rx.Normal(0.0, 0.0)


def test_a_draw_is_replayed_at_a_distribution_of_torch():
    logits = torch.randn(4, 3)
    draw = rx.Bernoulli(logits).draw()
    logits.requires_grad_()
    rx.backward(
        rx.reinforce(quadratic(draw.b), draw.at(torch.distributions.Bernoulli(logits=logits)))
    )
    assert logits.grad is not None

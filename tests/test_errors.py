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
        (lambda: rx.relax(quadratic, NORMAL, c=quadratic), TypeError, "lax or pathwise"),
        (lambda: rx.lax(quadratic, BERNOULLI, c=quadratic), TypeError, "use relax"),
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
        (lambda: rx.estimate.get("relaxx"), ValueError, "known: arm"),
        (lambda: rx.exact_gradient(quadratic, NORMAL), TypeError, "discrete distribution"),
        (lambda: rx.surrogates.mlp(3, activation="gelu"), ValueError, "tanh, relu, elu"),
        (lambda: rx.surrogates.Scales(lambda_=0.0), ValueError, "above 0"),
        (
            lambda: rx.Draw(BERNOULLI, rx.Bernoulli(torch.zeros(2)).noise()),
            ValueError,
            "noise of shape",
        ),
        (lambda: rx.relax(torch.ones(4), BERNOULLI, c=quadratic), TypeError, "goes with the Draw"),
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

"""Wrong shapes and wrong distributions: one line that names the culprit and the mend."""

import pytest
import torch

import relax as rx
from tests.helpers import quadratic

OTHER_NOISE = rx.noise("relax", rx.Bernoulli(torch.zeros(2)))
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
            "replica axes",
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
            "for a Bernoulli",
        ),
        (lambda: rx.noise("relaxx", BERNOULLI), ValueError, "known: reinforce"),
        (lambda: rx.exact_gradient(quadratic, NORMAL), TypeError, "discrete distribution"),
        (lambda: rx.surrogates.mlp(3, activation="gelu"), ValueError, "tanh, relu, elu"),
        (lambda: rx.surrogates.Scales(lambda_=0.0), ValueError, "above 0"),
        (
            lambda: rx.relax(
                quadratic,
                BERNOULLI,
                c=quadratic,
                noise=rx.noise("relax", rx.Bernoulli(torch.zeros(2))),
            ),
            ValueError,
            "noise of shape",
        ),
        (
            lambda: rx.gradient_variance({"r": rx.reinforce}, quadratic, BERNOULLI, samples=1),
            ValueError,
            "at least 2",
        ),
    ],
)
def test_misuse_is_answered_with_the_culprit(call, error, message):
    with pytest.raises(error, match=message):
        call()

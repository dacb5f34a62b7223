"""Diagnostics against numbers that are known."""

from functools import partial

import pytest
import torch

import relax as rx
from relax.moments import restart
from tests.helpers import quadratic, smooth_surrogate

pytestmark = pytest.mark.usefixtures("float64")


def toy(b):
    return (b - 0.499).square().sum(-1)


def test_exact_gradient_of_the_toy():
    """d/dl [p (1-t)^2 + (1-p) t^2] = (1 - 2t) p (1 - p)."""
    logit = torch.tensor([0.3])
    p = torch.sigmoid(logit)
    expected = (1 - 2 * 0.499) * p * (1 - p)
    assert torch.allclose(rx.exact_gradient(toy, rx.Bernoulli(logit)), expected)


def test_variance_of_reinforce_at_the_start_of_the_toy():
    """At p = .5, t = .499 it is .015625; its logarithm -4.159 is where the paper's curve starts."""
    dist = rx.Bernoulli(torch.zeros(1))
    found = rx.gradient_variance({"reinforce": rx.reinforce}, toy, dist, samples=200_000)
    assert abs(float(found["reinforce"].log()) + 4.159) < 0.01


def test_every_estimator_starts_from_the_same_noise():
    dist = rx.Bernoulli(torch.tensor([0.2, -0.4]))
    found = rx.gradient_variance(
        {"a": rx.reinforce, "b": partial(rx.reinforce, baseline=0.0)}, quadratic, dist
    )
    assert torch.equal(found["a"], found["b"])


def test_signal_to_noise_is_mean_over_deviation():
    dist = rx.Bernoulli(torch.tensor([0.8]))
    generator = torch.Generator().manual_seed(0)
    found = rx.signal_to_noise(
        {"r": rx.reinforce}, quadratic, dist, samples=400_000, generator=generator
    )
    variance = rx.gradient_variance({"r": rx.reinforce}, quadratic, dist, samples=400_000)
    expected = rx.exact_gradient(quadratic, dist).abs() / variance["r"].sqrt()
    assert torch.allclose(found["r"], expected, rtol=0.02)


def test_bias_test_sees_a_bias_of_five_percent():
    def biased(f, dist, **options):
        est = rx.rebar(f, dist, **options)
        return rx.Estimate(est.theta, 1.05 * est.grad, est.value, est.draw)

    dist = rx.Bernoulli(torch.tensor([0.8, 1.5]))
    generator = torch.Generator().manual_seed(0)
    assert rx.bias_test(rx.rebar, quadratic, dist, generator=generator).max_z < 5
    assert rx.bias_test(biased, quadratic, dist, generator=generator).max_z > 5


# ---- each estimator's numbers are its own ----


def test_numbers_do_not_depend_on_what_is_measured_beside():
    """A5: rloo4 .206 and reinforce 1.102 were .656 and .542 when measured together, or an error."""
    dist = rx.Bernoulli(torch.tensor([0.5, -1.0, 2.0]))
    several = {
        "rloo": rx.rloo,
        "rloo4": partial(rx.rloo, samples=4),
        "reinforce": rx.reinforce,
        "disarm": rx.disarm,
        "pairs4": partial(rx.disarm, samples=4),
        "arms": rx.arms,
    }
    for measure in (rx.gradient_variance, rx.signal_to_noise):
        generators = [torch.Generator().manual_seed(7) for _ in range(2 + len(several))]
        together = measure(several, quadratic, dist, generator=generators[0])
        backwards = dict(reversed(several.items()))
        reverse = measure(backwards, quadratic, dist, generator=generators[1])
        for (name, estimator), generator in zip(several.items(), generators[2:], strict=True):
            alone = measure({name: estimator}, quadratic, dist, generator=generator)[name]
            assert torch.equal(together[name], alone) and torch.equal(reverse[name], alone)


def test_numbers_do_not_depend_on_what_is_measured_beside_with_streams():
    dist = rx.Bernoulli(torch.zeros(2, 4, 3), replicas=1)
    streams = rx.replicas.Streams([3, 4])
    both = {"one": rx.reinforce, "other": rx.reinforce}
    found = {
        name: e(quadratic, dist, generator=streams).grad for name, e in both.items()
    }  # the second call continues the stream
    assert not torch.equal(found["one"], found["other"])
    again = restart(streams, dist.theta.device)
    grads = [rx.reinforce(quadratic, dist, generator=again()).grad for _ in range(2)]
    assert torch.equal(*grads)


# ---- a direct dependence of f on theta ----


@pytest.mark.parametrize("name", ["reinforce", "rloo", "relax", "disarm", "rebar"])
def test_a_direct_dependence_is_no_bias(name):
    """A6: f(b) = (b w)^2 with w the logits themselves was 803 standard errors off."""
    w = torch.tensor([0.6, -0.9, 1.2]).requires_grad_()
    own = {"c": smooth_surrogate(rx.Bernoulli(w))} if name == "relax" else {}
    test = rx.bias_test(
        getattr(rx, name),
        lambda b: (b * w).sum(-1) ** 2,
        rx.Bernoulli(w),
        samples=100_000,
        generator=torch.Generator().manual_seed(0),
        **own,
    )
    assert test.max_z < 5


def test_the_exact_gradient_has_the_direct_term():
    w = torch.tensor([0.6, -0.9]).requires_grad_()

    def expectation(w):
        b = rx.Bernoulli(w).support()
        return (rx.Bernoulli(w).joint_log_prob(b).exp() * (b * w).sum(-1) ** 2).sum()

    (whole,) = torch.autograd.grad(expectation(w), w)
    torch.testing.assert_close(
        rx.exact_gradient(lambda b: (b * w).sum(-1) ** 2, rx.Bernoulli(w)), whole
    )


# ---- rows that see each other ----


@pytest.mark.parametrize("settings", [{}, {"coupled": True}, {"samples": 3}])
def test_a_c_that_mixes_rows_by_a_positive_dim_is_found(settings):
    """Copies of the batch on a further axis moved z.softmax(1) from the rows to the copies."""
    dist = rx.Bernoulli(torch.linspace(-1, 1, 12).reshape(4, 3))
    axis = {"coupled": 0, "samples": 2}.get(next(iter(settings), ""), 1)
    net = torch.nn.Linear(3, 1)

    def by_positive_dim(z):
        return net(3 * z.softmax(axis)).squeeze(-1)

    def by_negative_dim(z):
        return net(3 * z.softmax(-2)).squeeze(-1)

    relax = partial(rx.relax, **settings)
    with pytest.raises(ValueError, match="treat every row alone"):
        rx.bias_test(relax, quadratic, dist, c=by_positive_dim, samples=10_000)
    assert rx.bias_test(relax, quadratic, dist, c=by_negative_dim, samples=50_000).max_z > 5


def test_an_f_that_mixes_rows_by_a_positive_dim_is_found():
    dist = rx.Bernoulli(torch.linspace(-1, 1, 12).reshape(4, 3))
    for name in ("reinforce", "rloo", "disarm", "arms", "local_expectation", "rao_gumbel"):
        estimator = getattr(rx, name)
        axis = 1 if rx.ESTIMATORS[name].samples > 1 else 0
        with pytest.raises(ValueError, match="treat every row alone"):
            rx.bias_test(
                estimator,
                lambda b, axis=axis: quadratic(b - b.mean(axis, keepdim=True)),
                dist,
                exact=torch.zeros(4, 3),
                samples=100,
            )
        rx.bias_test(estimator, quadratic, dist, samples=100)


def test_an_f_that_draws_random_numbers_may_be_tested():
    dist = rx.Bernoulli(torch.linspace(-1, 1, 12).reshape(4, 3))
    exact = rx.exact_gradient(quadratic, dist)
    noisy = rx.bias_test(
        rx.rloo,
        lambda b: quadratic(b) + torch.randn(b.shape[:-1]),
        dist,
        exact=exact,
        samples=10_000,
    )
    assert noisy.max_z < 5


# ---- the gradient of network weights ----


def network():
    torch.manual_seed(0)
    encoder, decoder = torch.nn.Linear(4, 3), torch.nn.Linear(3, 1)
    x = torch.randn(5, 4)
    params = [*encoder.parameters(), *decoder.parameters()]

    def f(b):
        return decoder(b).squeeze(-1).square() + 0.1 * encoder(x).sum(-1)  # direct as well

    return params, f, rx.Bernoulli(encoder(x))


def test_the_exact_gradient_of_weights_is_that_of_the_mean_over_the_batch():
    params, f, dist = network()
    b = dist.support()
    mean = (dist.joint_log_prob(b).exp() * f(b)).sum(0).mean()
    expected = torch.autograd.grad(mean, params, retain_graph=True)
    found = rx.exact_gradient(f, dist, of=params)
    torch.testing.assert_close(found, torch.cat([g.flatten() for g in expected]))


@pytest.mark.parametrize("name", ["reinforce", "relax"])
def test_the_gradient_of_weights_is_tested_for_bias(name):
    params, f, dist = network()
    own = {"c": smooth_surrogate(rx.Bernoulli(torch.zeros(3)))} if name == "relax" else {}
    generator = torch.Generator().manual_seed(1)
    test = rx.bias_test(
        getattr(rx, name), f, dist, of=params, samples=1500, generator=generator, **own
    )
    assert test.exact.shape == (sum(p.numel() for p in params),) and test.max_z < 5


def test_bias_and_noise_of_the_weights_gradient_are_what_backward_gives():
    params, f, dist = network()
    generator = torch.Generator().manual_seed(1)
    found = rx.gradient_variance(
        {"r": rx.reinforce}, f, dist, samples=50, generator=generator, of=params
    )
    generator, draws = torch.Generator().manual_seed(1), []
    for _ in range(50):
        params, f, dist = network()
        rx.backward(rx.reinforce(f, dist, generator=generator))
        draws.append(torch.cat([p.grad.flatten() for p in params]))
    torch.testing.assert_close(found["r"], torch.stack(draws).var(0))
    params, f, dist = network()
    snr = rx.signal_to_noise({"r": rx.reinforce}, f, dist, samples=50, of=params)["r"]
    assert snr.shape == found["r"].shape and snr.isfinite().all()

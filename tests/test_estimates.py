"""Mistakes that leave an estimator unbiased, in its value, baseline or variance; biased ones."""

from functools import partial

import pytest
import torch

import relax as rx
from tests.helpers import quadratic


@pytest.mark.parametrize("name", ["rloo", "arms", "double_cv"])
def test_weights_of_f_get_the_gradient_of_the_mean_over_samples(name):
    """Four samples of three rows: twice as many samples leave the gradient its size."""
    w = torch.nn.Parameter(torch.tensor([0.7, -0.3]))
    logits = torch.nn.Parameter(torch.tensor([[0.4, -1.0]] * 3))
    estimator = rx.ESTIMATORS[name].function
    est = estimator(lambda b: (b * w).sum(-1).square(), rx.Bernoulli(logits), samples=4)
    rx.backward(est)
    b = est.draw.b  # [4, 3, 2]
    wanted = (2 * (b * w).sum(-1, keepdim=True) * b).mean((0, 1)).detach()
    torch.testing.assert_close(w.grad, wanted)


def test_rodeo_on_one_bit_is_its_formula(float64):
    """g = mean_k {f_k - f_j - a_j} (b_k - p) + mean_k A[h'(b - p)](b_k), with K = 2 and one bit.

    (A h)(b) = P(b flips) [h(1 - b) - h(b)], P(flips) = 1 - p at b = 1 and p at b = 0.
    """
    p = torch.tensor(0.3)

    def f(b):
        return torch.exp(1.3 * b).squeeze(-1)

    def stein(linear, mean):
        return torch.tanh(0.9 * linear - mean), 0.6 * torch.sin(linear + 0.5 * mean)

    for bits in ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)):
        u = torch.tensor([0.9 if bit else 0.1 for bit in bits])[:, None]
        dist = rx.Bernoulli(torch.logit(p).reshape(1))
        est = rx.rodeo(f, rx.Draw(dist, rx.Noise(u)), stein=stein)
        assert est.draw.b.flatten().tolist() == list(bits)
        total = torch.zeros(())
        a_h = {}
        for k in (0, 1):
            b, other = torch.tensor(bits[k]), torch.tensor(bits[1 - k])
            derivative, level = 1.3 * torch.exp(1.3 * other), torch.exp(1.3 * other)
            here, there = derivative * (b - other), derivative * (1 - b - other)
            (h, score), (h_flip, score_flip) = stein(here, level), stein(there, level)
            flip = 1 - p if b else p
            a_h[k] = flip * (h_flip - h)
            total = total + flip * (score_flip * (1 - b - p) - score * (b - p)) / 2
        for k in (0, 1):
            b, other = torch.tensor(bits[k]), torch.tensor(bits[1 - k])
            signal = torch.exp(1.3 * b) - torch.exp(1.3 * other) - a_h[1 - k]
            total = total + signal * (b - p) / 2
        torch.testing.assert_close(est.grad.squeeze(), total, rtol=1e-10, atol=1e-12)


def test_muprop_fits_its_baseline_to_what_the_expansion_leaves():
    """For f linear in b nothing is left, so the objective is the baseline's square."""
    weight, baseline = torch.tensor([0.8, -1.5, 0.4]), torch.tensor(0.6)
    dist = rx.Bernoulli(torch.tensor([1.3, -0.8, 0.4]).expand(5, 3))
    est = rx.muprop(lambda b: b @ weight + 3, dist, baseline=baseline.expand(5))
    torch.testing.assert_close(est.objective, torch.full((5,), 0.36))

    def cubic(b):
        return (b @ weight) ** 3

    est = rx.muprop(cubic, dist, baseline=baseline.expand(5))
    m = torch.sigmoid(dist.theta)
    tangent = 3 * (m @ weight).square() * ((est.draw.b - m) @ weight) + cubic(m)
    wanted = (cubic(est.draw.b) - tangent - 0.6).square()
    torch.testing.assert_close(est.objective, wanted)


@pytest.mark.parametrize("lambda_", [0.2, 2.0])
def test_straight_through_gumbel_has_the_derivative_of_its_temperature(float64, lambda_):
    """df/db times sigma'(z / lambda) / lambda."""
    theta, u = torch.tensor([0.4, -1.1]), torch.tensor([0.7, 0.35])
    draw = rx.Draw(rx.Bernoulli(theta), rx.Noise(u))
    est = rx.st_gumbel(quadratic, draw, lambda_=lambda_)
    z = theta + torch.logit(u)
    b = (z > 0).double().requires_grad_()
    (df,) = torch.autograd.grad(quadratic(b), b)
    s = torch.sigmoid(z / lambda_)
    torch.testing.assert_close(est.grad, df * s * (1 - s) / lambda_)


def test_rao_gumbel_takes_ten_draws():
    """At one draw it would be straight-through Gumbel-softmax given b, with its variance."""
    dist = rx.Bernoulli(torch.zeros(20_000, 1))
    generator = torch.Generator().manual_seed(0)

    def spread(estimator):
        est = estimator(lambda b: b.squeeze(-1), dist, lambda_=0.3, generator=generator)
        grads, on = est.grad, est.draw.b > 0
        return (grads[on].var() + grads[~on].var()) / 2

    ratio = spread(rx.st_gumbel) / spread(rx.rao_gumbel)
    assert 9 < ratio < 11.2


def test_signal_to_noise_does_not_depend_on_the_scale_of_f():
    dist = rx.Bernoulli(torch.tensor([0.5, -1.0]))
    found = []
    for scale in (1.0, 10.0):
        estimators = {"reinforce": partial(rx.reinforce)}
        generator = torch.Generator().manual_seed(0)
        f = partial(lambda scale, b: scale * quadratic(b), scale)
        found.append(rx.signal_to_noise(estimators, f, dist, samples=500, generator=generator))
    torch.testing.assert_close(found[0]["reinforce"], found[1]["reinforce"], rtol=1e-5, atol=0)


def test_a_variance_over_several_chunks_is_that_of_all_draws(monkeypatch):
    """Draws that come in chunks with different means, against torch.var of them all."""
    monkeypatch.setattr("relax.moments.CHUNK", 4)
    dist, made = rx.Bernoulli(torch.tensor([0.5, -1.0])), []

    def drifting(f, many, **own):
        est = rx.reinforce(f, many, **own)
        made.append(est.grad + 5 * len(made))
        return rx.Estimate(est.theta, made[-1], est.value, est.draw)

    found = rx.gradient_variance({"drifting": drifting}, quadratic, dist, samples=9)
    assert len(made) == 5
    torch.testing.assert_close(found["drifting"].float(), torch.cat(made).var(0))


def test_integers_of_a_stream_are_uniform():
    streams = rx.replicas.Streams([3, 4])
    counts = torch.stack([row.bincount(minlength=4) for row in streams.randint(4, 40_000)])
    assert ((counts - 10_000).abs() < 500).all()


def test_rmsprop_divides_by_the_root_plus_eps():
    p = torch.nn.Parameter(torch.zeros(1, 2))
    p.grad = torch.tensor([[1e-6, 1.0]])
    rx.replicas.RMSprop([p], 0.1, alpha=0.99, eps=1e-3).step()
    wanted = [-0.1 * g / ((0.01 * g * g) ** 0.5 + 1e-3) for g in (1e-6, 1.0)]
    torch.testing.assert_close(p.detach()[0], torch.tensor(wanted))


def test_a_surrogate_with_zero_scale_starts_at_zero():
    c = rx.surrogates.mlp(3, hidden=5, zero_scale=True)
    assert (c(torch.randn(7, 3)) == 0).all()

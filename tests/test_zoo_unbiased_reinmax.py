"""unbiased_reinmax: its derivation step by step, its limit, its starting values."""

import math

import pytest
import torch

import relax as rx
from tests.helpers import linear, quadratic, wavy
from tests.quadrature import gauss_legendre

pytestmark = pytest.mark.usefixtures("float64")

LOGITS = (-3.0, -0.7, 0.0, 1.4)
THREE = torch.tensor([1.3, -0.8, 0.4])


def same(a, b, tolerance=1e-12):
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance)


def three_bits(n, seed=0):
    """The distribution of three bits, in n rows, and one draw for all estimators."""
    dist = rx.Bernoulli(THREE.double().expand(n, 3))
    generator = torch.Generator().manual_seed(seed)
    return dist, rx.unbiased_reinmax.draw(dist, generator=generator)


# ---- the derivation ----


@pytest.mark.parametrize("logit", LOGITS)
def test_unbiased_reinmax_is_coupled_relax_with_its_noise_given_b_taken_out(logit):
    """The same sample with gamma = 0, the same mean given b with any; no noise for a linear f."""
    p, lambda_, eta = 1 / (1 + math.exp(-logit)), 0.4, 0.7

    def h(z):  # 1 - v = P(beyond z | b), beyond as seen from the threshold
        p_b = torch.where(z > 0, p, 1 - p)
        s = torch.where(z > 0, 1.0, -1.0)
        beyond = torch.sigmoid(s * (logit - z)) / p_b
        return (s + 1 - s * beyond ** (1 / (lambda_ * (1 - p_b)))) / 2

    for low, high in ((0.0, 1 - p), (1 - p, 1.0)):
        u, w = gauss_legendre([low, high])
        dist = rx.Bernoulli(torch.full((len(u), 1), logit))
        v = (u - low) / (high - low) if low else 1 - u / high
        draw = rx.Draw(dist, rx.Noise(u[:, None], v[:, None]))
        coupled = rx.Draw(dist, rx.Noise(u[:, None]))
        for f in (linear, wavy):
            plain = rx.relax(f, coupled, c=lambda z, f=f: eta * f(h(z)))
            own = {"eta": eta, "lambda_": lambda_}
            zero, rao = (rx.unbiased_reinmax(f, draw, gamma=gamma, **own) for gamma in (0.0, 1.0))
            assert same(zero.grad, plain.grad, 1e-9)
            means = [(w[:, None] * e.grad).sum() / w.sum() for e in (plain, rao)]
            assert same(*means, 1e-9)
            if f is linear:
                assert same(rao.grad, rao.grad[:1].expand_as(rao.grad))
                assert plain.grad.std() > 1e-3


@pytest.mark.parametrize("f", [linear, wavy])
@pytest.mark.parametrize("eta", [0.6, 1.0])
def test_the_mean_given_b_is_a_score_with_a_baseline_at_one_half(f, eta):
    """Step 3: E[g_d | b, v_-d] = s q [f(b) - eta c(h_-d, 1/2)], by quadrature over v_d."""
    own = {"eta": eta, "lambda_": 0.7, "gamma": 0.8}
    v_d, weight = gauss_legendre([0.0, 1e-3, 1e-2, 0.1, 0.5, 0.9, 1.0])
    dist = rx.Bernoulli(THREE.double().expand(len(v_d), 3))
    for d in range(3):
        for seed in range(4):
            generator = torch.Generator().manual_seed(seed)
            u, v = torch.rand(2, 1, 3, generator=generator).expand(2, len(v_d), 3).clone()
            v[:, d] = v_d
            draw = rx.Draw(dist, rx.Noise(u, v))
            mean = weight @ rx.unbiased_reinmax(f, draw, **own).grad[:, d]
            b, q = draw.b[0], (draw.b[0] - dist.p[0]).abs()
            n = 1 / (own["lambda_"] * q)
            h = b - (b - 0.5) * (1 - v[0]) ** n
            h[d] = 0.5
            # gamma's term of another coordinate is noise of mean 0 over that coordinate's v
            other = linear_noise(f, b, v[0], n, d, own["gamma"])
            wanted = (b - dist.p[0])[d] * (f(b) - eta * (f(h) - other))
            assert mean.item() == pytest.approx(wanted.item(), abs=1e-7)


def linear_noise(f, b, v, n, d, gamma):
    """G (h - E[h|b]) of all coordinates but d."""
    b = b.clone().requires_grad_()
    (df,) = torch.autograd.grad(f(b), b)
    centred = -(b.detach() - 0.5) * ((1 - v) ** n - 1 / (n + 1))
    return gamma * sum(df[k] * centred[k] for k in range(3) if k != d)


def test_local_expectation_is_the_mean_of_that_score_over_its_bit():
    """So D + 1 evaluations are better spent there: s q [f(b) - c(h_-d, 1/2)], averaged over b_d."""
    dist, draw = three_bits(50)
    exact, p = rx.local_expectation(wavy, draw).grad, dist.p
    for d in range(3):
        mean = torch.zeros(50)
        for value in (0.0, 1.0):
            b = draw.b.clone()
            b[:, d] = value
            middle = 0.3 * draw.b.clone() + 0.2  # any h of the others
            middle[:, d] = 0.5
            chance = p[:, d] if value else 1 - p[:, d]
            mean += chance * (value - p[:, d]) * (wavy(b) - wavy(middle))
        assert same(mean, exact[:, d])


@pytest.mark.parametrize("f", [linear, quadratic, wavy])
def test_reinmax_is_the_limit_of_lambda_to_zero(f):
    dist, draw = three_bits(200)
    ours = rx.unbiased_reinmax(f, draw, lambda_=1e-13, eta=1.0, gamma=1.0).grad
    reinmax = rx.reinmax(f, rx.Draw(dist, rx.Noise(draw.noise.u))).grad
    assert (ours - reinmax).abs().max() < 1e-10


def test_the_jump_brings_what_reinmax_lacks():
    """One bit, small lambda: the jump's mean is s q [f(b) - f(1/2)] - f'(b) q/2."""
    lambda_ = 0.02
    for logit in LOGITS:
        for b in (0.0, 1.0):
            q = 1 / (1 + math.exp(logit if b else -logit))
            t, weight = gauss_legendre(
                [0.0, 1.0]
            )  # t = (1 - v)^n has density lambda q t^(lambda q - 1)
            density = lambda_ * q * t ** (lambda_ * q - 1)
            u = torch.full_like(t, 1 - 1e-9 if b else 1e-9)[:, None]
            v = -torch.expm1(lambda_ * q * t.log())[:, None]
            dist = rx.Bernoulli(torch.full((len(t), 1), logit))
            f = lambda b: torch.sin(3 * b).sum(-1)  # noqa: E731
            grad = rx.unbiased_reinmax(f, rx.Draw(dist, rx.Noise(u, v)), lambda_=lambda_).grad[:, 0]
            rest = rx.unbiased_reinmax(
                f, rx.Draw(dist, rx.Noise(u, torch.full_like(v, 1 - 1e-12))), lambda_=lambda_
            ).grad[:, 0]
            jump = (weight * density * (grad - rest)).sum()
            s = 2 * b - 1
            slope = 3 * math.cos(3 * b)
            wanted = s * q * (math.sin(3 * b) - math.sin(1.5)) - slope * q / 2
            assert jump.item() == pytest.approx(wanted, rel=0.05, abs=1e-3)


# ---- its noise, and phi ----


def test_unbiased_reinmax_without_its_linear_term_is_noisier():
    """Where f is smooth the linear term takes most of the noise of h given b away."""
    dist = rx.Bernoulli(torch.linspace(-1, 1, 12).expand(4000, 12))
    weight = torch.linspace(-1, 1.5, 12)

    def f(b):
        return (b @ weight - 0.4).square()

    def variance(gamma):
        generator = torch.Generator().manual_seed(0)
        est = rx.unbiased_reinmax(f, dist, lambda_=0.5, gamma=gamma, generator=generator)
        return est.grad.var(0).sum()

    with_term, without = variance(1.0), variance(0.0)
    assert with_term < 0.6 * without


def test_unbiased_reinmax_of_a_linear_f_does_not_feel_the_noise_of_h():
    """Its linear term takes all of c(h) away, so the estimate is a function of b alone."""
    weight = torch.tensor([0.8, -1.5, 0.4])
    dist = rx.Bernoulli(torch.tensor([1.3, -0.8, 0.4]))
    u, v = torch.tensor([0.7, 0.2, 0.5]), torch.tensor([0.1, 0.5, 0.8])
    grads = [
        rx.unbiased_reinmax(
            lambda b: b @ weight, rx.unbiased_reinmax.draw(dist, noise=noise), lambda_=0.4
        ).grad
        for noise in (rx.Noise(u, v), rx.Noise(u, 1 - v))
    ]
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-12)


def test_unbiased_reinmax_learns_and_has_less_variance_than_rebar():
    """On 40 bits behind a linear decoder: the more coordinates, the nearer to linear in each."""
    torch.manual_seed(6)
    weight, pixels = torch.randn(40, 30), torch.randint(2, (30,)).double()

    def f(b):
        return -rx.Bernoulli((2 * b - 1) @ weight).log_prob(pixels).sum(-1)

    many = rx.Bernoulli(torch.randn(40).expand(4_000, 40))
    scales = rx.surrogates.Scales(1.0, 0.1, gamma=1.0)
    est = rx.unbiased_reinmax(f, many, eta=scales.eta, lambda_=scales.lambda_, gamma=scales.gamma)
    rx.variance_objective(est).backward()
    assert all(p.grad.abs() > 1e-2 for p in scales.parameters())
    rebar = rx.rebar(f, many, eta=1.0, lambda_=0.1).grad
    assert est.grad.var(0).sum() < 0.5 * rebar.var(0).sum()


def test_unbiased_reinmax_learns_at_extreme_logits_in_float32():
    torch.set_default_dtype(torch.float32)
    logits = torch.linspace(-150, 150, 301).expand(100, 301)
    scales = rx.surrogates.Scales(1.0, 0.1)
    est = rx.unbiased_reinmax(
        lambda b: b.sum(-1).sin(), rx.Bernoulli(logits), eta=scales.eta, lambda_=scales.lambda_
    )
    rx.variance_objective(est).backward()
    assert all(p.grad.isfinite() for p in scales.parameters())

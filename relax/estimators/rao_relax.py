"""Rao-Blackwellised RELAX: the noise of z given b integrated out of RELAX, exactly to first order.

    g = [f(b) - eta (c(h) - G (h - E[h|b]))] d/dtheta log p(b|theta)
        + eta [(c'(h) - G) w + G E[w|b]]

    h = b - s/2 (1 - v)^n,   w = dh/dz (dz/dtheta - dz~/dtheta) = q n/2 (1 - v)^n
    E[h|b] = b - s/2 / (n + 1),   E[w|b] = q n/2 / (n + 1)
    s = 2b - 1,   q = P(b flipped),   n = 1 / (lambda q),   G = gamma c' at b

With gamma = 0 this is RELAX with coupled noise, z~ = z: v says where z lies between the threshold
(v = 0) and infinity given b, and h relaxes b as sigma_lambda(z) does, but with moments in closed
form. On the VAEs more than half of RELAX's variance is not that f(b) - c(z~) misses its mark; it is
the noise v that comes on top of b. It enters through h and w, nearly linearly where there are many
bits, and their conditional means are known. Any G that does not look at v leaves the mean alone,
as do any c, eta, lambda and gamma (phi), so the estimator is unbiased.

samples > 1 draws the b together, mutually antithetic, and the first factor becomes that of ARMS
(DisARM for two). Two evaluations of f per sample, differentiable at b and at h, when c is f.
Source: this repository; from Grathwohl et al. (2018), equation 8, Titsias and Shi (2022) for the
linear term, Dimitriev and Zhou (2021) for the samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from relax.distributions import Bernoulli, Draw, Noise, RandomSource
from relax.estimators.arms import copula, debias
from relax.estimators.control_variate import Surrogate
from relax.estimators.estimate import (
    Estimate,
    Function,
    bernoulli,
    evaluate,
    make_draw,
    make_estimate,
    same_shape,
    several,
    weigh,
)
from relax.estimators.rloo import leave_one_out
from relax.estimators.slope import slope
from relax.surrogates import lift


def rao_relax(
    f: Function,
    dist: Bernoulli,
    *,
    c: Surrogate | None = None,
    eta: Tensor | float = 1.0,
    lambda_: Tensor | float = 0.1,
    gamma: Tensor | float = 1.0,
    samples: int = 1,
    noise: Noise | None = None,
    generator: RandomSource = None,
    b: Tensor | None = None,
) -> Estimate:
    """Rao-Blackwellised RELAX with eta, lambda and gamma numbers or tensors [*replicas].

    f: b [(K,) *batch, *event] -> [(K,) *batch]; differentiable unless c is given.
    c: a surrogate of the relaxed bits h, like b and in (0, 1), of the same form; f by default. It
        may offer c.value_and_grad(h).
    noise: u makes b, v makes h; both are needed.
    """
    dist = bernoulli("rao_relax", dist)
    noise = dist.noise(samples, generator) if noise is None else noise
    if noise.v is None:
        raise ValueError("rao_relax has no coupled noise: noise.v makes h given b")
    together = noise.u.ndim > len(dist.sample_shape)
    u = copula(noise.u, dist.theta.detach()) if together else noise.u
    draw = make_draw("rao_relax", dist, samples, Noise(u, noise.v), None, b)
    b, s = draw.b, 2 * draw.b - 1
    if c is None:
        f_b, G = slope("rao_relax", f, b, draw)
    else:
        f_b = evaluate("rao_relax", f, b, draw)
        G = attached_slope(c, b, f_b.shape, create_graph=False)[1].detach()
    lead = int(together)
    lambda_ = torch.as_tensor(lift(lambda_, b, lead))
    q = torch.sigmoid(-s * dist.theta.detach())
    n = 1 / (lambda_ * q.clamp(min=torch.finfo(q.dtype).eps))  # 1 / q overflows
    tail = torch.exp(n * torch.log1p(-noise.v))  # (1 - v)^n
    h, mean_h = b - s / 2 * tail, b - s / 2 / (n + 1)
    w, mean_w = q * n / 2 * tail, q * n / 2 / (n + 1)
    c_h, dc = attached_slope(c or f, h, f_b.shape, create_graph=c is not None or h.requires_grad)
    G = lift(gamma, b, lead) * G
    eta_b, eta_g = lift(eta, c_h, lead), lift(eta, b, lead)
    linear = (G * (h - mean_h)).flatten(c_h.ndim).sum(-1)  # G (h - E[h|b])
    grad = (
        # [f(b) - eta (c(h) - G (h - E[h|b]))] d/dtheta log p(b|theta)
        weighted_score(f_b.detach() - eta_b * (c_h - linear), draw)
        # + eta [(c'(h) - G) w + G E[w|b]]
        + eta_g * ((dc - G) * w + G * mean_w)
    )
    return make_estimate(dist, draw, grad, f_b)


def attached_slope(
    c: Surrogate, h: Tensor, shape: torch.Size, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """c(h) and c'(h), both attached to phi, and through h to lambda.

    create_graph: whether c'(h) depends on phi; that of f at a fixed lambda does not.
    """
    if hasattr(c, "value_and_grad"):
        c_h, dc = c.value_and_grad(h)
    else:
        with torch.enable_grad():
            h = h if h.requires_grad else h.detach().requires_grad_()
            c_h = c(h)
            (dc,) = torch.autograd.grad(
                c_h.sum(), h, create_graph=create_graph, retain_graph=True, materialize_grads=True
            )
    same_shape("rao_relax", "c(h)", c_h, shape)
    return c_h, dc


def weighted_score(signal: Tensor, draw: Draw) -> Tensor:
    """signal d/dtheta log p(b|theta); for antithetic samples with leave-one-out, as ARMS does."""
    if not draw.sampled:
        return weigh(signal, draw.dist.score(draw.b))
    k = several("rao_relax", draw)
    score = draw.dist.score(draw.b) * debias(draw.dist.theta.detach(), k)
    return weigh(signal - leave_one_out(signal, k), score)

"""RELAX with a linear control variate for the noise of z given b, and antithetic samples."""

from __future__ import annotations

import torch
from torch import Tensor

from relax.control_variate import NOT_CONNECTED, Surrogate, check_rows
from relax.distributions import Draw
from relax.estimate import estimator, weigh
from relax.estimators.arms import debias
from relax.estimators.rloo import leave_one_out
from relax.function import Function
from relax.surrogates import lift, positive


@estimator(
    unbiased=True, evaluations=2, differentiable=True, needs=("bits",), draws="copula with v"
)
def rao_relax(
    f: Function,
    draw: Draw,
    *,
    c: Surrogate | None = None,
    eta: Tensor | float = 1.0,
    lambda_: Tensor | float = 0.1,
    gamma: Tensor | float = 1.0,
) -> Tensor:
    """RELAX whose noise of z given b is integrated out, exactly to first order.

        g = [f(b) - eta (c(h) - G (h - E[h|b]))] d/dtheta log p(b|theta)
            + eta [(c'(h) - G) w + G E[w|b]]

        h = b - s/2 (1 - v)^n,   w = dh/dz (dz/dtheta - dz~/dtheta) = q n/2 (1 - v)^n
        E[h|b] = b - s/2 / (n + 1),   E[w|b] = q n/2 / (n + 1)
        s = 2b - 1,   q = P(b flipped),   n = 1 / (lambda q),   G = gamma c' at b

    With gamma = 0 this is RELAX with coupled noise, z~ = z: v says where z lies between the
    threshold (v = 0) and infinity given b, and h relaxes b as sigma_lambda(z) does, but with
    moments in closed form. The noise v enters through h and w, nearly linearly where there are many
    bits, and their conditional means are known: G is a linear control variate for it, given b. Any
    G that does not look at v leaves the mean alone, as do any c, eta, lambda and gamma (phi), so
    the estimator is unbiased. gamma = 1 may raise the variance where c is far from linear.

    c must be continuous on the closed interval [0, 1] and differentiable almost everywhere between:
    a jump there (rounding h, comparing it) is a silent bias, as in every estimator that relaxes f.

    Args:
        f: b [(K,) *batch, *event] -> [(K,) *batch], differentiable at b and between the outcomes;
            with c any Python, or the value f(b).
        dist: a Bernoulli, or a Draw by `rx.rao_relax.draw`.
        c: a surrogate of the relaxed bits h, like b and in (0, 1), of the same form; f by default.
            It may offer c.value_and_grad(h).
        eta, lambda_, gamma: numbers or tensors [*replicas].
        samples: K > 1 draws the b together, mutually antithetic, and the first factor becomes that
            of ARMS (DisARM for two). generator: of the samples.

    Raises:
        ValueError: c or its derivative is not finite between the outcomes, or at one.

    Source: this repository; from Grathwohl et al. (2018), equation 8, Titsias and Shi (2022) for
    the linear term, Dimitriev and Zhou (2021) for the samples.
    """
    dist, b, v = draw.dist, draw.b.to(draw.dist.theta.dtype), draw.noise.v
    assert v is not None
    s, lead = 2 * b - 1, int(draw.sampled)
    if c is None:
        f_b, G = f.value_and_grad(draw.b)
    else:
        f_b = f(draw.b)
        G = surrogate_and_grad(c, b, draw.value_shape, create_graph=False)[1].detach()
    lambda_ = torch.as_tensor(lift(positive(lambda_, dist), b, lead))
    q = torch.sigmoid(-s * dist.theta.detach())
    n = 1 / (lambda_ * q.clamp(min=torch.finfo(q.dtype).eps))  # 1 / q overflows
    tail = torch.exp(n * torch.log1p(-centred(v)))  # (1 - v)^n
    h, mean_h = b - s / 2 * tail, b - s / 2 / (n + 1)
    w, mean_w = q * n / 2 * tail, q * n / 2 / (n + 1)
    attached = c is not None or h.requires_grad
    c_h, dc = surrogate_and_grad(c or _of(f, draw), h, draw.value_shape, create_graph=attached)
    if dist.validate and not all(bool(x.isfinite().all()) for x in (c_h, dc, G)):
        raise ValueError(
            "rao_relax: c (f by default) or its derivative is not finite between the outcomes 0 "
            "and 1 of b, or at one of them; give a surrogate c that is"
        )
    G = lift(gamma, b, lead) * G
    eta_b, eta_g = lift(eta, c_h, lead), lift(eta, b, lead)
    linear = (G * (h - mean_h)).flatten(c_h.ndim).sum(-1)  # G (h - E[h|b])
    return (
        # [f(b) - eta (c(h) - G (h - E[h|b]))] d/dtheta log p(b|theta)
        weighted_score(f_b - eta_b * (c_h - linear), draw)
        # + eta [(c'(h) - G) w + G E[w|b]]
        + eta_g * ((dc - G) * w + G * mean_w)
    )


def centred(v: Tensor) -> Tensor:
    """v in the middle of the interval that is rounded down to it; n magnifies a bias in v.

    The smallest v of `open_interval` is there already.
    """
    half = torch.finfo(v.dtype).eps / 4
    return torch.where(v > half, v + half, v)


def _of(f: Function, draw: Draw) -> Surrogate:
    """f as a surrogate of relaxed bits."""
    function, dtype = f.function, draw.dist.dtype
    return lambda h: function(h if h.dtype == dtype else h.to(dtype))


def surrogate_and_grad(
    c: Surrogate, h: Tensor, shape: torch.Size, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """c(h) and c'(h), both attached to phi, and through h to lambda.

    create_graph: whether c'(h) depends on phi; that of f at a fixed lambda does not.
    """
    if hasattr(c, "value_and_grad"):
        c_h, dc = c.value_and_grad(h.clone())
    else:
        with torch.enable_grad():
            h = h if h.requires_grad else h.detach().requires_grad_()
            c_h = c(h.clone())
            if not c_h.requires_grad:
                raise ValueError(NOT_CONNECTED)
            c_h = c_h if c_h.dtype == h.dtype else c_h.to(h.dtype)
            (dc,) = torch.autograd.grad(
                c_h.sum(), h, create_graph=create_graph, retain_graph=True, allow_unused=True
            )
            if dc is None:
                raise ValueError(NOT_CONNECTED)
            c_h = c_h if create_graph else c_h.detach()
    check_rows(c_h, shape, "c(h)")
    return c_h, dc


def weighted_score(signal: Tensor, draw: Draw) -> Tensor:
    """signal d/dtheta log p(b|theta); for antithetic samples with leave-one-out, as ARMS does."""
    if not draw.sampled:
        return weigh(signal, draw.score)
    score = draw.score * debias(draw.dist.theta.detach(), draw.samples)
    return weigh(signal - leave_one_out(signal), score)

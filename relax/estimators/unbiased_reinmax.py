"""ReinMax made unbiased: RELAX with coupled noise and a linear control variate given b."""

from __future__ import annotations

import torch
from torch import Tensor

from relax.control_variate import NOT_CONNECTED, Surrogate, check_rows, in_closed_form
from relax.distributions import Draw
from relax.estimate import estimator, weigh
from relax.estimators.arms import debias
from relax.estimators.rloo import leave_one_out
from relax.function import Function
from relax.surrogates import lift, positive


@estimator(
    unbiased=True, evaluations=2, differentiable=True, needs=("bits",), draws="copula with v"
)
def unbiased_reinmax(
    f: Function,
    draw: Draw,
    *,
    c: Surrogate | None = None,
    eta: Tensor | float = 1.0,
    lambda_: Tensor | float = 1.0,
    gamma: Tensor | float = 1.0,
) -> Tensor:
    """ReinMax plus a rare jump that removes its bias; at lambda > 0, RELAX with less noise.

        g = s q [f(b) - eta (c(h) - G (h - E[h|b]))] + eta [(c'(h) - G) w + G E[w|b]]

        s = 2b - 1,   q = P(b flipped),   so that s q = d/dtheta log p(b|theta)
        h = b - s/2 (1 - v)^n,   w = s q (1 - v) dh/dv = q n/2 (1 - v)^n,   n = 1 / (lambda q)
        E[h|b] = b - s/2 / (n + 1),   E[w|b] = q n/2 / (n + 1),   G = gamma c'(b)

    h relaxes b as sigma_lambda(z) does: the uniform v says where z lies given b, from the threshold
    (h = 1/2) outwards (h = b), and w = dh/dz (dz/dtheta - dz~/dtheta) is RELAX's pair of pathwise
    terms where z~ = z. With gamma = 0 this is RELAX with coupled noise.

    Unbiased, coordinate by coordinate:

    1. G does not see v, so its terms have mean 0 given b. What is left is
       g_d = s_d q_d [f(b) - eta c(h)] + eta c'_d(h) w_d.
    2. By parts in v_d, E[c'_d(h) w_d] = s_d q_d int (1 - v_d) (d/dv_d) c(h) dv_d
       = s_d q_d (E[c(h)] - c(h_-d, 1/2)), because 1 - v_d is 1 at h_d = 1/2 and 0 at h_d = b_d.
    3. So E[g_d | b, v_-d] = s_d q_d [f(b) - eta c(h_-d, 1/2)]: the score function with a baseline
       that does not see b_d, whatever c, eta, lambda and gamma are.

    ReinMax is the limit lambda -> 0 with c = f, eta = gamma = 1. There n -> infinity and h = b, so
    that g = f'(b) q / 2, which is f'(b) [2 J((p + b) / 2) - J(p) / 2] with J(p) = p (1 - p). Only
    with a probability of about lambda q_d is h_d on its way to 1/2; then w_d is as large as
    1 / (2 lambda), and this jump adds what ReinMax lacks, in the mean given b
    s_d q_d [f(b) - f(b_-d, 1/2)] - f'_d(b) q_d / 2. That is 0 only for an f that is linear in each
    bit: there a small lambda is best, and elsewhere the variance grows as 1 / lambda. Where f is at
    most quadratic in each bit, `rx.reinmax` itself is unbiased.

    The mean in 3 would be an estimator of D evaluations of c. With c = f it never pays:
    `rx.local_expectation` is its mean over b_d too, for the same D + 1 evaluations.

    Fit eta, lambda and gamma, which are phi: `rx.surrogates.Scales(gamma=1.0)`, as docs/recipes.md
    shows. At the default values, from which to start, the variance is at most 3 times that of
    `rx.rloo` on the six functions of bits of `make compare`.

    Integration by parts requires that c is continuous on the closed interval [0, 1] in each
    coordinate and differentiable almost everywhere between. A jump (rounding h, comparing it) is a
    silent bias, as in every estimator that relaxes f. Where c is given, f is evaluated at b alone.

    Args:
        f: b [(K,) *batch, *event] -> [(K,) *batch], differentiable at b and between the outcomes;
            with c any Python, or the value f(b).
        dist: a Bernoulli, or a Draw by `rx.unbiased_reinmax.draw`.
        c: a surrogate of the relaxed bits h, like b and in (0, 1), of the same form; f by default.
            It may offer c.value_and_grad(h).
        eta, lambda_, gamma: numbers or tensors [*replicas].
        samples: K > 1 draws the b together, mutually antithetic, and the score term becomes that of
            ARMS (DisARM for two). generator: of the samples.

    Raises:
        ValueError: c or its derivative is not finite between the outcomes, or at one.

    Source: this repository; from RELAX (Grathwohl et al., 2018, equation 8), REBAR (Tucker et al.,
    2017), ReinMax (Liu et al., 2023), linear control variates for pathwise gradients (Miller et
    al., 2017), and ARMS for the samples (Dimitriev and Zhou, 2021). Related: ReinMax-Rao and
    ReinMax-CV (Wang and Bui, 2026), which reduce the variance of ReinMax; Rao-Blackwellised
    gradients (Liu et al., 2019), which sum some outcomes out.
    """
    dist, b, v = draw.dist, draw.b.to(draw.dist.theta.dtype), draw.noise.v
    assert v is not None
    s, lead = 2 * b - 1, int(draw.sampled)
    if c is None:
        f_b, G = f.value_and_grad(draw.b)
    else:
        f_b = f(draw.b)
        _, G = surrogate_and_grad(c, b, draw.value_shape, create_graph=True)
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
            "unbiased_reinmax: c (f by default) or its derivative is not finite between the "
            "outcomes 0 and 1 of b, or at one of them; give a surrogate c that is"
        )
    G = lift(gamma, b, lead) * G
    eta_b, eta_g = lift(eta, c_h, lead), lift(eta, b, lead)
    linear = (G * (h - mean_h)).flatten(c_h.ndim).sum(-1)  # G (h - E[h|b])
    return (
        # s q [f(b) - eta (c(h) - G (h - E[h|b]))]
        weighted_score(f_b - eta_b * (c_h - linear), draw)
        # + eta [(c'(h) - G) w + G E[w|b]]
        + eta_g * ((dc - G) * w + G * mean_w)
    )


def centred(v: Tensor) -> Tensor:
    """v in the middle of the interval that is rounded down to it; n magnifies a bias in v.

    The smallest v of `open_interval` is there already, and the largest would round to 1, where the
    derivative of (1 - v)^n in lambda is not finite.
    """
    eps = torch.finfo(v.dtype).eps
    return torch.where(v > eps / 4, v + eps / 4, v).clamp(max=1 - eps / 2)


def _of(f: Function, draw: Draw) -> Surrogate:
    """f as a surrogate of relaxed bits."""
    function, dtype = f.function, draw.dist.dtype
    return lambda h: function(h if h.dtype == dtype else h.to(dtype))


def surrogate_and_grad(
    c: Surrogate, h: Tensor, shape: torch.Size, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """c(h) and c'(h), both attached to phi, and through h to lambda.

    create_graph: whether c'(h) depends on phi or lambda; that of f at a fixed lambda does not.
    """
    if in_closed_form(c):
        c_h, dc = c.value_and_grad(h.clone())  # type: ignore[attr-defined]
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

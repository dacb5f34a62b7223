"""Orders of n items."""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from relax.distributions.base import Distribution

LARGEST = 8  # items whose 40 320 orders are listed


class PlackettLuce(Distribution):
    """Orders of n items, drawn one by one without replacement, in proportion to exp(theta).

    z = log p + Gumbel noise is a column [*batch, n, 1], with log p = log_softmax(theta). b = H(z)
    is the permutation matrix [*batch, n, n] that sorts it: b_ki = 1 where item i has place k, so
    that b z falls from the first place to the last. A matrix and not the n ranks, because f of a
    matrix can be relaxed: sigma_lambda is NeuralSort, whose rows are distributions over the items.
    The items in order are `b.argmax(-1)`, their places `b.argmax(-2)`, and
    `b[..., :k, :].sum(-2)` marks the first k, a subset of k items.

    exp(-z) of the items in the order of b is a sum of exponential times, each with the rate of all
    items that are left. So z_tilde is found from the largest value down, in log space. Values that
    are equal are moved apart by rounding errors, so that H(z_tilde) = b always.

    Args:
        log_scores: theta, [*batch, n]; finite. A constant added to all of them changes nothing.
        event_ndim: 2 for one order per row, 3 for several that f takes together, [.., D, n, n].
        replicas, validate: as in `rx.Distribution`.

    Raises:
        ValueError: a log-score is infinite.

    Source: Gadetsky et al., "Low-variance black-box gradient estimates for the Plackett-Luce
    distribution" (2020), for z_tilde; Grover et al., "Stochastic optimization of sorting networks
    via continuous relaxations" (2019), equation 5, for sigma_lambda.
    """

    continuous = False

    def __init__(
        self,
        log_scores: Tensor,
        *,
        event_ndim: int = 2,
        replicas: int = 0,
        validate: bool = True,
    ) -> None:
        super().__init__(log_scores, event_ndim=event_ndim, replicas=replicas, validate=validate)
        if not self.finite:
            raise ValueError("PlackettLuce: a log-score is infinite")

    @property
    def sample_shape(self) -> torch.Size:
        """Of z, and of its noise."""
        return torch.Size((*self.theta.shape, 1))

    @property
    def log_first(self) -> Tensor:
        """The log-probability of every item to be the first, differentiable in theta."""
        return torch.log_softmax(self.theta, dim=-1)

    def reparameterize(self, u: Tensor) -> Tensor:
        return self.log_first.unsqueeze(-1) - torch.log(-torch.log(u))

    def hard(self, z: Tensor) -> Tensor:
        order = z.detach().squeeze(-1).argsort(dim=-1, descending=True, stable=True)
        return (order.unsqueeze(-1) == _places(z)).to(z.dtype)

    def relaxed(self, z: Tensor, lambda_: Tensor | float) -> Tensor:
        n, row = z.shape[-2], z.mT
        slope = n - 1 - 2 * _places(z).unsqueeze(-1)  # n - 1 in the first place, 1 - n in the last
        distances = (z - row).abs().sum(-2, keepdim=True)
        return torch.softmax((slope * row - distances) / lambda_, dim=-1)

    def log_prob(self, b: Tensor) -> Tensor:
        log_first = _sorted(self.log_first, b)
        return (log_first - _log_rest(log_first)).sum(-1)

    def score(self, b: Tensor) -> Tensor:
        log_first = _sorted(self.log_first.detach(), b)
        return _unsorted(1 - self._chosen(log_first).sum(-2), b)

    def condition(self, b: Tensor, v: Tensor) -> Tensor:
        return self._z_tilde(b, torch.log(-torch.log(v.squeeze(-1))))

    def recover(self, b: Tensor, z: Tensor) -> Tensor:
        log_rest = _log_rest(_sorted(self.log_first.detach(), b))
        return self._z_tilde(b, _log_steps(_apart(_sorted(z.squeeze(-1), b))) + log_rest)

    def _z_tilde(self, b: Tensor, noise: Tensor) -> Tensor:
        """noise: log of a standard exponential for every place, [..., n]."""
        z = -torch.logcumsumexp(noise - _log_rest(_sorted(self.log_first, b)), dim=-1)
        return _unsorted(z + (_apart(z.detach()) - z.detach()), b).unsqueeze(-1)

    def vjp_z(self, grad: Tensor, z: Tensor, u: Tensor | None = None) -> Tensor:
        return self._vjp_log_p(grad.squeeze(-1))

    def vjp_z_tilde(
        self, grad: Tensor, b: Tensor, z_tilde: Tensor, v: Tensor | None = None
    ) -> Tensor:
        # With R_j the sum of p over the items from place j on, in the order of b:
        # dz~_k/dlog R_j = exp(z~_k) (exp(-z~_j) - exp(-z~_{j-1})) and dlog R_j/dlog p_i = p_i / R_j
        z, log_first = _sorted(z_tilde.squeeze(-1), b), _sorted(self.log_first.detach(), b)
        chosen = self._chosen(log_first)
        steps = torch.exp(z.unsqueeze(-1) + _log_steps(z).unsqueeze(-2)).tril()  # [.., k, j]
        rest = (_sorted(grad.squeeze(-1), b).unsqueeze(-1) * steps).sum(-2)
        return self._vjp_log_p(_unsorted((rest.unsqueeze(-1) * chosen).sum(-2), b))

    def log_prob_z(self, z: Tensor) -> Tensor:
        x = self.log_first.unsqueeze(-1) - z  # minus the Gumbel noise
        return x - x.exp()

    def score_z(self, z: Tensor) -> Tensor:
        return self._vjp_log_p(1 - torch.exp(self.log_first.detach() - z.squeeze(-1)))

    def support(self) -> Tensor:
        n, batch = self.theta.shape[-1], self.batch_shape
        if n > LARGEST or self.event_ndim > 2:
            raise ValueError(f"enumeration of orders: one of at most {LARGEST} items can be listed")
        orders = torch.tensor(list(permutations(range(n))), device=self.theta.device)
        b = torch.eye(n, dtype=self.dtype, device=self.theta.device)[orders]
        return b.reshape(len(b), *(1,) * len(batch), n, n).expand(len(b), *batch, n, n)

    def _vjp_log_p(self, grad: Tensor) -> Tensor:
        """grad dlog p/dtheta, through the normalisation."""
        return grad - self.log_first.detach().exp() * grad.sum(-1, keepdim=True)

    @staticmethod
    def _chosen(log_first: Tensor) -> Tensor:
        """P(item i is drawn for place j | it is left), [..., j, i], both in the order of b."""
        return torch.exp(log_first.unsqueeze(-2) - _log_rest(log_first).unsqueeze(-1)).triu()


def _places(z: Tensor) -> Tensor:
    """0 to n - 1 for z [..., n, 1]."""
    return torch.arange(z.shape[-2], device=z.device)


def _sorted(x: Tensor, b: Tensor) -> Tensor:
    """x [..., n] in the order of b; exact, because one summand is not 0."""
    return (b * x.unsqueeze(-2)).sum(-1)


def _unsorted(x: Tensor, b: Tensor) -> Tensor:
    """The inverse of `_sorted`."""
    return (b * x.unsqueeze(-1)).sum(-2)


def _log_rest(log_first: Tensor) -> Tensor:
    """log of the sum of p over the items from each place on, [..., n]."""
    return log_first.flip(-1).logcumsumexp(-1).flip(-1)


def _log_steps(z: Tensor) -> Tensor:
    """log(exp(-z_j) - exp(-z_{j-1})) of a falling z [..., n], and -z_0."""
    first, later = z[..., :1], z[..., 1:]
    return torch.cat([-first, torch.log(-torch.expm1(z.diff())) - later], -1)


def _apart(z: Tensor) -> Tensor:
    """z [..., n], which does not rise, with equal values moved so that it falls."""
    gap = 4 * torch.finfo(z.dtype).eps * (1 + z.abs().amax(-1, keepdim=True))
    gaps = gap * torch.arange(z.shape[-1], dtype=z.dtype, device=z.device)
    return torch.minimum(z, torch.cummin(z + gaps, dim=-1).values - gaps)

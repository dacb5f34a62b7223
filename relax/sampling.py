"""How the samples of one estimate are drawn: independently, in antithetic pairs, by a copula, ...

A Scheme turns raw noise into a Draw of its kind. The estimators name theirs in their decorator,
and refuse a draw of another kind: a formula for antithetic pairs is biased on independent samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from relax.distributions import Distribution, Draw, Noise, RandomSource, open_interval
from relax.distributions.draw import INDEPENDENT, STICKS, WITHOUT_REPLACEMENT

ANTITHETIC = "antithetic pairs"
COPULA = "a copula"
SEVERAL_Z = "several z for each b"
THREE_NORMALS = "independent, with three normals each"
CONDITIONAL_DRAWS = 10  # z for each b


@dataclass(frozen=True)
class Scheme:
    """A way to draw K samples.

    kind: of a draw of several samples; kind_of_one: of a single one, None where one is too few.
    noise: (dist, samples, generator) -> the raw random numbers.
    make: (dist, raw noise, samples) -> the draw.
    with_v: whether the noise of z_tilde is needed.
    may_couple: whether that noise may also be recovered from the first.
    """

    kind: str
    kind_of_one: str | None
    noise: Callable[[Distribution, int, RandomSource], Noise]
    make: Callable[[Distribution, Noise, int], Draw]
    with_v: bool = False
    may_couple: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """The settings of an estimator that belong to sampling."""
        return ("samples", *(("coupled",) if self.may_couple else ()), "generator")

    def check(self, name: str, draw: Draw) -> None:
        """Raise ValueError where the estimator `name` is not meant for this draw."""
        wanted = self.kind_of_one if draw.samples == 1 else self.kind
        if wanted is None:
            raise ValueError(f"{name} compares samples with each other: it needs samples=2 or more")
        if draw.kind != wanted:
            raise ValueError(
                f"{name} needs a draw of the kind {wanted!r}, not {draw.kind!r}: its formula is "
                f"biased there. Make the draw by rx.{name}.draw(dist, ...)"
            )
        if self.with_v and draw.coupled and not self.may_couple:
            raise ValueError(
                f"{name} needs a draw with noise v of its own: make it by rx.{name}.draw(dist, ...)"
            )


def _plain(dist: Distribution, samples: int, generator: RandomSource) -> Noise:
    return dist.noise(samples, generator, coupled=True)


def _with_v(dist: Distribution, samples: int, generator: RandomSource) -> Noise:
    return dist.noise(samples, generator)


def _independent(dist: Distribution, noise: Noise, samples: int) -> Draw:
    return Draw(dist, noise)


def _one_per_pair(dist: Distribution, samples: int, generator: RandomSource) -> Noise:
    if samples < 2 or samples % 2:
        raise ValueError(f"antithetic pairs need an even number of samples, got {samples}")
    return dist.noise(samples // 2, generator, coupled=True)


def _antithetic(dist: Distribution, noise: Noise, samples: int) -> Draw:
    """u and 1 - u: the pairs' first members on the first axis, then their second."""
    u = noise.u if noise.u.ndim > len(dist.sample_shape) else noise.u.unsqueeze(0)
    mirrored = open_interval(1 - u)  # 1 - u rounds to 1, whose logit is infinite
    return Draw(dist, Noise(torch.cat([u, mirrored])), kind=ANTITHETIC)


def _copula(dist: Distribution, noise: Noise, samples: int) -> Draw:
    """Mutually antithetic samples; a single one stays as it is."""
    if noise.u.ndim == len(dist.sample_shape):
        return Draw(dist, noise)
    u = dirichlet_copula(noise.u, dist.theta.detach())
    return Draw(dist, Noise(u, noise.v), kind=COPULA)


def dirichlet_copula(u: Tensor, theta: Tensor) -> Tensor:
    """Negatively dependent uniforms, [K, *shape], from independent ones (Dimitriev and Zhou, 2021).

    e_k = -log u_k,  c_k = (1 - e_k / sum e)^(K-1);  1 - c_k where p < 1/2, as b = [u > 1 - p].
    """
    e = -torch.log(u)
    apart = 1 - torch.eye(len(e), dtype=e.dtype, device=e.device)
    others = torch.tensordot(apart, e, dims=1)  # the sum less e_k would cancel
    c = (others / e.sum(0)) ** (len(e) - 1)
    return open_interval(torch.where(theta < 0, 1 - c, c))


def _sticks(dist: Distribution, noise: Noise, samples: int) -> Draw:
    """Mutually antithetic choices of classes; a single one is refused by the scheme."""
    if noise.u.ndim == len(dist.sample_shape):
        return Draw(dist, noise)
    return Draw(dist, noise, break_sticks(noise.u, dist.log_p.detach()), kind=STICKS)


def sticks(log_p: Tensor) -> tuple[Tensor, Tensor]:
    """The classes from the least likely upwards, and pi, each one's share of what is left.

    pi is at most 1/2, except that the last class takes what is left: there it is not used.
    """
    log_p, order = log_p.sort(-1)
    left = log_p.flip(-1).logcumsumexp(-1).flip(-1)
    return order, (log_p - left).exp().clamp(max=0.5)


def break_sticks(u: Tensor, log_p: Tensor) -> Tensor:
    """One-hot choices, negatively dependent over K, from noise [K, *shape] (Dimitriev and Zhou)."""
    order, pi = sticks(log_p)
    taken = dirichlet_copula(u, torch.zeros_like(log_p)) < pi
    taken[..., -1] = True
    first = order.expand_as(u).gather(-1, taken.to(torch.uint8).argmax(-1, keepdim=True))
    return (torch.arange(u.shape[-1], device=u.device) == first).to(u.dtype)


def _one_for_all(dist: Distribution, samples: int, generator: RandomSource) -> Noise:
    return dist.noise(1, generator, coupled=True)


def _without_replacement(dist: Distribution, noise: Noise, samples: int) -> Draw:
    """The classes of the K largest z, one-hot, [K, *batch, C]."""
    classes = dist.theta.shape[-1]
    if not 2 <= samples <= classes:
        raise ValueError(f"samples={samples}: from 2 to {classes} classes can be drawn")
    z = dist.reparameterize(noise.u).detach()
    allowed = z if dist.mask is None else z.masked_fill(dist.mask, -torch.inf)
    first = allowed.topk(samples).indices.movedim(-1, 0).unsqueeze(-1)
    b = (torch.arange(classes, device=z.device) == first).to(dist.dtype)
    return Draw(dist, Noise(noise.u.expand_as(b)), b, kind=WITHOUT_REPLACEMENT)


def _conditional(dist: Distribution, samples: int, generator: RandomSource) -> Noise:
    """u once and v ten times for every b."""
    u = dist.noise(samples, generator, coupled=True).u
    v = dist.noise(CONDITIONAL_DRAWS * samples, generator, coupled=True).u
    return Noise(u, v.reshape(CONDITIONAL_DRAWS, *u.shape))


def _several_z(dist: Distribution, noise: Noise, samples: int) -> Draw:
    return Draw(dist, noise, kind=SEVERAL_Z)


def _three_normals(dist: Distribution, samples: int, generator: RandomSource) -> Noise:
    """u, and two more normals for each."""
    u = dist.noise(samples, generator).u
    return Noise(u, dist.noise(2 * samples, generator).u.reshape(2, *u.shape))


def _normals(dist: Distribution, noise: Noise, samples: int) -> Draw:
    return Draw(dist, noise, kind=THREE_NORMALS)


SCHEMES: dict[str, Scheme] = {
    "independent": Scheme(INDEPENDENT, INDEPENDENT, _plain, _independent),
    "several independent": Scheme(INDEPENDENT, None, _plain, _independent),
    "independent with v": Scheme(INDEPENDENT, INDEPENDENT, _with_v, _independent, True, True),
    "antithetic": Scheme(ANTITHETIC, None, _one_per_pair, _antithetic),
    "independent with v alone": Scheme(INDEPENDENT, INDEPENDENT, _with_v, _independent, True),
    "copula": Scheme(COPULA, None, _plain, _copula),
    "copula with v": Scheme(COPULA, INDEPENDENT, _with_v, _copula, True),
    "antithetic sticks": Scheme(STICKS, None, _plain, _sticks),
    "without replacement": Scheme(WITHOUT_REPLACEMENT, None, _one_for_all, _without_replacement),
    "several z": Scheme(SEVERAL_Z, SEVERAL_Z, _conditional, _several_z, True),
    "three normals": Scheme(THREE_NORMALS, THREE_NORMALS, _three_normals, _normals, True),
}

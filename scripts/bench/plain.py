"""The reference: the best plain PyTorch, in about 60 lines for the toy and 130 for the VAE.

Nothing of this project: torch.nn.Linear, torch.optim.Adam(fused=True), closed forms where they take
one line. With coupled noise z~ equals z in value, so that one call of c serves both; otherwise one
call of c gets z and z~ stacked.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

MODELS = {"linear1": (1, 0), "linear2": (2, 0), "nonlinear": (1, 2)}  # layers, hidden layers each
TINY = 1e-6


def compiled(function: Callable) -> Callable:
    torch._dynamo.config.trace_autograd_ops = True  # torch.autograd.grad inside the function
    return torch.compile(function, fullgraph=True, dynamic=False)


def relax(f_b: Tensor, c: Callable, logits: Tensor, u: Tensor, v: Tensor | None) -> Tensor:
    """Every row's gradient in the logits (Grathwohl et al., 2018, equation 8), attached to phi.

    v=None: coupled noise; v is recovered from u.
    """
    a = logits.detach()
    p, z = torch.sigmoid(a), (a + torch.logit(u)).requires_grad_()
    b = (z > 0).to(a.dtype)
    if v is None:
        v_b, v = u, torch.where(b > 0, (u - 1 + p) / p, u / (1 - p))
    else:
        v_b = torch.where(b > 0, v * p + 1 - p, v * (1 - p)).clamp(TINY, 1 - TINY)
    # z~ = logits + logit(v_b)
    dz_tilde = 1 + torch.where(b > 0, v - 1, -v) * p * (1 - p) / (v_b * (1 - v_b))
    if v_b is u:
        c_zt = c(z)
        (dc_z,) = torch.autograd.grad(c_zt.sum(), z, create_graph=True)
        dc_zt = dc_z
    else:
        both = torch.stack([z.detach(), a + torch.logit(v_b)]).requires_grad_()
        c_both = c(both)
        (dc,) = torch.autograd.grad(c_both.sum(), both, create_graph=True)
        (_, c_zt), (dc_z, dc_zt) = c_both, dc
    return (f_b.detach() - c_zt)[..., None] * (b - p) + dc_z - dz_tilde * dc_zt


def log_prob(b: Tensor, logits: Tensor) -> Tensor:
    return -binary_cross_entropy_with_logits(logits.expand_as(b), b, reduction="none").sum(-1)


class Toy:
    """RELAX for E[(b - t)^2], [seeds] at a time; one seed is the plain loop."""

    def __init__(self, seeds: int, compile: bool = False, t: float = 0.499, hidden: int = 10):
        self.t, self.seeds = t, seeds
        starts = [torch.zeros(seeds, 1), torch.randn(seeds, hidden), torch.zeros(seeds, hidden)]
        starts += [torch.randn(seeds, hidden), torch.zeros(seeds), torch.zeros(seeds)]
        starts += [torch.full((seeds,), 0.5).log()]
        self.logit, *self.phi = self.parameters = [p.requires_grad_() for p in starts]
        self.optimizer = torch.optim.Adam(self.parameters, lr=0.01, fused=True)
        self.gradients = compiled(self._gradients) if compile else self._gradients

    def c(self, z: Tensor) -> Tensor:
        w1, b1, w2, b2, scale, log_lambda = self.phi
        x = torch.tanh(0.5 * z / log_lambda.exp()[:, None])
        return scale * ((torch.tanh(x * w1 + b1) * w2).sum(-1) + b2)

    def _gradients(self, u: Tensor) -> list[Tensor]:
        b = (self.logit + torch.logit(u) > 0).to(u.dtype)
        f_b = (b - self.t).square().squeeze(-1)
        grad = relax(f_b, self.c, self.logit, u, None)
        return [grad.detach(), *torch.autograd.grad(grad.square().sum(), self.phi)]

    def step(self) -> None:
        grads = self.gradients(torch.rand(self.seeds, 1).clamp_(TINY, 1 - TINY))
        for p, grad in zip(self.parameters, grads, strict=True):
            p.grad = grad
        self.optimizer.step()


def network(sizes: list[int], activation: type[nn.Module]) -> nn.Sequential:
    linears = [nn.Linear(i, o) for i, o in zip(sizes[:-1], sizes[1:], strict=True)]
    between = [part for linear in linears[:-1] for part in (linear, activation())]
    return nn.Sequential(*between, linears[-1])


class VAE(nn.Module):
    """The paper's networks with Concrete, REBAR or RELAX."""

    def __init__(
        self, model: str, estimator: str, images: Tensor, latents: int = 200, lr: float = 1e-4
    ) -> None:
        super().__init__()
        layers, depth = MODELS[model]
        self.images, self.latents, self.estimator = images, latents, estimator
        mean = images.mean(0)
        self.mean, self.offset = mean, torch.logit(mean.clamp(0.001, 0.999))
        widths, inner = [len(mean)] + [latents] * layers, [latents] * depth
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.encoder = nn.ModuleList(network([i, *inner, o], nn.Tanh) for i, o in pairs)
        self.decoder = nn.ModuleList(network([o, *inner, i], nn.Tanh) for i, o in pairs)
        self.prior = nn.Parameter(torch.zeros(latents))
        self.weights = list(self.parameters())
        self.eta = nn.Parameter(torch.ones(layers))
        self.log_lambda = nn.Parameter(torch.full((layers,), 0.5).log())
        self.r_z, self.r_x = nn.ModuleList(), nn.ModuleList()  # r's first layer in two parts
        for k in range(layers) if estimator == "relax" else ():
            self.r_x.append(nn.Linear(len(mean) + k * latents, latents))
            self.r_z.append(network([latents, latents, latents, 1], nn.ReLU))
        self.phi = [self.eta, self.log_lambda, *self.r_z.parameters(), *self.r_x.parameters()]
        self.phi = [] if estimator == "concrete" else self.phi
        self.optimizer = torch.optim.Adam(
            [*self.weights, *self.phi], lr=lr, betas=(0.9, 0.99999), fused=True
        )
        self.gradients = self._gradients

    def encode(self, k: int, below: Tensor) -> Tensor:
        return self.encoder[k](below - self.mean if k == 0 else 2 * below - 1)

    def f(self, x: Tensor, latents: list[Tensor], logits: list[Tensor]) -> Tensor:
        """The negative ELBO of every row, one pass through all decoders."""
        total = -log_prob(latents[-1], self.prior)
        for k, (b, a) in enumerate(zip(latents, logits, strict=True)):
            y = self.decoder[k](2 * b - 1) + (self.offset if k == 0 else 0)
            below = x.expand(*y.shape) if k == 0 else latents[k - 1].expand_as(y)
            total = total + log_prob(b, a) - log_prob(below, y)
        return total

    def relaxed(self, x: Tensor, k: int, b: list[Tensor], logits: list[Tensor], u: list, z: Tensor):
        """f with b below layer k, and layer k and those above it relaxed."""
        latents, a = [below.expand_as(z) for below in b[:k]], [y.detach() for y in logits[: k + 1]]
        for above in range(k, len(b)):
            if above > k:
                a.append(self.encode(above, latents[-1]))
                z = a[above] + torch.logit(u[above])
            latents.append(torch.sigmoid(z / self.log_lambda[above].exp()))
        return self.f(x, latents, a)

    def c(self, x: Tensor, k: int, b: list[Tensor], logits: list[Tensor], u: list) -> Callable:
        def at(z: Tensor) -> Tensor:
            value = self.relaxed(x, k, b, logits, u, z)
            if self.estimator == "relax":
                seen = torch.cat([x - self.mean, *(2 * below - 1 for below in b[:k])], -1)
                first, *rest = self.r_z[k]
                value = value + nn.Sequential(*rest)(first(z) + self.r_x[k](seen)).squeeze(-1)
            return self.eta[k] * value

        return at

    def _gradients(self, x: Tensor, u: list[Tensor], v: list) -> list[Tensor]:
        """The gradients of the weights and of phi."""
        if self.estimator == "concrete":
            latents, logits = [x], []
            for k in range(len(u)):
                logits.append(self.encode(k, latents[-1]))
                latents.append(torch.sigmoid((logits[k] + torch.logit(u[k])) / 0.5))
            return list(torch.autograd.grad(self.f(x, latents[1:], logits).mean(), self.weights))
        b, logits = [x], []
        for k in range(len(u)):
            logits.append(self.encode(k, b[-1]))
            b.append((logits[k] + torch.logit(u[k]) > 0).to(x.dtype))
        b = b[1:]
        f_b = self.f(x, b, logits)
        grads = [
            relax(f_b, self.c(x, k, b, logits, u), logits[k], u[k], v[k]) for k in range(len(u))
        ]
        objective = sum(grad.square().sum() for grad in grads) / len(x)
        loss = f_b.sum() + sum((a * g.detach()).sum() for a, g in zip(logits, grads, strict=True))
        of_phi = torch.autograd.grad(objective, self.phi, retain_graph=True)
        return [*torch.autograd.grad(loss / len(x), self.weights), *of_phi]

    def step(self, batch: int, coupled: bool = True) -> None:
        x = self.images[torch.randint(len(self.images), (batch,))]
        shape = (2, len(self.encoder), batch, self.latents)
        u, v = torch.rand(shape).clamp_(TINY, 1 - TINY)
        grads = self.gradients(x, list(u), [None] * len(u) if coupled else list(v))
        for p, grad in zip([*self.weights, *self.phi], grads, strict=True):
            p.grad = grad
        self.optimizer.step()

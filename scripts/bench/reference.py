"""RELAX and REBAR as one would write them down from the paper: the reference of the benchmark.

Plain PyTorch, nothing of this project: torch.nn.Linear, torch.optim.Adam, z~ from v by the textbook
formula, every term of the estimator by `autograd.grad`, c and with it the decoder once at b, once
at z and once at z~, and the variance objective by a second derivative.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

MODELS = {"linear1": (1, 0), "linear2": (2, 0), "nonlinear": (1, 2)}  # layers, hidden layers each


def draw(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """b, z and z~ (Grathwohl et al., 2018, appendix B)."""
    theta = torch.sigmoid(logits)
    u, v = (torch.rand_like(theta).clamp(1e-6, 1 - 1e-6) for _ in range(2))
    z = logits + torch.logit(u)
    b = (z > 0).to(z.dtype).detach()
    v_b = torch.where(b > 0, v * theta + 1 - theta, v * (1 - theta)).clamp(1e-6, 1 - 1e-6)
    return b, z, logits + torch.logit(v_b)


def log_prob(b: Tensor, logits: Tensor) -> Tensor:
    return -binary_cross_entropy_with_logits(logits, b, reduction="none").sum(-1)


def relax(f_b: Tensor, c: Callable, logits: Tensor, b: Tensor, z: Tensor, z_tilde: Tensor):
    """The estimate of every row's gradient in the logits, attached to c's parameters."""
    c_z, c_zt = c(z), c(z_tilde)

    def derivative(y: Tensor, again: bool = True) -> Tensor:
        return torch.autograd.grad(y.sum(), logits, create_graph=again, retain_graph=True)[0]

    score = derivative(log_prob(b, logits), again=False)
    return (f_b.detach() - c_zt)[..., None] * score + derivative(c_z) - derivative(c_zt)


class Toy:
    """One seed of E[(b - t)^2]."""

    def __init__(self, device: torch.device, t: float = 0.499, hidden: int = 10) -> None:
        self.t = t
        self.logit = torch.zeros(1, requires_grad=True, device=device)
        net = nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, 1)).to(device)
        self.net, self.scale = net, torch.zeros((), requires_grad=True, device=device)
        self.log_lambda = torch.full((), 0.5, device=device).log().requires_grad_()
        self.phi = [*net.parameters(), self.scale, self.log_lambda]
        self.optimizers = [torch.optim.Adam(p, lr=0.01) for p in ([self.logit], self.phi)]

    def c(self, z: Tensor) -> Tensor:
        x = 2 * torch.sigmoid(z / self.log_lambda.exp()) - 1
        return self.scale * self.net(x).squeeze(-1)

    def step(self) -> None:
        b, z, z_tilde = draw(self.logit)
        f_b = (b - self.t).square().squeeze(-1)
        grad = relax(f_b, self.c, self.logit, b, z, z_tilde)
        phi_grads = torch.autograd.grad(grad.square().sum(), self.phi)
        self.logit.grad = grad.detach()
        for p, p_grad in zip(self.phi, phi_grads, strict=True):
            p.grad = p_grad
        for optimizer in self.optimizers:
            optimizer.step()


class VAE(nn.Module):
    """The paper's networks, one of each, with REBAR or RELAX."""

    def __init__(self, model: str, estimator: str, mean: Tensor, latents: int = 200) -> None:
        super().__init__()
        layers, depth = MODELS[model]
        self.mean, self.offset = mean, torch.logit(mean.clamp(0.001, 0.999))
        widths = [len(mean)] + [latents] * layers

        def network(sizes: list[int], activation: type[nn.Module]) -> nn.Sequential:
            linears = [nn.Linear(i, o) for i, o in zip(sizes[:-1], sizes[1:], strict=True)]
            between = [part for linear in linears[:-1] for part in (linear, activation())]
            return nn.Sequential(*between, linears[-1])

        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        inner = [latents] * depth
        self.encoder = nn.ModuleList(network([i, *inner, o], nn.Tanh) for i, o in pairs)
        self.decoder = nn.ModuleList(network([o, *inner, i], nn.Tanh) for i, o in pairs)
        self.prior = nn.Parameter(torch.zeros(latents))
        model_parameters = list(self.parameters())
        self.eta = nn.Parameter(torch.ones(layers))
        self.log_lambda = nn.Parameter(torch.full((layers,), 0.5).log())
        sizes = [[len(mean) + (k + 1) * latents, 200, 200, 1] for k in range(layers)]
        self.r = nn.ModuleList(network(s, nn.ReLU) for s in sizes if estimator == "relax")
        self.phi = [self.eta, self.log_lambda, *self.r.parameters()]
        decay = {"params": self.r.parameters(), "weight_decay": 1e-3}
        groups = [{"params": self.phi[:2]}, decay] if estimator == "relax" else self.phi
        self.optimizers = [
            torch.optim.Adam(p, lr=1e-4, betas=(0.9, 0.99999)) for p in (model_parameters, groups)
        ]

    def encode(self, k: int, below: Tensor) -> Tensor:
        return self.encoder[k](below - self.mean if k == 0 else 2 * below - 1)

    def f(self, x: Tensor, latents: list[Tensor], logits: list[Tensor]) -> Tensor:
        """The negative ELBO of every row, one pass through all decoders."""
        total = -log_prob(latents[-1], self.prior.expand_as(latents[-1]))
        below = [x, *latents]
        for k, (b, a) in enumerate(zip(latents, logits, strict=True)):
            y = self.decoder[k](2 * b - 1) + (self.offset if k == 0 else 0)
            total = total + log_prob(b, a) - log_prob(below[k], y)
        return total

    def c(self, k: int, x: Tensor, latents: list[Tensor], logits: list[Tensor], u: list[Tensor]):
        """c of layer k as a function of its z, the layers above relaxed as well."""

        def at(z: Tensor) -> Tensor:
            relaxed, a = list(latents[:k]), list(logits[: k + 1])
            for above in range(k, len(latents)):
                if above > k:
                    a.append(self.encode(above, relaxed[-1]))
                    z_above = a[above] + u[above]
                else:
                    z_above = z
                relaxed.append(torch.sigmoid(z_above / self.log_lambda[above].exp()))
            value = self.f(x, relaxed, a)
            if self.r:
                seen = [x - self.mean, *(2 * b - 1 for b in latents[:k]), z]
                value = value + self.r[k](torch.cat(seen, -1)).squeeze(-1)
            return self.eta[k] * value

        return at

    def step(self, x: Tensor) -> None:
        draws, logits, below = [], [], x
        for k in range(len(self.encoder)):
            logits.append(self.encode(k, below))
            draws.append(draw(logits[k]))
            below = draws[k][0]
        latents = [b for b, _, _ in draws]
        noise = [(z - a).detach() for (_, z, _), a in zip(draws, logits, strict=True)]
        f_b = self.f(x, latents, logits)
        grads = [
            relax(f_b, self.c(k, x, latents, logits, noise), logits[k], *draws[k])
            for k in range(len(logits))
        ]
        objective = sum(grad.square().sum() for grad in grads) / len(x)
        phi_grads = torch.autograd.grad(objective, self.phi, retain_graph=True)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        rows = [grad.detach() / len(x) for grad in grads]
        weights = [*self.encoder.parameters(), *self.decoder.parameters(), self.prior]
        torch.autograd.backward([f_b.mean(), *logits], [None, *rows], inputs=weights)
        for p, p_grad in zip(self.phi, phi_grads, strict=True):
            p.grad = p_grad
        for optimizer in self.optimizers:
            optimizer.step()

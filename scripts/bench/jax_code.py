"""The toy and the linear VAE in JAX: what jit, vmap and scan make of the same mathematics.

Needs jax (pip install -e '.[bench]'). Noise is coupled: z~ equals z in value.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_cpu_enable_async_dispatch", False)  # a call is finished when it returns
jax.config.update("jax_default_prng_impl", "rbg")  # faster than the default on a CPU
TINY = 1e-6
Tree = Any  # a nest of arrays


def adam(state: Tree, grads: Tree, lr: float, betas: tuple[float, float]) -> Tree:
    """Adam's step on state = (parameters, m, v, steps)."""
    parameters, m, v, steps = state
    steps = steps + 1
    m = jax.tree.map(lambda m, g: betas[0] * m + (1 - betas[0]) * g, m, grads)
    v = jax.tree.map(lambda v, g: betas[1] * v + (1 - betas[1]) * g * g, v, grads)
    first, second = 1 - betas[0] ** steps, 1 - betas[1] ** steps

    def moved(p, m, v):
        return p - lr * (m / first) / (jnp.sqrt(v / second) + 1e-8)

    return jax.tree.map(moved, parameters, m, v), m, v, steps


def start(parameters: Tree) -> Tree:
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    return parameters, zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros(())


def relax(f_b, c, phi, a, u):
    """Every row's gradient in the logits a (Grathwohl et al., 2018, equation 8)."""
    z, p = a + jnp.log(u) - jnp.log1p(-u), jax.nn.sigmoid(a)
    c_z, back = jax.vjp(lambda z: c(phi, z), z)
    (dc,) = back(jnp.ones_like(c_z))
    # d/dlogits (z - z~), where v of z~ is recovered from u
    difference = jnp.where(z > 0, (1 - p) / u, p / (1 - u))
    return (f_b - c_z)[..., None] * ((z > 0) - p) + difference * dc


class Toy:
    """RELAX on the toy: `steps` steps of all seeds per call."""

    def __init__(self, seeds: int, steps: int, t: float = 0.499, hidden: int = 10) -> None:
        self.t, key = t, jax.random.key(0)
        w1, w2 = jax.random.normal(key, (2, seeds, hidden))
        zero = jnp.zeros(seeds)
        phi = (w1, jnp.zeros((seeds, hidden)), w2, zero, zero + 0, zero + jnp.log(0.5))
        state = start((jnp.zeros((seeds, 1)), phi))
        self.state = (*state[:3], jnp.zeros(seeds)), key
        advance = jax.vmap(self._step, in_axes=(0, 0))

        def several(state, key):
            key, drawn = jax.random.split(key)
            u = jax.random.uniform(drawn, (steps, seeds, 1), minval=TINY, maxval=1 - TINY)
            return jax.lax.scan(lambda s, u: (advance(s, u), None), state, u)[0], key

        self.several = jax.jit(several, donate_argnums=0)

    @staticmethod
    def c(phi, z):
        w1, b1, w2, b2, scale, log_lambda = phi
        x = jnp.tanh(0.5 * z / jnp.exp(log_lambda))
        return scale * ((jnp.tanh(x * w1 + b1) * w2).sum(-1) + b2)

    def _step(self, state, u):
        return adam(state, self.gradients(*state[0], u), 0.01, (0.9, 0.999))

    def gradients(self, logit, phi, u):
        """Of one seed: the estimate, and the gradient of its square in phi."""
        b = (logit + jnp.log(u) - jnp.log1p(-u) > 0).astype(u.dtype)
        f_b = jnp.square(b - self.t).sum(-1)

        def square(phi):
            grad = relax(f_b, self.c, phi, logit, u)
            return jnp.square(grad).sum(), grad

        of_phi, grad = jax.grad(square, has_aux=True)(phi)
        return grad, of_phi

    def step(self) -> None:
        self.state = self.several(*self.state)


def log_prob(b, logits):
    return -(jax.nn.softplus(logits) - b * logits).sum(-1)


class VAE:
    """The paper's linear model of one layer, with REBAR or RELAX."""

    def __init__(self, estimator: str, images: np.ndarray, batch: int, latents: int = 200) -> None:
        pixels, mean = images.shape[1], images.mean(0)
        self.mean, self.offset = mean, np.log(mean.clip(0.001, 0.999) / (1 - mean).clip(0.001))
        random = np.random.default_rng(0)

        def linear(n_in: int, n_out: int) -> dict:
            weight = 0.05 * random.standard_normal((n_in, n_out), dtype=np.float32)
            return {"w": jnp.asarray(weight), "b": jnp.zeros(n_out)}

        weights = {"encoder": linear(pixels, latents), "decoder": linear(latents, pixels)}
        weights["prior"] = jnp.zeros(latents)
        phi = {"eta": jnp.ones(()), "log_lambda": jnp.log(0.5)}
        if estimator == "relax":
            phi["r_x"] = linear(pixels, latents)
            phi["r_z"] = [linear(latents, n) for n in (latents, latents, 1)]
        self.state = start((weights, phi)), jax.random.key(0)
        data = jnp.asarray(images)

        def step(state, key):
            key, rows, noise = jax.random.split(key, 3)
            x = data[jax.random.randint(rows, (batch,), 0, len(data))]
            u = jax.random.uniform(noise, (batch, latents), minval=TINY, maxval=1 - TINY)
            return adam(state, self.gradients(*state[0], x, u), 1e-4, (0.9, 0.99999)), key

        self.advance = jax.jit(step, donate_argnums=0)

    def f(self, weights, x, b, a):
        """The negative ELBO of every row."""
        y = (2 * b - 1) @ weights["decoder"]["w"] + weights["decoder"]["b"] + self.offset
        return log_prob(b, a) - log_prob(x, y) - log_prob(b, weights["prior"])

    def c(self, weights, x, a, phi, z):
        value = self.f(weights, x, jax.nn.sigmoid(z / jnp.exp(phi["log_lambda"])), a)
        if "r_x" in phi:
            h = (x - self.mean) @ phi["r_x"]["w"] + phi["r_x"]["b"]
            first, second, last = phi["r_z"]
            h = jax.nn.relu(z @ first["w"] + first["b"] + h)
            h = jax.nn.relu(h @ second["w"] + second["b"])
            value = value + (h @ last["w"] + last["b"])[..., 0]
        return phi["eta"] * value

    def gradients(self, weights, phi, x, u):
        """Of the weights and of phi."""

        def forward(weights):
            a = (x - self.mean) @ weights["encoder"]["w"] + weights["encoder"]["b"]
            b = (a + jnp.log(u) - jnp.log1p(-u) > 0).astype(x.dtype)
            return self.f(weights, x, b, a), a

        (f_b, a), back = jax.vjp(forward, weights)

        def objective(phi):
            grad = relax(f_b, lambda phi, z: self.c(weights, x, a, phi, z), phi, a, u)
            return jnp.square(grad).sum() / len(x), grad

        of_phi, grad = jax.grad(objective, has_aux=True)(phi)
        (of_weights,) = back((jnp.full(len(x), 1 / len(x)), grad / len(x)))
        return of_weights, of_phi

    def step(self) -> None:
        self.state = self.advance(*self.state)

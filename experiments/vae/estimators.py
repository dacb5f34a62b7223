"""The estimators on a VAE of L layers: one `rx.Estimate` per layer from one hard pass.

Each class holds an estimator's phi and turns (x, noise) into estimates by calling the core with
f = the negative ELBO. The mathematics of the estimators is in the core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

import relax as rx
from experiments.run.errors import check
from experiments.vae.method import Method, Noises, f_of_one_layer, hard_pass
from experiments.vae.models import VAE, Sample
from experiments.vae.settings import (
    Arms,
    Carms,
    Concrete,
    DebiasedReinMax,
    DisArm,
    DoubleCv,
    MuProp,
    Nvil,
    Rebar,
    Reinforce,
    ReinMax,
    Relax,
    RelaxBenchmark,
    RelaxPublished,
    Several,
    StGumbel,
    StraightThrough,
    UnbiasedReinMax,
)
from experiments.vae.several import SeveralSamples
from experiments.vae.surrogate import Residual, Surrogate
from relax.replicas import MLP


class ScoreFunction(Method):
    """REINFORCE; with several samples, each has the mean of the others as its baseline.

    The samples are rows of one batch, because every layer depends on the layers below it.
    """

    def noise(self, batch: int, generator) -> Noises:
        return super().noise(batch * self.settings.samples, generator)

    def estimates(self, x: Tensor, noise: Noises) -> list[rx.Estimate]:
        count, rows = self.settings.samples, x.shape[1]
        draws, sample = hard_pass(self.vae, x.repeat(1, count, 1), noise)
        f_b, baseline = sample.f, 0.0
        if count > 1:
            f = f_b.detach().unflatten(1, (count, rows))
            baseline = ((f.sum(1, keepdim=True) - f) / (count - 1)).flatten(1)
        return [rx.reinforce(f_b, draw, baseline=baseline) for draw in draws]


class WithBaseline(Method):
    """NVIL and MuProp, with a learned baseline of the layer's input."""

    def __init__(self, vae: VAE, settings: Nvil | MuProp, generators: Sequence[torch.Generator]):
        super().__init__(vae, settings, generators)
        widths = [len(vae.mean)] + [vae.latents] * (vae.depth - 1)
        self.baselines = nn.ModuleList(
            MLP([n, settings.hidden, 1], "tanh", len(generators), generators) for n in widths
        )

    def estimates(self, x: Tensor, noise: Noises) -> list[rx.Estimate]:
        draws, sample = hard_pass(self.vae, x, noise)
        f_b, below = sample.f, [x, *sample.latents]
        estimates = []
        for k, draw in enumerate(draws):
            baseline = self.baselines[k](self.vae.encoder_input(k, below[k])).squeeze(-1)
            if isinstance(self.settings, MuProp):
                mean_field = partial(self.mean_field, k, x, sample)
                estimates.append(rx.muprop(f_b, draw, mean_field=mean_field, baseline=baseline))
            else:
                estimates.append(rx.nvil(f_b, draw, baseline=baseline))
        return estimates

    def mean_field(self, layer: int, x: Tensor, sample: Sample, m: Tensor) -> Tensor:
        """f with means in place of samples from this layer up."""
        latents = [*sample.latents[:layer], m]
        logits = [a.detach() for a in sample.logits[: layer + 1]]
        return self.vae.complete(x, latents, logits, lambda _, a: self.vae.squash(a)).f


class Reparameterized(Method):
    """Concrete, straight-through and others: biased, they differentiate f through the sample."""

    def estimates(self, x: Tensor, noise: Noises) -> list[rx.Estimate]:
        return [self._from(0, x, [], [], noise)]

    def _from(
        self, layer: int, x: Tensor, latents: list[Tensor], logits: list[Tensor], noise: Noises
    ) -> rx.Estimate:
        """The estimate of this layer, whose f contains the estimates of the layers above."""
        below = latents[-1] if latents else x
        dist = self.vae.distribution(self.vae.encode(layer, below))
        logits = [*logits, self.vae.own_logits(dist.theta)]

        def f(b: Tensor) -> Tensor:
            if layer == self.vae.depth - 1:
                return self.vae.score(x, [*latents, b], logits).f
            above = self._from(layer + 1, x, [*latents, b], logits, noise)
            linear = (above.grad.detach() * above.theta).sum(-1)
            return above.value + (linear - linear.detach())  # f, with the estimate as derivative

        estimator = rx.ESTIMATORS[self.settings.core].function
        return estimator(f, rx.Draw(dist, noise[layer]), **asdict(self.settings))


class ControlVariates(Method):
    """REBAR and RELAX: per layer one eta, one lambda and, for RELAX, one network r."""

    def __init__(self, vae: VAE, settings: Rebar | Relax, generators: Sequence[torch.Generator]):
        super().__init__(vae, settings, generators)
        self.coupled = settings.coupled
        self.with_f = getattr(settings, "with_f", True)
        self.scales = nn.ModuleList(
            rx.surrogates.Scales(settings.eta, settings.lambda_, len(generators))
            for _ in range(vae.depth)
        )
        for scales in self.scales:
            scales.eta.requires_grad_(settings.learn_eta)
            # without f there is no temperature
            scales.log_lambda.requires_grad_(settings.learn_lambda and self.with_f)
        self.residuals = nn.ModuleList()
        if isinstance(settings, Relax):
            self.residuals.extend(
                Residual(
                    context=len(vae.mean) + k * vae.latents,
                    latents=vae.latents,
                    hidden=settings.hidden,
                    depth=settings.depth,
                    replicas=len(generators),
                    generators=generators,
                    inputs=settings.inputs,
                    activation=settings.activation,
                )
                for k in range(vae.depth)
            )

    def estimates(self, x: Tensor, noise: Noises) -> list[rx.Estimate]:
        draws, sample = hard_pass(self.vae, x, noise)
        f_b = sample.f
        return [
            rx.relax(f_b, draw, c=self.surrogate(k, x, sample, noise))
            for k, draw in enumerate(draws)
        ]

    def surrogate(self, layer: int, x: Tensor, sample: Sample, noise: Noises) -> Surrogate:
        """c of this layer for this batch."""
        return Surrogate(
            self.vae,
            layer,
            x,
            sample,
            noise,
            self.scales,
            residual=self.residuals[layer] if self.residuals else None,
            with_f=self.with_f,
            tucker=self.settings.relaxation == "tucker",
        )

    @torch.no_grad()
    def add_weight_decay(self, batch: int) -> None:
        """The authors' decay of r, weights and biases.

        Their objective is the mean over batch and units of (g/B)^2 and ours the mean over the
        batch of sum_d g_d^2, B^2 D times theirs; so the decay is B^2 D times theirs as well.
        """
        weights = list(self.residuals.parameters())
        if weights and self.settings.weight_decay:
            decay = self.settings.weight_decay * batch**2 * self.vae.latents
            torch._foreach_add_([w.grad for w in weights], weights, alpha=decay)


class UnbiasedReinMaxLayers(Method):
    """unbiased_reinmax with c = f, the layers above relaxed; per layer one eta, gamma, lambda.

    On one layer f is given as a function, which saves an evaluation and allows several samples.
    """

    coupled = False

    def __init__(self, vae: VAE, settings: UnbiasedReinMax, generators: Sequence[torch.Generator]):
        super().__init__(vae, settings, generators)
        self.accept("unbiased_reinmax")
        check(
            settings.samples == 1 or vae.depth == 1,
            f"unbiased_reinmax: samples={settings.samples} are for one layer, not {vae.depth}",
        )
        replicas, layers = len(generators), range(vae.depth)
        self.scales = nn.ModuleList(
            rx.surrogates.Scales(settings.eta, settings.lambda_, replicas, settings.gamma)
            for _ in layers
        )
        for scales in self.scales:
            scales.log_lambda.requires_grad_(settings.learn_lambda)

    def noise(self, batch: int, generator) -> Noises:
        if self.settings.samples == 1:
            return super().noise(batch, generator)
        dist, samples = self.vae.prior_of(batch), self.settings.samples
        return [rx.unbiased_reinmax.noise(dist, samples=samples, generator=generator)]

    def estimates(self, x: Tensor, noise: Noises) -> list[rx.Estimate]:
        if self.vae.depth == 1:
            dist = self.vae.distribution(self.vae.encode(0, x))
            draw = rx.unbiased_reinmax.draw(dist, noise=noise[0], samples=self.settings.samples)
            return [self.estimate(0, f_of_one_layer(self.vae, x, dist.theta), draw)]
        draws, sample = hard_pass(self.vae, x, noise)
        f_b = sample.f
        return [
            self.estimate(k, f_b, draw, Surrogate(self.vae, k, x, sample, noise, self.scales).f)
            for k, draw in enumerate(draws)
        ]

    def estimate(
        self, layer: int, f: Tensor | Callable, draw: rx.Draw, c: Callable | None = None
    ) -> rx.Estimate:
        """From f(b) or from f itself; c is f where it is not given."""
        scales = self.scales[layer]
        own = {"eta": scales.eta, "lambda_": scales.lambda_, "gamma": scales.gamma}
        return rx.unbiased_reinmax(f, draw, c=c, **own)


class Entry(NamedTuple):
    """An estimator's settings and the class that computes its estimates."""

    settings: type
    method: type[Method]


ESTIMATORS = {
    "reinforce": Entry(Reinforce, ScoreFunction),
    "nvil": Entry(Nvil, WithBaseline),
    "muprop": Entry(MuProp, WithBaseline),
    "concrete": Entry(Concrete, Reparameterized),
    "straight_through": Entry(StraightThrough, Reparameterized),
    "st_gumbel": Entry(StGumbel, Reparameterized),
    "reinmax": Entry(ReinMax, Reparameterized),
    "rebar": Entry(Rebar, ControlVariates),
    "relax": Entry(Relax, ControlVariates),
    "relax_published": Entry(RelaxPublished, ControlVariates),
    "unbiased_reinmax": Entry(UnbiasedReinMax, UnbiasedReinMaxLayers),
    "relax_benchmark": Entry(RelaxBenchmark, ControlVariates),
    "rloo": Entry(Several, SeveralSamples),
    "disarm": Entry(DisArm, SeveralSamples),
    "arms": Entry(Arms, SeveralSamples),
    "double_cv": Entry(DoubleCv, SeveralSamples),
    "carms": Entry(Carms, SeveralSamples),
    "debiased_reinmax": Entry(DebiasedReinMax, SeveralSamples),
}

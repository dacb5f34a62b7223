"""A layer of a VAE as a problem: its flips, its mean over the layers above, training through it."""

import time
from functools import partial

import pytest
import torch
from torch.nn.functional import logsigmoid

import relax as rx
from experiments.compare import functions, settings
from experiments.compare import measure as compare
from experiments.compare.layers import Layer
from experiments.vae.models import VAE


def small(model, pixels, latents, images):
    generator = torch.Generator().manual_seed(2)
    vae = VAE(model, torch.rand(pixels, generator=generator), latents, 4, [generator])
    for p in vae.parameters():
        p.data += 0.7 * torch.randn(p.shape, generator=generator)
    x = (torch.rand(images, pixels, generator=generator) < 0.4).to(p.dtype)
    return vae, x


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("leading", [(), (3,)])
def test_flips_of_a_linear_decoder_equal_the_loop_over_coordinates(leading):
    vae, x = small("linear1", 30, 12, 5)
    layer = Layer(vae, 0, x, torch.Generator().manual_seed(0))
    b = torch.randint(2, (*leading, 5, 12)).double()
    loop = [layer.f(torch.where(torch.arange(12) == d, 1 - b, b)) for d in range(12)]
    assert (layer.flips(b) - torch.stack(loop, -1)).abs().max() < 1e-10
    bench = settings.Bench(layer)
    draw = layer.dist.draw(2)
    cheap, plain = (rx.local_expectation(f, draw).grad for f in (bench, layer.f))
    assert torch.allclose(cheap, plain, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
def test_flips_take_at_most_half_as_long_again_as_their_softplus():
    """784 pixels, 200 latents, 100 images; in chunks that stay in the cache."""
    generator = torch.Generator().manual_seed(0)
    vae = VAE("linear1", torch.rand(784, generator=generator), generators=[generator])
    layer = Layer(vae, 0, torch.rand(100, 784).round(), generator)
    b, logits = torch.randint(2, (100, 200)).float(), torch.randn(100, 200, 784)

    def seconds(work):
        times = []
        for _ in range(4):
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
        return min(times)

    with torch.no_grad():
        assert seconds(lambda: layer.flips(b)) < 1.5 * seconds(lambda: logsigmoid(logits).sum(-1))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "name",
    [
        *("rloo-2", "arms-3", "rebar", "relax", "relax-coupled"),
        *("unbiased_reinmax-1", "unbiased_reinmax-2", "debiased_reinmax"),
    ],
)
def test_a_lower_layers_gradient_is_that_of_the_mean_over_the_layers_above(name):
    """Against enumeration of both layers; every row has noise of its own above."""
    vae, x = small("linear2", 6, 2, 1)
    vae.requires_grad_(False)
    layer = Layer(vae, 0, x.expand(100_000, -1), torch.Generator().manual_seed(3))
    bench = settings.Bench(layer)
    estimator, phi = settings.SETTINGS[name].build(bench)
    for p in phi:  # away from the start, where networks are worth nothing
        p.data += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(5))
    grad = estimator(bench, layer.dist, generator=torch.Generator().manual_seed(4)).grad.detach()

    logits = layer.dist.theta[:1].clone().requires_grad_()
    b_1 = rx.Bernoulli(logits[0]).support()[:, None, None]  # [4, 1, 1, 2]
    a_2 = vae.encode(1, b_1)
    b_2 = rx.Bernoulli(a_2[:, 0]).support()[:, :, None]  # [4, 4, 1, 1, 2]
    latents = [b_1.expand_as(b_2), b_2]
    f = vae.score(x[None], latents, [logits[None].detach(), a_2]).f.squeeze(-1).squeeze(-1)
    p_2 = rx.Bernoulli(a_2).log_prob(b_2).sum((-1, -2, -3)).exp()
    p_1 = rx.Bernoulli(logits[0]).log_prob(b_1).sum((-1, -2, -3)).exp()
    (exact,) = torch.autograd.grad((p_1 * p_2 * f).sum(), logits)
    z = (grad.mean(0) - exact[0]) / (grad.std(0) / len(grad) ** 0.5)
    assert z.abs().max() < 5


@pytest.mark.parametrize("model", ["linear1", "linear2"])
def test_only_the_estimate_moves_the_layers_own_encoder(model):
    """f's direct slope in the logits, b - p, has mean 0 and is left out; the decoder's is not."""
    vae, x = small(model, 8, 3, 4)
    layer = Layer(vae, 0, x, torch.Generator().manual_seed(0), attached=True)
    est = rx.reinforce(layer.f, layer.dist)
    assert est.theta.requires_grad
    est.value.sum().backward()
    assert all(p.grad is None for p in vae.encoder[0].parameters())
    assert all(p.grad.abs().sum() > 0 for p in vae.decoder.parameters())


def test_phi_is_fitted_on_the_stream_and_measured_on_the_problem():
    vae, x = small("linear1", 8, 3, 4)
    vae.requires_grad_(False)
    make_layer = partial(Layer, vae, 0, x, torch.Generator().manual_seed(0))
    setting = settings.SETTINGS["unbiased_reinmax-1"]
    bench = settings.Bench(problem := make_layer())
    made = setting.build(bench)
    before = [p.item() for p in made[1]]
    generator = torch.Generator().manual_seed(1)
    compare.fit(bench, made, setting, make_layer, generator)
    assert [p.item() for p in made[1]] != before and bench.problem is problem
    found = compare.measure(bench, made[0], 50, generator)
    assert found.evaluations == 2 and len(found.grads) == 50 and found.variance > 0


def test_a_function_knows_the_bias():
    one, generator = functions.problem("sharp_choices", "start"), torch.Generator().manual_seed(0)
    exact = one.exact().flatten(1)
    for name, biased in (("rloo-2", False), ("straight_through", True)):
        bench = settings.Bench(one)
        estimator, _ = settings.SETTINGS[name].build(bench)
        found = compare.measure(bench, estimator, 20_000, generator, copies=1000)
        bias2, error = compare.squared_bias(found, exact, 0.0)
        assert (bias2 > 5 * error) == biased

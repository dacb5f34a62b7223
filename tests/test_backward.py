"""rx.backward behaves like loss.backward(): hooks, accumulation, DDP, GradScaler, any phi."""

from __future__ import annotations

import multiprocessing
import os
import socket

import pytest
import torch
from torch import nn

import relax as rx
from tests.helpers import quadratic, wavy


def problem(rows: int = 6):
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(5, 3))
    x = torch.randn(rows, 5)
    c = rx.surrogates.mlp(3, hidden=6, zero_scale=False)
    return weight, x, c


def estimate(weight, x, c, seed=1, f=wavy):
    generator = torch.Generator().manual_seed(seed)
    return rx.relax(f, rx.Bernoulli(x @ weight), c=c, generator=generator)


def grads(*params):
    return [p.grad.clone() for p in params]


# ---- accumulation ----


def test_a_gradient_is_accumulated_and_no_two_share_storage():
    """A8: c = ... + (a + b) + w.sum(), whose gradients autograd shares or expands."""
    weight, x, _ = problem()
    a, b, w = (nn.Parameter(torch.zeros(shape)) for shape in (6, 6, 4))

    def c(z):
        return z.sin().sum(-1) + (a + b) + w.sum()

    params = [weight, a, b, w]
    rx.backward(estimate(weight, x, c), phi=[a, b, w])
    once = grads(*params)
    assert len({p.grad.data_ptr() for p in params}) == 4
    norm = torch.cat([g.flatten() for g in once]).norm()
    nn.utils.clip_grad_norm_(params, float(norm) / 2)
    for p, grad in zip(params, once, strict=True):
        torch.testing.assert_close(p.grad, grad / 2, rtol=1e-4, atol=1e-6)
        p.grad = None
    for _ in range(2):
        rx.backward(estimate(weight, x, c), phi=[a, b, w])
    for p, grad in zip(params, once, strict=True):
        torch.testing.assert_close(p.grad, 2 * grad)


def test_the_estimate_and_the_gradient_share_no_storage():
    theta = nn.Parameter(torch.zeros(3))
    est = rx.reinforce(quadratic, rx.Bernoulli(theta))
    kept = est.grad.clone()
    rx.backward(est)
    theta.grad.zero_()
    assert torch.equal(est.grad, kept)


def test_hooks_fire():
    weight, x, c = problem()
    log = []
    for name, p in (("theta", weight), ("phi", c.net.layers[0].weight)):
        p.register_hook(lambda grad, name=name: log.append(name))
        p.register_post_accumulate_grad_hook(lambda p, name=name: log.append(f"{name} after"))
    rx.backward(estimate(weight, x, c), phi=c)
    assert sorted(log) == ["phi", "phi after", "theta", "theta after"]


def test_an_optimizer_in_the_backward_pass_works():
    """torch's recipe: step in post-accumulate hooks, which needs each gradient to arrive once."""
    weight, x, c = problem()
    steps = {p: torch.optim.SGD([p], lr=0.1) for p in (weight, *c.parameters())}

    def step(p):
        steps[p].step()
        steps[p].zero_grad()

    expected = [p.detach().clone() for p in steps]
    rx.backward(estimate(weight, x, c), phi=c)
    expected = [p - 0.1 * q.grad for p, q in zip(expected, steps, strict=True)]
    for p in steps:
        p.grad = None
        p.register_post_accumulate_grad_hook(step)
    rx.backward(estimate(weight, x, c), phi=c)
    for p, wanted in zip(steps, expected, strict=True):
        torch.testing.assert_close(p.detach(), wanted)


def test_twice_works_where_backward_would():
    theta = nn.Parameter(torch.zeros(4, 3))
    est = rx.reinforce(lambda b: b.numpy().sum(-1), rx.Bernoulli(theta))
    rx.backward(est)
    rx.backward(est)
    torch.testing.assert_close(theta.grad, est.grad / 2)
    weight, x, c = problem()
    est = estimate(weight, x, c)
    rx.backward(est, c)
    with pytest.raises(RuntimeError, match="second time"):
        rx.backward(est, c)


def test_several_estimates_of_one_theta_add_up():
    theta = nn.Parameter(torch.zeros(4, 3))
    draws = [rx.Bernoulli(theta).draw() for _ in range(2)]
    value = quadratic(draws[0].b + draws[1].b)
    layers = [rx.reinforce(value, draw) for draw in draws]
    rx.backward(layers)
    torch.testing.assert_close(theta.grad, (layers[0].grad + layers[1].grad) / 4)


def test_no_estimates_are_refused():
    with pytest.raises(ValueError, match="no estimates"):
        rx.backward([])


def test_phi_shared_with_the_model_gets_the_variance_alone():
    """What a summed scalar loss gets wrong: a trunk in both, and f's weights inside c."""
    torch.manual_seed(0)
    decoder, weight = nn.Linear(3, 1), nn.Parameter(torch.randn(5, 3))
    eta = nn.Parameter(torch.tensor(0.7))

    def f(b):
        return decoder(b).squeeze(-1).square()

    def run(phi):
        for p in (weight, eta, *decoder.parameters()):
            p.grad = None
        dist = rx.Bernoulli(torch.ones(6, 5) @ weight)
        generator = torch.Generator().manual_seed(3)
        rx.backward(rx.rebar(f, dist, eta=eta, generator=generator), phi)
        return grads(weight, *decoder.parameters())

    for with_phi, without in zip(run(eta), run(()), strict=True):
        torch.testing.assert_close(with_phi, without)


# ---- scale ----


@pytest.mark.parametrize("scale", [128.0, torch.tensor(128.0)])
def test_everything_is_scaled_once(scale):
    weight, x, c = problem()
    rx.backward(estimate(weight, x, c), c)
    once = grads(weight, *c.parameters())
    weight.grad = None
    c.zero_grad()
    rx.backward(estimate(weight, x, c), c, scale=scale)
    for p, grad in zip((weight, *c.parameters()), once, strict=True):
        torch.testing.assert_close(p.grad, 128 * grad)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_grad_scaler_and_autocast(dtype):
    """A model in half precision under torch's GradScaler takes the step of the unscaled one."""
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)

    def run(scaled):
        torch.manual_seed(0)
        encoder, decoder = nn.Linear(5, 3), nn.Linear(3, 1)
        c = rx.surrogates.mlp(3, hidden=6, zero_scale=False)
        model = torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], lr=0.1)
        phi = torch.optim.SGD(c.parameters(), lr=0.01)
        with torch.autocast("cpu", dtype):
            dist = rx.Bernoulli(encoder(torch.randn(8, 5)))
            est = rx.relax(lambda b: decoder(b).squeeze(-1) ** 2, dist, c=c)
        assert est.value.dtype == dtype and est.grad.dtype == torch.float32
        if not scaled:
            rx.backward(est, c)
            model.step(), phi.step()
        else:
            rx.backward(est, c, scale=scaler.scale(torch.ones(())))
            scaler.step(model), scaler.step(phi)
            scaler.update()
        return [p.detach() for m in (encoder, decoder, c) for p in m.parameters()]

    for plain, scaled in zip(run(False), run(True), strict=True):
        assert plain.isfinite().all()
        torch.testing.assert_close(scaled, plain, rtol=2e-2, atol=2e-3)


# ---- DistributedDataParallel ----


def worker(rank: int, port: int, results) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(0)  # the same weights everywhere
    encoder = nn.parallel.DistributedDataParallel(nn.Linear(5, 3))
    net = rx.surrogates.mlp(3, hidden=6, context=5, zero_scale=False)
    c = nn.parallel.DistributedDataParallel(net)
    x = torch.randn(2, 4, 5)[rank]  # other rows on each rank
    generator = torch.Generator().manual_seed(rank)
    for coupled in (False, True):  # two steps
        encoder.zero_grad(), c.zero_grad()
        dist = rx.Bernoulli(encoder(x))
        noise = dist.noise(generator=generator, coupled=coupled)
        est = rx.relax(wavy, rx.Draw(dist, noise), c=lambda z: c(z, x))
        rx.backward(est, phi=c)
    found = [p.grad.clone() for p in (*encoder.parameters(), *c.parameters())]
    alone = torch.autograd.grad(rx.variance_objective(
        rx.relax(wavy, rx.Draw(rx.Bernoulli(encoder.module(x)), noise), c=net.given(x))
    ), list(net.parameters()))  # fmt: skip
    results.put((rank, [g.tolist() for g in found], [g.tolist() for g in alone]))
    torch.distributed.destroy_process_group()


def test_ddp_gives_every_rank_the_mean_gradient():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=worker, args=(rank, port, results)) for rank in (0, 1)]
    for process in processes:
        process.start()
    answers = sorted(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    (_, first, alone_0), (_, second, alone_1) = answers
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(torch.tensor(a), torch.tensor(b), rtol=0, atol=0)
    phi = first[2:]  # behind the encoder's weight and bias
    for a, one, other in zip(phi, alone_0, alone_1, strict=True):
        mean = (torch.tensor(one) + torch.tensor(other)) / 2
        torch.testing.assert_close(torch.tensor(a), mean, rtol=1e-4, atol=1e-5)

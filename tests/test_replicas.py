"""Replicas: streams, stacked layers and optimisers; a replica equals the run alone, bit for bit."""

import pytest
import torch

import relax as rx
from relax import replicas


def test_a_stream_does_not_depend_on_its_neighbours():
    together = replicas.Streams([3, 7, 11])
    alone = replicas.Streams([7])
    for _ in range(3):
        assert torch.equal(together.rand(2000)[1], alone.rand(2000)[0])
        assert torch.equal(together.randn(3, 5)[1], alone.randn(3, 5)[0])
        assert torch.equal(together.randint(10, 4)[1], alone.randint(10, 4)[0])


@pytest.mark.parametrize("used", [0, 1, 7])
def test_a_stream_resumes_where_it_was(used):
    streams = replicas.Streams([3, 7], block=100)
    for _ in range(used):
        streams.rand(33)
        streams.randn(17)
    state = streams.state_dict()
    expected = [(streams.rand(40), streams.randn(40)) for _ in range(6)]
    other = replicas.Streams([0, 0], block=100)
    other.rand(5)
    other.load_state_dict(state)
    for a, b in expected:
        assert torch.equal(other.rand(40), a) and torch.equal(other.randn(40), b)


def test_streams_feed_the_noise_of_replicas():
    def noise(seeds):
        dist = rx.Bernoulli(torch.zeros(len(seeds), 4, 3), replicas=1)
        return dist.noise(2, generator=replicas.Streams(seeds))

    assert noise([5, 6]).u.shape == (2, 2, 4, 3)
    assert torch.equal(noise([5, 6]).u[:, 1], noise([6]).u[:, 0])
    with pytest.raises(ValueError, match="streams"):
        rx.Bernoulli(torch.zeros(3, 4)).noise(generator=replicas.Streams([1, 2]))


def test_matmul_folds_leading_axes():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 5, 3, 4, 6), torch.randn(3, 6, 7)
    assert torch.allclose(replicas.matmul(x, weight), x @ weight, atol=1e-6)


@pytest.mark.parametrize("make", [replicas.Adam, replicas.RMSprop])
def test_stacked_optimisers_equal_torch_run_by_run(make):
    torch.manual_seed(0)
    rates = torch.tensor([0.1, 0.01, 0.003])
    start = torch.randn(3, 4, 5)
    stacked = torch.nn.Parameter(start.clone())
    optimizer = make([stacked], lr=rates)
    singles = [torch.nn.Parameter(p.clone()) for p in start]
    reference = {
        replicas.Adam: lambda p, lr: torch.optim.Adam([p], lr=lr),
        replicas.RMSprop: lambda p, lr: torch.optim.RMSprop([p], lr=lr),
    }[make]
    others = [reference(p, float(lr)) for p, lr in zip(singles, rates, strict=True)]
    for step in range(20):
        stacked.grad = torch.sin(step + stacked.detach() * 3)
        optimizer.step()
        for p, other in zip(singles, others, strict=True):
            p.grad = torch.sin(step + p.detach() * 3)
            other.step()
    for p, q in zip(stacked, singles, strict=True):
        assert torch.allclose(p, q, atol=1e-6)


@pytest.mark.parametrize("make", [replicas.Adam, replicas.RMSprop])
def test_optimisers_resume(make):
    def run(steps, saved=None, p=None):
        p = torch.nn.Parameter(torch.ones(2, 3) if p is None else p.clone())
        optimizer = make([p], lr=torch.tensor([0.1, 0.2]))
        if saved is not None:
            optimizer.load_state_dict(saved)
        for _ in range(steps):
            p.grad = torch.cos(p.detach())
            optimizer.step()
        return p.detach(), optimizer.state_dict()

    half, saved = run(5)
    resumed, _ = run(5, saved, half)
    assert torch.equal(resumed, run(10)[0])


@pytest.mark.parametrize(
    ("lr", "message"), [(-0.1, "negative"), (torch.tensor([0.1, 0.2, 0.3]), "3 learning rates")]
)
def test_bad_learning_rates_are_refused(lr, message):
    with pytest.raises(ValueError, match=message):
        replicas.Adam([torch.nn.Parameter(torch.zeros(2, 3))], lr=lr)


def train(seeds, rates, coupled, steps=300):
    """A small RELAX problem with a decoder, an encoder and a surrogate, in float32."""
    generators = [torch.Generator().manual_seed(s) for s in seeds]
    count = len(seeds)
    encoder = replicas.Linear(6, 5, count, generator=generators)
    decoder = replicas.Linear(5, 6, count, generator=generators)
    c = rx.surrogates.mlp(
        5, 10, layers=2, lambda_=0.5, zero_scale=False, replicas=count, generator=generators
    )
    model = replicas.Adam([*encoder.parameters(), *decoder.parameters()], lr=rates)
    surrogate = replicas.Adam(c.parameters(), lr=rates)
    streams = replicas.Streams(seeds)
    for _ in range(steps):
        x = (streams.rand(8, 6) > 0.6).float()
        dist = rx.Bernoulli(encoder(x), replicas=1)
        est = rx.relax(
            lambda b, x=x: (decoder(b) - x).square().sum(-1),
            dist,
            c=c,
            generator=streams,
            coupled=coupled,
        )
        model.zero_grad()
        surrogate.zero_grad()
        rx.backward(est, phi=c)
        model.step()
        surrogate.step()
    return [p.detach() for p in (*encoder.parameters(), *decoder.parameters(), *c.parameters())]


@pytest.mark.parametrize("coupled", [False, True])
def test_a_replica_equals_the_run_alone_bit_for_bit(coupled):
    seeds, rates = [4, 9, 2, 30, 5], torch.tensor([0.01, 0.003, 0.01, 0.001, 0.02])
    together = train(seeds, rates, coupled)
    for r in (0, 1, 4):
        alone = train(seeds[r : r + 1], rates[r : r + 1], coupled)
        assert all(torch.equal(p[r], q[0]) for p, q in zip(together, alone, strict=True))

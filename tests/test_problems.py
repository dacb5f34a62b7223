"""Whole problems against exact enumeration: every parameter's mean gradient, by rx.backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import pytest
import torch
from torch import nn

import relax as rx

pytestmark = pytest.mark.usefixtures("float64")
ROWS, REPEATS = 400, 200  # the same input in every row of a batch; batches


def check(step: Callable[[torch.Generator], None], params: Sequence, exact: Sequence) -> None:
    """The mean over batches of what `step` accumulates in params, within 5 standard errors."""
    generator, sums, squares = torch.Generator().manual_seed(0), None, None
    for _ in range(REPEATS):
        for p in params:
            p.grad = None
        step(generator)
        grads = [p.grad.clone() for p in params]
        if sums is None:
            sums, squares = [torch.zeros_like(p) for p in params], [0.0] * len(params)
        sums = [s + g for s, g in zip(sums, grads, strict=True)]
        squares = [s + g * g for s, g in zip(squares, grads, strict=True)]
    for total, square, wanted in zip(sums, squares, exact, strict=True):
        mean = total / REPEATS
        error = ((square / REPEATS - mean * mean).clamp(min=0) / REPEATS).sqrt()
        assert ((mean - wanted).abs() <= 5 * error + 1e-9).all()


def surrogate(event, seed: int, **own) -> nn.Module:
    return rx.surrogates.mlp(
        event, 8, zero_scale=False, generator=torch.Generator().manual_seed(seed), **own
    )


@pytest.mark.parametrize("name", ["reinforce", "relax", "coupled"])
def test_a_belief_network_of_two_layers(name):
    """x -> b_1 -> b_2, f with weights of its own and the log-probabilities, as in an ELBO."""
    torch.manual_seed(1)
    x = torch.randn(1, 4)
    layer_1, layer_2, decoder = nn.Linear(4, 2), nn.Linear(2, 2), nn.Linear(4, 1)
    params = [p for m in (layer_1, layer_2, decoder) for p in m.parameters()]
    c_1, c_2 = surrogate(2, 2), surrogate(2, 3, context=2)

    def f(b_1, b_2, q_1, q_2):
        log_q = q_1.joint_log_prob(b_1) + q_2.joint_log_prob(b_2)
        return log_q + decoder(torch.cat([b_1, b_2], -1)).squeeze(-1).sin()

    def step(generator):
        q_1 = rx.Bernoulli(layer_1(x.expand(ROWS, -1)))
        draw_1 = rx.relax.draw(q_1, generator=generator, coupled=name == "coupled")
        q_2 = rx.Bernoulli(layer_2(draw_1.b))
        draw_2 = rx.relax.draw(q_2, generator=generator, coupled=name == "coupled")
        value = f(draw_1.b, draw_2.b, q_1, q_2)
        if name == "reinforce":
            rx.backward([rx.reinforce(value, draw) for draw in (draw_1, draw_2)])
        else:
            layers = [
                rx.relax(value, draw_1, c=c_1),
                rx.relax(value, draw_2, c=c_2.given(draw_1.b)),
            ]
            rx.backward(layers, phi=[*c_1.parameters(), *c_2.parameters()])

    q_1 = rx.Bernoulli(layer_1(x))
    b_1 = q_1.support()
    q_2 = rx.Bernoulli(layer_2(b_1))
    b_2 = q_2.support()
    p = (q_1.joint_log_prob(b_1) + q_2.joint_log_prob(b_2)).exp()
    value = f(b_1.expand_as(b_2), b_2, q_1, q_2)
    check(step, params, torch.autograd.grad((p * value).sum(), params))


@pytest.mark.parametrize("name", ["reinforce", "relax"])
def test_a_sequence_of_tokens_with_a_reward_at_its_end(name):
    """Three tokens of three; c of a step sees its z and the tokens before it."""
    torch.manual_seed(2)
    steps, tokens = 3, 3
    start, follow = nn.Parameter(torch.randn(tokens)), nn.Parameter(torch.randn(tokens, tokens))
    cs = [surrogate(tokens, t, context=tokens) for t in range(steps)]
    phi = [p for c in cs for p in c.parameters()]

    def logits(before):
        return start.expand(len(before), -1) if before.sum() == 0 else before @ follow

    def reward(sequence):  # any Python: [.., steps, tokens] -> [..]
        index = sequence.argmax(-1)
        return ((index * torch.tensor([1, 3, 9])).sum(-1) % 7).double()

    def step(generator):
        before, draws, seen = torch.zeros(ROWS, tokens), [], []
        for _ in range(steps):
            seen.append(before)
            draws.append(rx.Categorical(logits(before)).draw(generator=generator))
            before = draws[-1].b
        value = reward(torch.stack([draw.b for draw in draws], -2))
        if name == "reinforce":
            rx.backward([rx.reinforce(value, draw) for draw in draws])
        else:
            layers = [
                rx.relax(value, draw, c=c.given(x))
                for draw, c, x in zip(draws, cs, seen, strict=True)
            ]
            rx.backward(layers, phi)

    total = torch.zeros(())
    one_hot = torch.eye(tokens)
    for path in product(range(tokens), repeat=steps):
        log_p = torch.log_softmax(start, -1)[path[0]]
        for before, after in zip(path[:-1], path[1:], strict=True):
            log_p = log_p + torch.log_softmax(follow[before], -1)[after]
        total = total + log_p.exp() * reward(one_hot[list(path)])
    check(step, [start, follow], torch.autograd.grad(total, [start, follow]))


@pytest.mark.parametrize("name", ["reinforce", "rloo", "relax", "rebar"])
def test_a_categorical_router(name):
    """Three choices of ten experts per row, [B, 3, 10], which f takes together."""
    torch.manual_seed(3)
    x, router = torch.randn(1, 4), nn.Linear(4, 30)
    quality = torch.randn(30, 5)
    c = surrogate((3, 10), 5)

    def f(b):
        return (b.flatten(-2) @ quality).sin().sum(-1)

    def step(generator):
        dist = rx.Categorical(router(x.expand(ROWS, -1)).unflatten(-1, (3, 10)), event_ndim=2)
        own = {"c": c} if name == "relax" else {}
        phi = c if name == "relax" else ()
        rx.backward(getattr(rx, name)(f, dist, generator=generator, **own), phi)

    dist = rx.Categorical(router(x).unflatten(-1, (3, 10)), event_ndim=2)
    exact = rx.exact_gradient(f, dist, of=router.parameters())
    params = list(router.parameters())
    pieces = exact.split([p.numel() for p in params])
    check(step, params, [e.reshape(p.shape) for e, p in zip(pieces, params, strict=True)])

"""The networks c: any event, batch and floating-point type, a context, other parameters."""

import pytest
import torch

import relax as rx
from tests.helpers import quadratic

EVENTS = [(8, 1), ((8,), 1), ((3, 10), 2), ((2, 2, 4), 3)]


def shaken(c):
    """The network with every parameter away from its start."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in c.parameters():
            p += 0.3 * torch.randn(p.shape, generator=generator)
    return c


def by_autograd(c, z):
    z = z.clone().requires_grad_()
    value = c(z)
    return value, torch.autograd.grad(value.sum(), z)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("batch", [(), (5,), (4, 5)])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
@pytest.mark.parametrize(("event", "axes"), EVENTS)
def test_any_event_batch_and_type(event, axes, lead, batch, dtype):
    """Wanted since 0.1: [3, 10] events, an unbatched theta, float64 logits."""
    shape = (event,) if isinstance(event, int) else event
    c = shaken(rx.surrogates.mlp(event, 6, lambda_=0.7))
    z = torch.randn(*lead, *batch, *shape).to(dtype)
    value, grad = c.value_and_grad(z)
    assert value.shape == (*lead, *batch) and grad.shape == z.shape
    assert value.dtype == grad.dtype == dtype
    close = (
        {"rtol": 0.05, "atol": 0.05} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-5}
    )
    for found, expected in zip((value, grad), by_autograd(c, z), strict=True):
        torch.testing.assert_close(found, expected, **close)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(8,), (5, 8)])
@pytest.mark.parametrize("coupled", [False, True])
def test_relax_takes_an_mlp_whatever_the_logits(shape, coupled, dtype):
    logits = torch.zeros(shape, dtype=dtype).requires_grad_()
    c = rx.surrogates.mlp(8)
    rx.backward(rx.relax(quadratic, rx.Bernoulli(logits), c=c, coupled=coupled), phi=c)
    assert logits.grad.dtype == dtype and logits.grad.isfinite().all()


def test_a_router_of_three_choices_of_ten():
    logits = torch.zeros(4, 3, 10).requires_grad_()
    c = shaken(rx.surrogates.mlp((3, 10)))
    dist = rx.Categorical(logits, event_ndim=2)
    est = rx.relax(lambda b: b[..., 0].sum(-1) ** 2, dist, c=c)
    assert est.value.shape == (4,)
    rx.backward(est, phi=c)


def test_an_event_of_another_shape_is_named():
    c = rx.surrogates.mlp((3, 10))
    with pytest.raises(ValueError, match=r"events of shape \[3, 10\] and got z of shape \[4, 30\]"):
        c(torch.zeros(4, 30))
    with pytest.raises(ValueError, match="takes no context"):
        c.given(torch.zeros(4, 2))(torch.zeros(4, 3, 10))
    with pytest.raises(ValueError, match=r"made with a context x: use c=net.given\(x\)"):
        rx.relax(quadratic, rx.Bernoulli(torch.zeros(4, 3)), c=rx.surrogates.mlp(3, context=2))


def test_a_c_that_takes_no_leading_axis_is_shown_what_it_got():
    with pytest.raises(RuntimeError) as caught:
        rx.relax(quadratic, rx.Bernoulli(torch.zeros(4, 3)), c=lambda z: z.view(4, 3).sum(-1))
    assert "z of shape [2, 4, 3]" in caught.value.__notes__[0]


@pytest.mark.parametrize("replicas", [0, 2])
def test_a_context_is_seen_beside_z(replicas):
    lead = (replicas,) if replicas else ()
    c = shaken(rx.surrogates.mlp(3, 6, layers=2, context=4, replicas=replicas))
    z, x = torch.randn(2, *lead, 5, 3), torch.randn(*lead, 5, 4)
    given = c.given(x)
    for found, expected in zip(given.value_and_grad(z), by_autograd(given, z), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(given(z), c(z, x))
    assert not torch.allclose(given(z), c.given(x + 1)(z))
    dist = rx.Bernoulli(torch.zeros(*lead, 5, 3).requires_grad_(), replicas=int(bool(replicas)))
    rx.backward(rx.relax(quadratic, dist, c=given), phi=c)
    assert c.context.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(5, 3), (4, 2), (2,), (3, 5, 4)])
def test_a_context_of_another_shape_is_named(shape):
    c = rx.surrogates.mlp(3, context=4)
    with pytest.raises(ValueError, match=r"the context has shape .* 4 features for each of z's"):
        c.given(torch.zeros(shape))(torch.zeros(5, 3))
    for fits in ((5, 4), (1, 4), (4,)):
        assert c.given(torch.zeros(fits))(torch.zeros(2, 5, 3)).shape == (2, 5)


def test_a_new_surrogate_is_harmless():
    """By default RELAX starts as REINFORCE; its variance is then the same."""
    dist = rx.Bernoulli(torch.linspace(-2, 2, 8)).expand(50)
    draw = dist.draw(generator=torch.Generator().manual_seed(0))
    relax, reinforce = (
        rx.relax(quadratic, draw, c=rx.surrogates.mlp(8)),
        rx.reinforce(quadratic, draw),
    )
    assert torch.equal(relax.grad, reinforce.grad)


def test_a_network_at_other_parameters():
    c = shaken(rx.surrogates.mlp(3, lambda_=0.5))
    params = {name: 2 * p.detach() for name, p in c.named_parameters()}
    z = torch.randn(2, 5, 3)
    value, grad = rx.surrogates.functional(c, params).value_and_grad(z)
    with torch.no_grad():
        for p in c.parameters():
            p *= 2
    torch.testing.assert_close(value, c.value_and_grad(z)[0])
    torch.testing.assert_close(grad, c.value_and_grad(z)[1])
    torch.testing.assert_close(rx.surrogates.functional(c, params)(z), value)

"""Multilayer perceptrons over replicas: the written-out VJP is autograd's, whatever the shape."""

import pytest
import torch

from relax.replicas import ACTIVATIONS, MLP, Activation, Linear, glorot

SIZES = [6, 5, 4, 3]


def generators(replicas):
    return [torch.Generator().manual_seed(seed) for seed in range(replicas)]


def network(replicas=2, activation="tanh", **settings):
    return MLP(SIZES, activation, replicas, generators(replicas) or None, **settings)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("lead", [(), (2,)])
@pytest.mark.parametrize("replicas", [0, 1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_vjp_is_that_of_autograd(activation, replicas, lead, constant):
    net = network(replicas, activation)
    lead = (*lead, replicas) if replicas else lead
    x = torch.randn(*lead, 7, 6).requires_grad_()
    offset, grad = torch.randn(*lead, 7, 5), torch.randn(*lead, 7, 3)
    y, vjp = net.with_vjp(x, offset, constant)
    torch.testing.assert_close(y, net(x, offset))
    torch.testing.assert_close(vjp(grad), torch.autograd.grad(y, x, grad, retain_graph=True)[0])
    (y.sum() + vjp(grad).square().sum()).backward()
    assert all((layer.weight.grad is None) == constant for layer in net.layers)


@pytest.mark.parametrize("replicas", [0, 2])
def test_the_vjp_at_each_layer_gives_the_gradients_of_the_weights(replicas):
    net = network(replicas)
    lead = (replicas,) if replicas else ()
    x, grad = torch.randn(*lead, 7, 6), torch.randn(*lead, 7, 3)
    activations = net.activations(x)
    at_input, *at_layers = net.layer_vjps(activations, grad)
    expected = torch.autograd.grad(net(x), list(net.parameters()), grad)
    for k, at_layer in enumerate(at_layers):
        torch.testing.assert_close(activations[k].mT @ at_layer, expected[2 * k])
        torch.testing.assert_close(at_layer.sum(-2, keepdim=True), expected[2 * k + 1])
    assert len(activations) == 4 and torch.equal(at_layers[-1], grad)
    assert at_input.shape == x.shape


def test_a_replica_has_the_weights_and_the_output_of_the_network_alone():
    together = MLP(SIZES, "tanh", 3, generators(3))
    alone = MLP(SIZES, "tanh", 1, generators(3)[2:])
    x = torch.randn(3, 7, 6)
    for p, q in zip(together.parameters(), alone.parameters(), strict=True):
        assert torch.equal(p[2], q[0])
    assert torch.equal(together(x)[2], alone(x[2:])[0])


def test_the_output_is_that_of_the_layers_one_after_the_other():
    net = network(0)
    first, second, third = ((layer.weight, layer.bias) for layer in net.layers)
    x, offset = torch.randn(7, 6), torch.randn(7, 5)
    h = torch.tanh(x @ first[0] + first[1] + offset)
    h = torch.tanh(h @ second[0] + second[1])
    torch.testing.assert_close(net(x, offset), h @ third[0] + third[1])


def test_layers_may_start_differently():
    def ones(features_in, features_out, generator):
        return torch.ones(features_in, features_out)

    net = network(init=ones, init_last=glorot)
    assert all((layer.weight == 1).all() for layer in net.layers[:2])
    assert net.layers[2].weight.unique().numel() == 2 * 4 * 3
    assert [p.shape[1:] for p in net.parameters()][:3] == [(6, 5), (1, 5), (5, 4)]


def test_an_activation_may_be_given_by_its_functions():
    square = Activation(torch.square, lambda grad, y: 2 * y.sqrt() * grad)
    net = MLP([2, 3, 1], square)
    with torch.no_grad():  # where the square root of y is what was squared
        net.layers[0].weight.abs_()
    x = torch.rand(5, 2).requires_grad_()
    y, vjp = net.with_vjp(x)
    torch.testing.assert_close(vjp(torch.ones(5, 1)), torch.autograd.grad(y.sum(), x)[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: MLP(SIZES, "swish"),
            "one of tanh, relu, leaky_relu, elu, got 'swish'",
        ),
        (lambda: Linear(3, 2, 3, generator=generators(2)), "2 generators for 3 replicas"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()

"""What debiased_reinmax, CARMS and GRPO's baseline are."""

import pytest
import torch

import relax as rx
from tests.helpers import distribution, linear, over_event, wavy

pytestmark = pytest.mark.usefixtures("float64")


def rows(dist, n):
    return dist.expand(n)


def same(a, b, tolerance=1e-12):
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance)


def test_debiased_reinmax_is_reinmax_for_a_linear_f():
    dist = distribution("categoricals")
    f = over_event(linear, dist)
    draw = rx.debiased_reinmax.draw(rows(dist, 50))
    reinmax = rx.reinmax(f, rx.Draw(draw.dist, rx.Noise(draw.noise.u)))
    assert same(rx.debiased_reinmax(f, draw).grad, reinmax.grad)


@pytest.mark.parametrize("name", ["bernoulli", "categorical", "categoricals"])
def test_reinmax_is_leave_one_out_within_a_coordinate_for_the_tangent(name):
    """1/2 E (b_d - b'_d) [f(b) - f(b')] over b'_d, for f replaced by its tangent at b."""
    dist = distribution(name)
    draw = rows(dist, 20).draw()
    leaf = draw.b.clone().requires_grad_()
    (df,) = torch.autograd.grad(over_event(wavy, dist)(leaf).sum(), leaf)
    wanted = torch.zeros_like(df)
    for other, _ in [(draw.b, None), *draw.dist.alternatives(draw.b)]:
        change = draw.b - other
        if name == "bernoulli":
            chance = torch.where(change == 0, 1, (draw.b - draw.dist.p).abs())
            wanted += chance / 2 * change * df * change
        else:
            chance = (draw.dist.p * other).sum(-1, keepdim=True)
            wanted += chance / 2 * change * (df * change).sum(-1, keepdim=True)
    assert same(rx.reinmax(over_event(wavy, dist), draw).grad, wanted)


def test_carms_with_two_classes_is_arms():
    """A bit with logit theta is a choice with logits theta and 0."""
    theta = torch.tensor([-0.9])
    bits, classes = rx.Bernoulli(theta), rx.Categorical(torch.stack([theta, 0 * theta], -1)[0])
    for samples in (2, 3, 5):
        u = torch.rand(samples, 4000, 1)
        b = rx.arms.draw(rows(bits, 4000), noise=rx.Noise(u), samples=samples)
        noise = rx.Noise(torch.cat([u, torch.rand_like(u)], -1))
        one_hot = rx.carms.draw(rows(classes, 4000), noise=noise, samples=samples)
        grad = rx.carms(lambda b: b[..., 0], one_hot).grad[:, 0]
        other = rx.arms(lambda b: b[..., 0], b).grad[:, 0]
        assert (grad.mean() - other.mean()).abs() < 5 * (grad.var() / 2000).sqrt()
        assert (grad.std() / other.std() - 1).abs() < 0.05


def test_the_sticks_of_carms_draw_each_class_with_its_probability():
    dist = distribution("categorical")
    for samples in (2, 3, 5):
        b = rx.carms.draw(rows(dist, 100_000), samples=samples).b
        error = (dist.p * (1 - dist.p) / 100_000).sqrt()
        assert ((b.mean(1) - dist.p).abs() < 5 * error).all()
        same_class = (b[0] * b[1]).sum(-1).mean()
        assert same_class < 0.9 * dist.p.square().sum()


def test_grpo_is_leave_one_out_divided_by_the_spread():
    draw = rx.rloo.draw(rows(distribution("bernoulli"), 30), samples=4)
    f_b = wavy(draw.b)
    wanted = rx.rloo(wavy, draw).grad * 0.75 / f_b.std(0, keepdim=True).T
    assert same(rx.grpo(wavy, draw).grad, wanted, 1e-6)

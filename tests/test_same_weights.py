"""The paper's estimators at the same weights of a linear1, and the terms of RELAX's estimator."""

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.compare import same_weights
from experiments.compare.layers import Layer
from experiments.compare.settings import Bench
from experiments.vae import data
from scripts import vae_figures
from tests.test_layer import small


@pytest.fixture
def few(monkeypatch, tmp_path):
    for name, value in (("DRAWS", 9), ("ROWS", 40), ("ROUNDS", 2), ("IMAGES", 5)):
        monkeypatch.setattr(same_weights, name, value)
    case = tmp_path / "results/vae/test/mnist-linear1"
    monkeypatch.setattr(same_weights, "OUT", case)
    return case


@pytest.fixture
def bench():
    vae, x = small("linear1", 9, 4, 5)
    generator = torch.Generator().manual_seed(3)
    problem = Layer(vae, 0, x[:1].expand(40, -1), generator, attached=True)
    bench = Bench(problem)
    torch.manual_seed(0)
    return bench, same_weights.PAPER["relax"].build(bench), problem


def test_all_estimators_are_measured_and_drawn(few, tmp_path, monkeypatch):
    for name, setting in same_weights.PAPER.items():
        short = setting.__class__(setting.name, setting.make, setting.samples, steps=9)
        monkeypatch.setitem(same_weights.PAPER, name, short)
    vae, x = small("linear1", 9, 4, 40)
    before = [p.clone() for p in vae.parameters()]
    table = same_weights.measured(vae, data.Images("random", x, x, x, x.mean(0), 3))
    assert all(torch.equal(p, q) for p, q in zip(vae.parameters(), before, strict=True))
    found = table.set_index("estimator")
    assert found.loc["rebar", "variance_logits"] < found.loc["reinforce", "variance_logits"]
    assert (found["variance_weights"] > 0).all()
    same_weights.write(table, few / "variance.csv")
    assert [*pd.read_csv(few / "variance.csv")] == [
        *("estimator", "variance_logits", "variance_weights", "seconds", "device")
    ]
    assert pd.read_csv(few / "terms.csv")["total"].sum() == 80
    vae_figures.main("test", tmp_path / "results")


def test_the_terms_of_relax_add_up(few, bench):
    """f's score minus c's score plus the reparameterized c, in units of the first's deviation."""
    bench, built, problem = bench
    terms = same_weights.terms(bench, built, problem)
    total = terms["reinforce_f"] - terms["reinforce_c"] + terms["reparam_c"]
    torch.testing.assert_close(total, terms["total"], rtol=1e-4, atol=1e-4)
    assert len(total) == 80
    assert terms["reinforce_f"].std().item() == pytest.approx(1)
    assert terms["total"].std() < 0.9  # the control variate works


def test_the_score_terms_are_the_score_times_f_and_times_c(float64, bench):
    bench, built, problem = bench
    est = built[0](bench, bench.dist, generator=problem.generator)
    b, terms = est.draw.b, est.terms
    score = b - torch.sigmoid(problem.dist.theta)
    torch.testing.assert_close(terms["f_score"], problem.f(b)[:, None] * score)
    # c has one value per row: it is the same in every unit
    c = -terms["c_score"] / score
    torch.testing.assert_close(c, c[:, :1].expand_as(c))


def test_the_table_of_terms_holds_their_variances(few):
    generator = torch.Generator().manual_seed(0)
    draws = {name: k * torch.randn(500, generator=generator) for name, k in (("a", 1), ("b", 0.2))}
    same_weights.write_terms({k: v.double() for k, v in draws.items()})
    table = pd.read_csv(few / "terms_variance.csv")
    for row, values in enumerate(draws.values()):
        variance = np.var(values.numpy(), ddof=1)
        assert table["variance"][row] == pytest.approx(variance, rel=1e-3)
        assert table["log_variance"][row] == pytest.approx(np.log(variance), abs=1e-3)

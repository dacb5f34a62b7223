"""The permutations: exact expectations, DAGs, Gumbel-Sinkhorn, and training that resumes."""

from itertools import permutations

import numpy as np
import pytest
import torch

import relax as rx
from experiments.permutations import dag
from experiments.permutations.config import Permutations
from experiments.permutations.orders import value
from experiments.permutations.problems import EXCESS, PROBLEMS, Matching, Structure
from experiments.permutations.sinkhorn import gumbel_sinkhorn, matching, sinkhorn
from experiments.permutations.sorting import Sorting
from experiments.permutations.train import Run, train
from experiments.run.errors import UserError
from experiments.run.files import read_table

CPU = torch.device("cpu")
CONFIG = Permutations(n=4, steps=20, log_every=10, seeds=3, variance_samples=5, observations=100)


def config(estimator: str = "relax", **changes) -> Permutations:
    changes = {"estimators": {estimator: {}}, **changes}
    return Permutations(**{**vars(CONFIG), "preset": "test", **changes})


# ---- orders ----


@pytest.mark.parametrize("name", PROBLEMS)
def test_expectations_and_best_orders_are_those_of_the_enumeration(name, float64):
    problem = PROBLEMS[name](5, range(3), 200, CPU)
    theta = torch.randn(3, 1, 5).requires_grad_()
    dist = rx.PlackettLuce(theta.detach(), replicas=1)
    b = dist.support()
    expected = problem.orders.expected(theta, problem.cost)
    f = problem.f(b)
    torch.testing.assert_close(expected, (dist.log_prob(b).exp() * f).sum(0))
    (grad,) = torch.autograd.grad(expected.sum(), theta)
    torch.testing.assert_close(grad, rx.exact_gradient(problem.f, dist))
    torch.testing.assert_close(value(b.argmax(-1), problem.cost), f)
    torch.testing.assert_close(value(problem.best, problem.cost).expand(3, 1), f.amin(0))


def test_the_best_matching_is_the_identity(float64):
    problem = Matching(8, range(1), 0, CPU)
    assert problem.best.tolist() == list(range(8))
    best = 8 * (1 - 1 / 8 - EXCESS) ** 2 + 56 * (1 / 8 - EXCESS / 7) ** 2
    assert float(problem.f(torch.eye(8))) == pytest.approx(best) and best == pytest.approx(
        6.2228, abs=1e-4
    )


@pytest.mark.parametrize("name", ["reinforce", "rloo", "relax", "rebar", "dlax"])
def test_estimators_have_the_mean_of_the_exact_gradient(name):
    """Along the program's own path, for every replica."""
    run = Run(config(name), name)
    with torch.no_grad():
        run.theta.copy_(torch.linspace(-1, 1, 4))
    (exact,) = torch.autograd.grad(run.expected().sum(), run.theta)
    many = run.theta.detach().expand(-1, 30_000, -1)
    grad = run.estimate(many, run.draw_noise(many, run.noise)).grad.detach()
    error = grad.std(1) / len(grad[0]) ** 0.5
    assert ((grad.mean(1) - exact.squeeze(1)) / error).abs().max() < 5


# ---- DAGs ----

CHAIN = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=bool)  # 0 -> 1 -> 2
COLLIDER = np.array([[0, 1, 0], [0, 0, 0], [0, 1, 0]], dtype=bool)  # 0 -> 1 <- 2


def test_equivalent_dags_are_at_distance_zero():
    assert dag.hamming(CHAIN, CHAIN.T) == 0
    assert dag.hamming(CHAIN, COLLIDER) == 2  # both edges have another mark
    assert (dag.equivalence_class(CHAIN) == (CHAIN | CHAIN.T)).all()
    assert (dag.equivalence_class(COLLIDER) == COLLIDER).all()
    assert dag.hamming(COLLIDER, np.zeros_like(COLLIDER)) == 2


def test_a_local_score_is_the_bic_of_a_regression():
    x = np.random.default_rng(0).standard_normal((50, 4)) @ np.triu(np.ones((4, 4)))
    x = (x - x.mean(0)) / x.std(0)
    scores = dag.local_scores(x)
    _, (left,), *_ = np.linalg.lstsq(x[:, [0, 2]], x[:, 3], rcond=None)
    variance = left / 50
    likelihood = -25 * (np.log(2 * np.pi * variance) + 1)
    assert scores[0b0101, 3] == pytest.approx(likelihood - 2 * np.log(50))
    assert np.isneginf(scores[0b1000, 3])


def test_equivalent_dags_have_the_same_score():
    graphs = dag.Graphs(3, range(1), 80)
    x = dag.sample(graphs.weights[0], 80, np.random.default_rng(1))
    scores = dag.local_scores(x)

    def total(edges):
        masks = (edges * 2 ** np.arange(3)[:, None]).sum(0)
        return sum(scores[mask, i] for i, mask in enumerate(masks))

    assert total(CHAIN) == pytest.approx(total(CHAIN.T))
    assert total(CHAIN) != pytest.approx(total(COLLIDER))


def test_the_best_parents_are_the_best_of_all_subsets():
    local = np.random.default_rng(0).standard_normal((2, 16, 4))
    scores, parents = dag.best_subsets(local)
    for mask in range(16):
        subsets = [s for s in range(16) if s & mask == s]
        np.testing.assert_array_equal(scores[:, mask], local[:, subsets].max(1))
        np.testing.assert_array_equal(
            parents[:, mask], np.array(subsets)[local[:, subsets].argmax(1)]
        )


def test_much_data_and_the_true_order_give_the_true_graph():
    graphs = dag.Graphs(5, range(4), 200_000)
    problem = Structure(5, range(4), 200_000, CPU)
    assert problem.best_distance.tolist() == [0, 0, 0, 0]
    for row, weights in enumerate(graphs.weights):
        order = next(o for o in permutations(range(5)) if not np.tril(weights[np.ix_(o, o)]).any())
        assert graphs.distance(row, order) == 0


# ---- Gumbel-Sinkhorn ----


def test_sinkhorn_is_doubly_stochastic_and_tends_to_the_matching(float64):
    scores = torch.randn(20, 6, 6)
    soft = sinkhorn(scores, 200)
    torch.testing.assert_close(soft.sum(-1), torch.ones(20, 6))
    torch.testing.assert_close(soft.sum(-2), torch.ones(20, 6))
    assert sinkhorn(1e6 * scores, 20).isfinite().all()
    every = torch.eye(6)[torch.tensor(list(permutations(range(6))))]
    totals = (every * scores.unsqueeze(1)).sum((-2, -1)).topk(2, dim=1).values
    clear = totals[:, 0] - totals[:, 1] > 0.1  # the second best has a weight of e^-50
    best = torch.eye(6)[matching(scores)]
    sharp = sinkhorn(500 * scores, 20_000)
    assert clear.sum() > 10
    torch.testing.assert_close(sharp[clear], best[clear], atol=0.1, rtol=0)


def test_the_matching_is_the_best_of_all():
    scores = torch.randn(5, 4, 4)
    every = torch.eye(4)[torch.tensor(list(permutations(range(4))))]
    totals = (every * scores.unsqueeze(1)).sum((-2, -1))
    found = torch.eye(4)[matching(scores)]
    assert torch.allclose((found * scores).sum((-2, -1)), totals.amax(1))
    assert gumbel_sinkhorn(scores, torch.full_like(scores, 0.5), 1.0, 5).shape == scores.shape


def test_the_network_learns_to_sort():
    run = Sorting(config("gumbel_sinkhorn", problem="sorting", n=5, lr=0.1))
    before = run.readings()["lists_wrong"]
    for _ in range(60):
        run.step()
    after = run.readings()["lists_wrong"]
    assert before.min() > 0.5 and after.max() < 0.3


# ---- training ----


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("relax", {}),
        ("rebar", {}),
        ("exact", {"problem": "structure"}),
        ("relax", {"problem": "structure"}),
        ("gumbel_sinkhorn", {"problem": "sorting", "n": 4}),
    ],
)
def test_a_run_in_two_parts_is_the_whole_run(tmp_path, name, changes):
    for place, lengths in (("whole", (40,)), ("parts", (20, 40))):
        for steps in lengths:
            one = config(name, steps=steps, runs=str(tmp_path / place), **changes)
            train(one, name, bar=False)
    records = [next((tmp_path / p).rglob("metrics.csv")).read_bytes() for p in ("whole", "parts")]
    assert records[0] == records[1] and records[0].count(b"\n") > 3


@pytest.mark.parametrize("name", ["reinforce", "rloo", "relax", "rebar"])
def test_a_replica_equals_the_run_alone(name):
    together, alone = Run(config(name, n=8), name), Run(config(name, n=8), name, seeds=[1])
    for _ in range(20):
        together.step(), alone.step()
    torch.testing.assert_close(together.theta[1:2], alone.theta, rtol=1e-12, atol=1e-12)


def test_the_exact_gradient_lowers_the_loss(tmp_path):
    train(config("exact", steps=200, runs=str(tmp_path)), "exact", bar=False)
    table = read_table(next(tmp_path.rglob("metrics.csv")))
    assert (np.diff(table["loss"]) < 0).all() and table["mode_gap"][-1] == 0


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("relax", {"n": 9}, "2 to 8 items"),
        ("rebar", {"problem": "structure"}, "black box"),
        ("relax", {"problem": "sorting"}, "does not take"),
        ("gumbel_sinkhorn", {}, "does not take"),
        ("relax", {"problem": "chess"}, "unknown problem"),
        ("arm", {}, "unknown estimator"),
        ("relax", {"steps": 15}, "multiple of log_every"),
    ],
)
def test_mistakes_are_named(name, changes, words):
    with pytest.raises(UserError, match=words):
        config(name, **changes).check()

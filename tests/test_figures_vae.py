"""The VAE's figures by the data of their lines, and its table by its cells."""

import numpy as np
import pytest

from scripts import vae_figures
from scripts.report import vae_tables
from scripts.results import NOT_RUN, Results
from tests.drawn import caught as caught  # a fixture
from tests.drawn import lines, only, panel, write

HEAD = "step lr seed train valid epoch variance_logits variance_weights".split()
EPOCHS = (1, 2, 3)


def rows(lr, level):
    """Two seeds, three epochs; every column has numbers of its own."""
    for epoch in EPOCHS:
        for seed in (0, 1):
            train, valid = level + 10 / epoch + seed, level + 5 + 20 / epoch + 3 * seed
            weights = level * (epoch + seed)
            yield (54 * epoch, lr, seed, train, valid, epoch, 7 * weights + 1, weights)


def by_epoch(column: str, lr: float, level: float) -> np.ndarray:
    """[epochs, seeds] of one column."""
    index = HEAD.index(column)
    return np.array([row[index] for row in rows(lr, level)]).reshape(3, 2)


@pytest.fixture
def case(tmp_path):
    """RELAX and REBAR at two rates: .001 is best on validation, .01 in training."""
    place = tmp_path / "vae/quick/mnist-linear1"
    summary = []
    for name, level in (("relax", 100), ("rebar", 110)):
        write(place / f"{name}.csv", HEAD, [*rows(0.01, level + 50), *rows(0.001, level)])
        summary += [
            (name, 0.01, 2, 41660, 80.0, 190.0, 300, 2.5),
            (name, 0.001, 2, 41660, 140.0, level + 13, 200, 3.5),
        ]
    head = "estimator lr seeds steps train valid test log_variance_weights".split()
    write(place / "summary.csv", head, summary)
    return place


@pytest.mark.parametrize("column", ["train", "valid", "variance_weights"])
def test_a_panel_shows_the_column_of_its_title_at_the_best_rate(case, caught, column):
    title = {"train": "in training", "valid": "on validation", "variance_weights": "encoder's"}
    vae_figures.curves_figure(case, case / "curves")
    ax = panel(caught[0], title[column])
    for name, level in (("relax", 100), ("rebar", 110)):
        values = by_epoch(column, 0.001, level)
        values = np.log(values) if column.startswith("variance") else values
        x, y = only(ax, name)
        assert x.tolist() == list(EPOCHS)
        np.testing.assert_allclose(y, np.median(values, 1))
        edges = [line[1] for line in lines(ax, name, 0.7)]
        np.testing.assert_allclose(edges, np.quantile(values, [0.1, 0.9], axis=1))


def test_the_table_has_each_rate_s_own_numbers(case):
    rows = vae_tables.runs_table(Results(case.parents[2]), "quick", case.name)
    found = {(row["estimator"], row["rate"]): row for row in rows}
    best = found["RELAX", "0.001"]
    assert (best["seeds"], best["steps"], best["epochs"]) == (2, "41 660", "3")
    scores = [best[score] for score in ("train", "valid", "test", "IWAE-100, valid")]
    assert scores == ["140.00", "113.00", "200.00", NOT_RUN]
    assert best["ln Var, weights"] == "3.50" and found["RELAX", "0.01"]["valid"] == "190.00"


def test_terms_are_densities_with_their_own_variance(tmp_path, caught):
    case = tmp_path / "mnist-linear1"
    terms = list(vae_figures.TERMS)
    left = np.linspace(-3, 3, 7)[:-1]
    counts = {term: np.roll([40, 10, 0, 0, 0, 0], k) for k, term in enumerate(terms)}
    write(case / "terms.csv", ["left", *terms], zip(left, *counts.values(), strict=True))
    write(case / "terms_variance.csv", ["term", "log_variance"], zip(terms, range(4), strict=True))
    vae_figures.terms_figure(case, case / "terms")
    for k, (ax, term) in enumerate(zip(caught[0].axes, terms, strict=True)):
        heights = [bar.get_height() for bar in ax.patches]
        np.testing.assert_allclose(heights, counts[term] / 50)
        assert ax.get_xlabel() == f"ln Var {k}.0"

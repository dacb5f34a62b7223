"""The toy's figures by the data of their lines."""

import numpy as np
import pytest

from scripts import toy_figures
from tests.drawn import caught as caught  # a fixture
from tests.drawn import lines, only, panel, title_of, write

STEPS = np.arange(100, 1501, 100)
SEEDS = 5
HEAD = "step seed loss theta log_variance".split()


def columns(level: float) -> dict[str, np.ndarray]:
    """[points, seeds] of a run whose columns differ: loss, theta, log-variance."""
    step, seed = STEPS[:, None] / 1500, np.arange(SEEDS)[None] / SEEDS
    loss = 0.25 + 0.01 * level * (1 - step) + 0.001 * seed
    return {
        "loss": loss,
        "theta": 0.3 + 0.25 * seed + 0 * step,
        "log_variance": level - step + seed,
    }


@pytest.fixture
def case(tmp_path):
    place = tmp_path / "toy/quick/t0.499"
    for name, level in (("reinforce", 2.0), ("relax", -3.0)):
        table = columns(level)
        rows = [
            (step, seed, *(table[name][i, seed] for name in HEAD[2:]))
            for i, step in enumerate(STEPS)
            for seed in range(SEEDS)
        ]
        write(place / f"{name}.csv", HEAD, rows)
    return place


@pytest.fixture
def fig(case, caught):
    toy_figures.curves_figure(case, case / "curves")
    return caught[0]


@pytest.mark.parametrize(("name", "level"), [("reinforce", 2.0), ("relax", -3.0)])
def test_the_loss_is_the_median_of_the_loss_with_its_band(fig, name, level):
    ax = panel(fig, "Expected loss")
    x, y = only(ax, name)
    loss = columns(level)["loss"]
    assert x.tolist() == STEPS.tolist()
    np.testing.assert_allclose(y, np.median(loss, 1))
    edges = [line[1] for line in lines(ax, name, 0.7)]
    np.testing.assert_allclose(edges, np.quantile(loss, [0.1, 0.9], axis=1))


@pytest.mark.parametrize(("name", "level"), [("reinforce", 2.0), ("relax", -3.0)])
def test_the_variance_is_the_mean_of_the_last_500_steps(fig, name, level):
    """Five measurements to a point; the first point is at step 500."""
    x, y = only(panel(fig, "ln Var[g]"), name)
    values = columns(level)["log_variance"]
    wanted = [np.median(values[i - 4 : i + 1].mean(0)) for i in range(4, len(STEPS))]
    assert x.tolist() == STEPS[4:].tolist()
    np.testing.assert_allclose(y, wanted)


def test_the_ratio_in_the_title_is_that_of_the_variances(fig):
    """Log-variances differ by 5: exp(5) = 148."""
    assert "RELAX 1/150 of REINFORCE" in title_of(panel(fig, "ln Var[g]"))


def test_seeds_on_the_better_side_are_counted(fig, case):
    """theta is .3, .35, .4, .45 and .5: b = 0 is better, and four are below one half."""
    assert "b = 0" in fig.get_suptitle()
    assert "RELAX 4/5" in fig.get_suptitle()
    runs = toy_figures.load(case)
    for run in runs.values():
        run.t = 0.6
    other = toy_figures.counts(runs)
    assert "b = 1" in other and "RELAX 0/5" in other


@pytest.mark.parametrize(("t", "worst"), [(0.3, 0.49), (0.7, 0.49)])
def test_the_step_of_f_is_f(t, worst):
    """f(0) = t^2 left of u = 1/2, f(1) = (1 - t)^2 right of it; the arrow leads to the lower."""
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    toy_figures.draw_hard(ax, t)
    (line,) = ax.lines
    u, f = np.array(line.get_xdata()), np.array(line.get_ydata())
    assert f[u < 0.5].tolist() == [pytest.approx(t**2)]
    assert f[u > 0.5].tolist() == [pytest.approx((1 - t) ** 2)]
    assert f.max() == pytest.approx(worst)
    said = " ".join(text.get_text() for text in ax.texts)
    assert f"b = {0 if t < 0.5 else 1}" in said
    plt.close(fig)


def test_a_surrogate_is_drawn_as_its_median_between_its_quantiles(caught, tmp_path):
    case = tmp_path / "t0.499"
    u = np.linspace(0.1, 0.9, 5)
    level = {"q10": 1.0, "median": 2.0, "q90": 4.0, "seed0": 3.0}
    rows = [
        (step, name, curve, x, value * step + x + (10 if name == "relax" else 0))
        for step in (30, 1000)
        for name in ("rebar", "relax")
        for curve, value in level.items()
        for x in u
    ]
    write(case / "relaxation.csv", "step estimator curve u value".split(), rows)
    toy_figures.relaxation_figure(case, case / "relaxation")
    axes = np.array(caught[0].axes).reshape(3, 2)
    for column, step in enumerate((30, 1000)):
        for ax, name, shift in ((axes[1, column], "rebar", 0), (axes[2, column], "relax", 10)):
            x, y = only(ax, name)
            np.testing.assert_allclose(x, u)
            np.testing.assert_allclose(y, 2 * step + u + shift)

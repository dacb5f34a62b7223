"""The comparison of estimators by their training, from small results written by hand."""

import pytest

from scripts import vae_figures
from scripts.report import vae_training
from scripts.report.vae_tables import usual
from scripts.report.vae_training import BENCHMARK, names_of
from scripts.results import NOT_RUN, Results
from tests.drawn import caught as caught  # a fixture
from tests.drawn import write
from tests.test_report_vae import SUMMARY

COLUMNS = "lr seed epoch step train valid variance_logits variance_weights".split()
HEAD = ["preset", "estimator", "milliseconds"]


def runs(root, curves: dict[str, list]) -> Results:
    """Estimator -> training -ELBO by epoch of 500 steps; seed s has s more, the variance is e^2."""
    place, summary = root / "vae/benchmark/mnist-benchmark", []
    for name, train in curves.items():
        rows = [
            (0.001, s, epoch, 500 * epoch, value + s, value + 1 + s, 7.389, 7.389)
            for epoch, value in enumerate(train, 1)
            for s in range(3)
        ]
        write(place / f"{name}.csv", COLUMNS, rows)
        summary.append((name, 0.001, 3, 500 * len(train), train[-1] + 1, train[-1] + 2))
    write(place / "summary.csv", SUMMARY, summary)
    return Results(root)


CURVES = {"rloo": [150, 130, 120], "unbiased_reinmax": [140, 120, 110], "arms": [142, 122, 113]}
ALL = dict.fromkeys(usual("benchmark"), CURVES["rloo"]) | CURVES


def test_differences_are_at_equal_steps_and_at_equal_time(tmp_path):
    """Leave-one-out is twice as fast: after its three epochs ours has made one and a half."""
    times = [("benchmark", name, 10.0) for name in names_of(BENCHMARK) if name != "rloo"]
    times += [("benchmark", "rloo", 5.0)]
    write(tmp_path / "bench/vae-steps.csv", HEAD, times)
    results = runs(tmp_path, {name: CURVES[name] for name in ("rloo", "unbiased_reinmax")})
    rows = {row["estimator"]: row for row in vae_training.table(results, BENCHMARK)}
    rloo, ours = rows["RLOO"], rows["unbiased ReinMax"]
    assert rloo["training, difference"] == "10.00 [10.00, 10.00]"
    assert rloo["training, difference at equal time"] == "-10.00 [-10.00, -10.00]"  # 120 and 130
    assert (ours["training"], ours["training, difference"]) == ("111.00 ± 0.58", "-")
    assert (ours["ms per step"], ours["ln Var, encoder"]) == ("10.0", "2.00")
    assert vae_training.length(results, BENCHMARK) == "1500 steps, 3 seeds"


def test_a_shorter_run_with_a_tag_is_compared_at_its_own_last_step(tmp_path):
    curves = {"unbiased_reinmax": [140, 120, 110], "unbiased_reinmax-3": [130, 115]}
    times = [("benchmark", name, 10.0) for name in names_of(BENCHMARK)]
    write(tmp_path / "bench/vae-steps.csv", HEAD, times)
    rows = {r["estimator"]: r for r in vae_training.table(runs(tmp_path, curves), BENCHMARK)}
    three = rows["unbiased ReinMax-3 (1000 steps)"]
    assert three["training"] == "116.00 ± 0.58"
    assert three["training, difference"] == "-5.00 [-5.00, -5.00]"
    assert three["training, difference at equal time"] == "-5.00 [-5.00, -5.00]"
    assert rows["unbiased ReinMax"]["training"] == "111.00 ± 0.58"


def test_a_time_that_was_not_measured_is_said_to_be_missing(tmp_path):
    rows = vae_training.table(runs(tmp_path, CURVES), BENCHMARK)
    assert {row["training, difference at equal time"] for row in rows} == {"-", NOT_RUN}
    assert vae_training.finding(runs(tmp_path, CURVES), BENCHMARK) == NOT_RUN  # not all were run
    for row in vae_training.table(Results(tmp_path / "none"), BENCHMARK):
        assert row["training"] == row["validation, difference"] == NOT_RUN
    assert vae_training.length(Results(tmp_path / "none"), BENCHMARK) == NOT_RUN


def test_the_figure_shows_steps_and_the_best_other_estimator(tmp_path, caught):
    runs(tmp_path, ALL)
    vae_figures.main("benchmark", tmp_path)
    (fig,) = caught
    title = fig.get_suptitle()
    assert title == (
        "MNIST: -ELBO in training, ARMS minus unbiased ReinMax: 3.00 [3.00, 3.00] nats "
        "after 1500 steps"
    )
    ax = fig.axes[0]
    assert ax.get_xlabel() == "thousand steps"
    assert max(line.get_xdata()[-1] for line in ax.lines) == pytest.approx(1.5)


def test_a_difference_is_not_shown_beyond_the_end_of_a_run(tmp_path):
    results = runs(tmp_path, CURVES | {"unbiased_reinmax-3": [130, 115]})
    three = "unbiased_reinmax-3"
    assert vae_training.gap_after(results, BENCHMARK, "arms", 1000, three) == "7.00 [7.00, 7.00]"
    assert vae_training.gap_after(results, BENCHMARK, "arms", 1500, three) == NOT_RUN
    assert vae_training.gap_after(results, BENCHMARK, "arms", 1500) == "3.00 [3.00, 3.00]"


def test_differences_in_the_course_of_training(tmp_path, monkeypatch):
    monkeypatch.setattr(vae_training, "MILESTONES", (500, 1500))
    rows = {
        row["estimator"]: row
        for row in vae_training.through_training(runs(tmp_path, CURVES), BENCHMARK)
    }
    assert rows["ARMS"]["500 steps"] == "2.00 [2.00, 2.00]"
    assert rows["ARMS"]["1500 steps"] == "3.00 [3.00, 3.00]"
    assert rows["DisARM"]["500 steps"] == NOT_RUN and "unbiased ReinMax" not in rows


def test_three_samples_against_three(tmp_path, monkeypatch):
    """ARMS is twice as fast: after its three epochs the other has made one and a half."""
    monkeypatch.setattr(vae_training, "MILESTONES", (500, 1500))
    three = "unbiased_reinmax-3"
    results = runs(tmp_path, CURVES | {three: [130, 115]})
    assert vae_training.of_three_samples(results)[0]["equal time"] == NOT_RUN
    write(
        tmp_path / "bench/vae-steps.csv", HEAD, [("benchmark", three, 10), ("benchmark", "arms", 5)]
    )
    arms, double = vae_training.of_three_samples(Results(tmp_path))
    assert arms["500 steps"] == "12.00 [12.00, 12.00]" and arms["1500 steps"] == NOT_RUN
    assert arms["equal time"] == "-9.50 [-9.50, -9.50]"  # 113 and 122.5
    assert set(double.values()) == {"Double CV", NOT_RUN}

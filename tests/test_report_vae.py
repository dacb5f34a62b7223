"""The VAE's comparisons beyond the paper's runs, from small results written by hand."""

from scripts.report import vae, vae_comparisons, vae_tables
from scripts.results import NOT_RUN, Results, markdown
from tests.drawn import write

SEEDS = (0, 1, 2)
SUMMARY = ["estimator", "lr", "seeds", "steps", "train", "valid"]


def runs(place, curves: dict[str, dict[float, tuple[list, list]]]) -> None:
    """estimator -> rate -> training and validation by epoch; seed s has s more in all of them."""
    summary = []
    for name, rates in curves.items():
        rows = []
        for lr, (train, valid) in rates.items():
            for epoch, values in enumerate(zip(train, valid, strict=True), 1):
                rows += [(lr, s, epoch, 10 * epoch, *(v + s for v in values)) for s in SEEDS]
            summary.append((name, lr, len(SEEDS), 10 * len(train), train[-1] + 1, valid[-1] + 1))
        write(place / f"{name}.csv", ["lr", "seed", "epoch", "step", "train", "valid"], rows)
    write(place / "summary.csv", SUMMARY, summary)


def test_estimators_are_compared_with_relax_at_their_best_rate_on_validation(tmp_path):
    """Concrete's training score is of relaxed samples and is not compared."""
    curves = {
        "relax": {0.001: ([120, 100], [121, 101]), 0.0003: ([110, 90], [111, 130])},
        "rebar": {0.001: ([120, 102], [121, 104])},
        "nvil": {0.001: ([120, 115], [121, 116])},
        "concrete": {0.001: ([60, 50], [120, 112])},
    }
    runs(tmp_path / "vae/table1/mnist-linear1", curves)
    rows = vae_comparisons.order_table(Results(tmp_path), "mnist-linear1")
    rows = {row["estimator"]: row for row in rows}
    assert rows["MuProp"]["train"] == NOT_RUN
    assert rows["RELAX"]["rate"] == "0.001" and rows["RELAX"]["training minus RELAX's"] == "-"
    rebar, concrete = rows["REBAR"], rows["Concrete"]
    assert rebar["training minus RELAX's"] == "2.00 [2.00, 2.00]"
    assert rebar["validation minus RELAX's"] == "3.00 [3.00, 3.00]"
    assert concrete["training minus RELAX's"] == "-"
    assert concrete["validation minus RELAX's"] == "11.00 [11.00, 11.00]"


def test_rebar_and_relax_of_table_1_are_the_start_of_preset_long(tmp_path):
    """At epoch 20 the smaller rate is ahead, at the end the larger one."""
    falling = [200.0 - epoch for epoch in range(30)]
    steeper = [190.0 - epoch for epoch in range(30)]
    late = [*falling[:25], *(10.0,) * 5]
    runs(
        tmp_path / "vae/long/mnist-linear1",
        {"relax": {0.001: (late, late), 0.0005: (steeper, steeper)}},
    )
    runs(tmp_path / "vae/table1/mnist-linear1", {"nvil": {0.001: (falling[:20], falling[:20])}})
    rows = vae_comparisons.order_table(Results(tmp_path), "mnist-linear1")
    rows = {row["estimator"]: row for row in rows}
    relax = rows["RELAX"]
    assert (relax["rate"], relax["epochs"], relax["train"]) == ("0.0005", "20", "172.00 ± 0.58")
    assert rows["NVIL"]["training minus RELAX's"] == "10.00 [10.00, 10.00]"
    assert rows["REBAR"]["train"] == NOT_RUN


def test_overfitting_is_what_validation_loses_after_its_best_epoch(tmp_path):
    """RELAX is at its best after epoch 2 and loses 6; REBAR loses 1 and trains less."""
    curves = {
        "rebar": {0.001: ([120, 110, 105], [122, 115, 116])},
        "relax": {0.001: ([119, 106, 95], [121, 112, 118])},
    }
    runs(tmp_path / "vae/omniglot_small/omniglot_small-nonlinear", curves)
    results = Results(tmp_path)
    rebar, relax, gap = vae_comparisons.overfitting(results, "omniglot_small-nonlinear")
    assert rebar["estimator"] == "REBAR, rate 0.001, 3 seeds, 3 epochs"
    assert relax["validation, best epoch"].startswith("113.00 ± 0.58")
    assert gap["training, end"] == "10.00 [10.00, 10.00]"
    assert gap[vae_comparisons.LOST] == "-5.00 [-5.00, -5.00]"
    assert vae_comparisons.overfits_more(results) == "5.00 [5.00, 5.00]"


def test_omniglot_small_is_never_compared_with_the_paper_s_omniglot(tmp_path):
    curves = {
        "rebar": {0.001: ([120, 110], [122, 115])},
        "relax": {0.001: ([119, 106], [121, 112])},
    }
    runs(tmp_path / "vae/omniglot_small/omniglot_small-linear1", curves)
    results, place = Results(tmp_path), ("omniglot_small", "omniglot_small-linear1")
    for cell in (vae.training(results, *place), vae.validation(results, *place, vae.PAIR)):
        assert cell.case == "Omniglot small linear1 (omniglot_small, 2 epochs)"
        assert cell.paper == "other data" and cell.ours.value > 0
    assert vae.epochs(results, *place).paper == "other data"
    rows = vae_tables.runs_table(results, *place)
    assert [row["train, paper"] for row in rows] == ["none", "none"]


def test_a_case_without_runs_is_not_run(tmp_path):
    results = Results(tmp_path)
    assert vae_comparisons.overfits_more(results) == NOT_RUN
    assert markdown(vae_comparisons.overfitting(results, "omniglot_small-linear1")) == "not run\n"

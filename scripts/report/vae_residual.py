"""What the added network r brings to REBAR on the VAE: paired seeds, settings of r, a control."""

from __future__ import annotations

import numpy as np

from scripts.report.claims import Interval, paired
from scripts.report.read import NOT_RUN, Results, markdown, number
from scripts.report.vae import DATA, Arm, compare, paper_curve, shared_epochs

PLACES = (  # preset, case, learning rates
    ("long", "mnist-linear1", (1e-3, 5e-4)),
    ("long-rates", "mnist-linear1", (5e-3, 1e-4, 5e-5)),
    ("long", "mnist-linear2", (1e-3, 5e-4)),
    ("long", "mnist-nonlinear", (5e-4,)),
)
SETTINGS = {  # tag -> what differs from the default: inputs z and x, 2 layers, factor 1, no decay
    "decay0": "the default",
    "depth4": "4 layers",
    "factor10": "rate of phi 10 times the model's",
    "sigma": "sees 2 sigma(z/lambda) - 1 in place of z",
    "no-x": "does not see x",
    "baseline": "does not see z: a learned baseline",
    "decay1e-07": "weight decay 1e-7",
    "decay1e-05": "weight decay 1e-5",
    "decay0.001": "weight decay .001, as published",
}


def section(results: Results) -> str:
    return "\n".join(
        (
            "### What the network r brings to REBAR\n",
            "RELAX's surrogate is REBAR's with a network added, c = eta (f(sigma_lambda(z)) + "
            "r(z, x)). With the weight decay of the published code (.001) every weight of r goes "
            "to zero, and RELAX is REBAR (`relax_published`; a run whose r is dead says so). The "
            "numbers here are of r without weight decay. Differences are REBAR's -ELBO minus "
            "RELAX's in nats at the last epoch that both have, over paired seeds; r's share is "
            "that of c's variance over draws of z. Between two single runs such a difference has a "
            f"standard deviation of {single_run_spread(results)} nats (linear1, 1e-3), so one seed "
            "decides nothing.\n",
            by_case(results),
            "RELAX trains phi alone for 1 000 steps before the model moves, as the authors' code "
            "does, and REBAR does not. The control is REBAR with the same warm-up (4 seeds on a "
            "CPU; the others are 8 seeds on a GPU).\n",
            warm_up(results),
            "Settings of r, linear1, 40 epochs at 1e-3, four seeds, against REBAR on the same "
            "seeds. A run that ended early is compared at its own last epoch.\n",
            settings(results),
        )
    )


def single_run_spread(results: Results) -> str:
    """The standard deviation over seeds of REBAR minus RELAX at the end of training."""
    pair = [at_rate(results, "long", "mnist-linear1", name, 1e-3) for name in ("rebar", "relax")]
    if not all(pair):
        return NOT_RUN
    last = shared_epochs(*pair)
    rebar, relax = (arm.at("train", last) for arm in pair)
    return number(float(np.std(rebar - relax, ddof=1)), 2)


def at_rate(results: Results, preset: str, case: str, name: str, rate: float) -> Arm | None:
    """An estimator's runs at one learning rate."""
    table = results.table(f"vae/{preset}/{case}/{name}.csv")
    rows = results.rows(f"vae/{preset}/{case}/summary.csv")
    rows = [r for r in rows if r["estimator"] == name and np.isclose(r["lr"], rate)]
    return Arm(table, rows[0]) if table is not None and rows else None


def gap(a: Arm | None, b: Arm | None, metric: str) -> tuple[float, Interval | None]:
    """The last epoch at which both have the metric, and a's mean minus b's there."""
    if a is None or b is None:
        return np.nan, None
    last = shared_epochs(a, b)
    both = np.intersect1d(a.curve(metric)[0], b.curve(metric)[0])
    epoch = float(both[both <= last][-1])
    return epoch, compare(a, b, a.at(metric, epoch), b.at(metric, epoch))


def shown(found: Interval | None) -> str:
    return NOT_RUN if found is None else found.text(2)


def by_case(results: Results) -> str:
    head = ("case", "rate", "seeds", "epoch", "training", "the paper's", "validation")
    head += ("ln Var, logits", "r's share")
    rows = []
    for preset, case, rates in PLACES:
        for rate in rates:
            pair = [at_rate(results, preset, case, name, rate) for name in ("rebar", "relax")]
            epoch, training = gap(*pair, "train")
            seeds = "" if training is None else training.seeds
            there = paper_curve(results, case, "train", epoch)
            paper = number(there[0][-1] - there[1][-1], 2) if all(map(len, there)) else "no curve"
            data, model = case.split("-")
            row = [f"{DATA[data]} {model}", f"{rate:g}", seeds or NOT_RUN, number(epoch, 0)]
            row += [shown(training), paper, shown(gap(*pair, "valid")[1])]
            row += [shown(log_variance_gap(*pair)), share(pair[1])]
            rows.append([str(cell) for cell in row])
    return markdown(head, rows)


def log_variance_gap(a: Arm | None, b: Arm | None) -> Interval | None:
    """REBAR's log-variance of the logits' gradient minus RELAX's, mean over the measurements."""
    if a is None or b is None:
        return None
    curves = [np.log(arm.curve("variance_logits")[1]) for arm in (a, b)]
    points = min(map(len, curves))
    return paired(*(curve[:points].mean(0) for curve in curves))


def share(relax: Arm | None) -> str:
    """r's share of c's variance at the last measurement, one number a layer."""
    if relax is None:
        return NOT_RUN
    names = [name for name in sorted(relax.table) if name.startswith("r_share")]
    shares = [relax.curve(name)[1][-1].mean() for name in names]
    return ", ".join(f"{100 * value:.2g} %" for value in shares) or NOT_RUN


def warm_up(results: Results) -> str:
    rows = []
    arms = {
        name: at_rate(results, "long", "mnist-linear2", name, 1e-3)
        for name in ("rebar", "rebar-warm-up", "relax")
    }
    for what, a, b in (
        ("REBAR minus REBAR with the warm-up", "rebar", "rebar-warm-up"),
        ("REBAR with the warm-up minus RELAX", "rebar-warm-up", "relax"),
        ("REBAR minus RELAX", "rebar", "relax"),
    ):
        cells = [what]
        for epoch in (10, 40):
            for metric in ("train", "valid"):
                pair = arms[a], arms[b]
                values = [arm.at(metric, epoch) if arm else None for arm in pair]
                known = all(value is not None for value in values)
                cells.append(shown(compare(*pair, *values) if known else None))
        rows.append(cells)
    head = ["MNIST linear2, 1e-3", "training, epoch 10", "validation, epoch 10"]
    return markdown([*head, "training, epoch 40", "validation, epoch 40"], rows)


def settings(results: Results) -> str:
    rows, place = [], ("residual", "mnist-linear1")
    reference = at_rate(results, *place, "rebar-reference", 1e-3)
    for tag, what in SETTINGS.items():
        found = at_rate(results, *place, f"relax-{tag}", 1e-3)
        epoch, training = gap(reference, found, "train")
        rms = NOT_RUN if found is None else f"{found.curve('r_rms_1')[1][-1].mean():.2g}"
        valid = shown(gap(reference, found, "valid")[1])
        rows.append([what, number(epoch, 0), shown(training), valid, rms])
    head = ("r", "epoch", "training", "validation", "root mean square of r's weights")
    return markdown(head, rows)

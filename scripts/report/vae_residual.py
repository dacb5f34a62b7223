"""What the added network r brings to REBAR on the VAE: paired seeds, settings of r, a control."""

from __future__ import annotations

import numpy as np

from scripts.intervals import Interval, paired
from scripts.report.vae import LONG_RATES, PAIR, paper_gap
from scripts.results import NOT_RUN, Results, mean_and_error, number
from scripts.runs import VaeRun, compare, gap, run_at_rate, shared_epochs
from scripts.style import case_title

PLACES = (  # preset, case, learning rates
    ("long", "mnist-linear1", LONG_RATES["mnist-linear1"]),
    ("long-rates", "mnist-linear1", (5e-3, 1e-4, 5e-5)),
    ("long", "mnist-linear2", LONG_RATES["mnist-linear2"]),
    ("long", "mnist-nonlinear", LONG_RATES["mnist-nonlinear"]),
)
RUNS = ("residual", "mnist-linear1")
SETTINGS = {  # tag -> override of the default: inputs z and x, 2 layers, factor 1, no decay
    "decay0": "",
    "depth4": "depth=4",
    "factor10": "lr_factor=10",
    "sigma": "inputs=[sigma,x]",
    "no-x": "inputs=[z]",
    "baseline": "inputs=[x]",
    "decay1e-07": "weight_decay=1e-7",
    "decay1e-05": "weight_decay=1e-5",
    "decay0.001": "weight_decay=1e-3",
}
NOTES = {  # tag -> what its override means
    "sigma": "2 sigma(z/lambda) - 1 instead of z",
    "baseline": "without z: a learned baseline",
    "decay0.001": "as published",
}


def commands() -> list[str]:
    """The runs of REBAR and of every setting of r."""
    runs = [("rebar", "reference", ""), *(("relax", *setting) for setting in SETTINGS.items())]
    return [command(*run) for run in runs]


def command(name: str, tag: str, override: str) -> str:
    words = f"python -m experiments.vae preset=vae/residual 'estimator=[{name}]' tag={tag}"
    return f"{words} 'estimators.{name}.{override}'" if override else words


def text(interval: Interval | None) -> str:
    return NOT_RUN if interval is None else interval.text(2)


def single_run_spread(results: Results) -> str:
    """The standard deviation over seeds of REBAR minus RELAX at the end of training."""
    pair = [run_at_rate(results, "long", "mnist-linear1", name, 1e-3) for name in PAIR]
    if not all(pair):
        return NOT_RUN
    rebar, relax = (run.at("train", shared_epochs(*pair)) for run in pair)
    return number(float(np.std(rebar - relax, ddof=1)), 2)


def by_case(results: Results) -> list[dict]:
    """REBAR minus RELAX for every case and rate."""
    places = [(preset, case, rate) for preset, case, rates in PLACES for rate in rates]
    return [case_row(results, *place) for place in places]


def case_row(results: Results, preset: str, case: str, rate: float) -> dict:
    pair = [run_at_rate(results, preset, case, name, rate) for name in PAIR]
    epoch, training = gap(*pair, "train")
    paper = paper_gap(results, case, "train", epoch)
    return {
        "case": case_title(case),
        "rate": f"{rate:g}",
        "seeds": NOT_RUN if training is None else training.seeds,
        "epoch": number(epoch, 0),
        "training": text(training),
        "the paper's": "no curve" if paper == "off the figure" else paper,
        "validation": text(gap(*pair, "valid")[1]),
        "ln Var, logits": text(log_variance_gap(*pair)),
        "r's share": share(pair[1]),
    }


def log_variance_gap(a: VaeRun | None, b: VaeRun | None) -> Interval | None:
    """a's log-variance of the logits' gradient minus b's, mean over the measurements of both."""
    if a is None or b is None:
        return None
    curves = [np.log(run.curve("variance_logits")) for run in (a, b)]
    points = min(map(len, curves))
    return paired(*(curve.iloc[:points].mean() for curve in curves))


def share(relax: VaeRun | None) -> str:
    """r's share of c's variance at the last measurement, one number per layer."""
    if relax is None:
        return NOT_RUN
    metrics = sorted(name for name in relax.table if name.startswith("r_share"))
    shares = [relax.curve(metric).iloc[-1].mean() for metric in metrics]
    return ", ".join(f"{100 * value:.2g} %" for value in shares) or NOT_RUN


def warm_up(results: Results) -> list[dict]:
    """Is the difference that of training phi before the model? REBAR with that warm-up."""
    pairs = {
        "REBAR minus REBAR with the warm-up": ("rebar", "rebar-warm-up"),
        "REBAR with the warm-up minus RELAX": ("rebar-warm-up", "relax"),
        "REBAR minus RELAX": ("rebar", "relax"),
    }
    rows = []
    for title, names in pairs.items():
        pair = [run_at_rate(results, "long", "mnist-linear2", name, 1e-3) for name in names]
        row = {"MNIST linear2, 1e-3": title}
        for epoch in (10, 40):
            for metric, what in (("train", "training"), ("valid", "validation")):
                values = [run.at(metric, epoch) if run else None for run in pair]
                known = all(value is not None for value in values)
                row[f"{what}, epoch {epoch}"] = text(compare(*pair, *values) if known else None)
        rows.append(row)
    return rows


def settings(results: Results) -> list[dict]:
    """Every setting of r against REBAR on the same seeds."""
    rows = []
    reference = run_at_rate(results, *RUNS, "rebar-reference", 1e-3)
    for tag, override in SETTINGS.items():
        run = run_at_rate(results, *RUNS, f"relax-{tag}", 1e-3)
        epoch, training = gap(reference, run, "train")
        note = f" ({NOTES[tag]})" if tag in NOTES else ""
        rows.append(
            {
                "r": f"`{override}`{note}" if override else "the default",
                "epoch": number(epoch, 0),
                "training": text(training),
                "validation": text(gap(reference, run, "valid")[1]),
                "root mean square of r's weights": size(results, tag),
            }
        )
    return rows


BETA2 = {  # Adam's beta2 -> the runs of REBAR and RELAX
    "0.99999, the authors'": PAIR,
    "0.999": ("rebar-beta2-999", "relax-beta2-999"),
}


def beta2(results: Results) -> list[dict]:
    """REBAR minus RELAX on linear1 at two values of Adam's beta2."""
    rows = []
    for value, names in BETA2.items():
        rebar, relax = (run_at_rate(results, "long", "mnist-linear1", name, 1e-3) for name in names)
        epoch, training = gap(rebar, relax, "train")
        rows.append(
            {
                "beta2": value,
                "epoch": number(epoch, 0),
                "REBAR, training": mean_and_error(rebar.at("train", epoch) if rebar else None, 2),
                "training": text(training),
                "validation": text(gap(rebar, relax, "valid")[1]),
                "ln Var, logits": text(log_variance_gap(rebar, relax)),
            }
        )
    return rows


def size(results: Results, tag: str) -> str:
    """The root mean square of r's weights at the end."""
    run = run_at_rate(results, *RUNS, f"relax-{tag}", 1e-3)
    return NOT_RUN if run is None else f"{run.curve('r_rms_1').iloc[-1].mean():.2g}"

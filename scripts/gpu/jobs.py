"""The runs on a GPU, in lists that are chosen by name (--jobs)."""

from __future__ import annotations

from experiments.vae.config import Data
from scripts.gpu.runs import Job
from scripts.report.vae_tables import usual
from scripts.results import config

SMOKE = {"data": Data(name="digits"), "epochs": 2, "seeds": 2, "lr": [1e-3], "variance_every": 1}
BEST, NEXT = 1e-3, 5e-4  # REBAR's two best of the paper's five rates
REST = [5e-3, 1e-4, 5e-5]


def pair(model: str, tag: str | None = None, own: dict | None = None, **family) -> list[Job]:
    """REBAR and RELAX on the same seeds, 100 epochs."""
    family = {"preset": "long", "model": model, "epochs": 100, **family}
    return [Job("relax", own or {}, family, tag), Job("rebar", {}, family, tag)]


def residual(tag: str, estimator: str = "relax", **own) -> Job:
    """A setting of RELAX's network r on linear1, 40 epochs, at REBAR's best rate."""
    family = {"preset": "residual", "model": "linear1", "epochs": 40, "seeds": 4, "lr": [BEST]}
    return Job(estimator, own, family, tag)


def benchmark(estimator: str, tag: str | None = None, **own) -> Job:
    """A run of preset=vae/benchmark, a million steps and five seeds, with fewer measurements.

    The estimators are compared at the last step that all have reached, so a part of it is enough.
    """
    preset = config("preset/vae/benchmark")
    family = {key: value for key, value in preset.items() if key != "defaults"}
    family |= {"data": Data(**family["data"]), "evaluate_every": 20, "variance_every": 40}
    return Job(estimator, own, family, tag, worthwhile=0.01)


JOBS: dict[str, list[Job]] = {
    "smoke": [Job(name, {}, SMOKE, "smoke") for name in ("rebar", "relax")],
    "residual": [
        residual("reference", "rebar"),
        residual("decay0"),
        residual("depth4", depth=4),
        residual("factor10", lr_factor=10.0),
        residual("sigma", inputs=["sigma", "x"]),
        residual("no-x", inputs=["z"]),
        residual("baseline", inputs=["x"]),
        *(residual(f"decay{d:g}", weight_decay=d) for d in (1e-7, 1e-5, 1e-3, 1e-6, 1e-4)),
        residual("depth4-factor10", depth=4, lr_factor=10.0),
    ],
    "linear1": pair("linear1", seeds=8, lr=[BEST, NEXT]),
    "rates1": pair("linear1", preset="long-rates", seeds=3, lr=REST),
    "nonlinear": pair("nonlinear", seeds=8, lr=[5e-4]),
    "linear2": pair("linear2", seeds=8, lr=[BEST, NEXT]),
    "beta2": pair("linear1", tag="beta2-999", seeds=3, lr=[BEST, NEXT], beta2=0.999),
    "rates2": pair("linear2", preset="long-rates", seeds=3, lr=REST),
    "rates3": pair("nonlinear", preset="long-rates", seeds=3, lr=[1e-3, *REST]),
    "benchmark": [
        *(benchmark(name) for name in usual("benchmark")),
        benchmark("unbiased_reinmax", "3", samples=3),
    ],
}

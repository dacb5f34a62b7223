"""From runs/ to results/: the curves for the figures, and a summary row per learning rate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.run.config import run_path
from experiments.run.files import read_table, replace_rows, single_precision, texts, write_table
from experiments.run.statistics import best_setting, standard_error
from experiments.vae.config import Vae
from experiments.vae.images import Images

SUMMARY = (
    "estimator lr seeds steps train train_se valid valid_se valid_best "
    "test test_se valid_iwae test_iwae log_variance_logits log_variance_weights seconds device"
).split()


def results_path(config: Vae, images: Images) -> Path:
    """results/vae/<preset>/<case>"""
    return Path(config.results) / "vae" / config.preset / config.case(images)


def export(config: Vae, estimator: str, images: Images) -> None:
    """Write <estimator>.csv, its rows of summary.csv and its pictures; other estimators' stay."""
    run = run_path(config, "vae", config.case(images), estimator)
    place = results_path(config, images)
    table = read_table(run / "metrics.csv")
    write_curves(table, place / f"{run.name}.csv")
    rows = summary_rows(run.name, table, json.loads((run / "summary.json").read_text()))
    replace_rows(place / "summary.csv", SUMMARY, run.name, rows, run.with_name("summary.lock"))
    for picture in (run / "media").glob("*.png"):
        shutil.copyfile(picture, place / f"{run.name}-{picture.name.split('-')[0]}.png")


def write_curves(table: dict[str, np.ndarray], path: Path) -> None:
    """All measurements in single precision; a cell is empty where nothing was measured."""
    cells = [
        texts(values.astype(np.int64)) if name in ("step", "seed") else single_precision(values)
        for name, values in table.items()
    ]
    write_table(path, list(table), zip(*cells, strict=True))


def summary_rows(
    name: str, table: dict[str, np.ndarray], summary: dict[str, Any]
) -> list[tuple[str, ...]]:
    """One row per learning rate: means and standard errors over seeds at the last step.

    The numbers of the test set are given for the rate with the best validation ELBO alone.
    """
    curves = pd.DataFrame(table)
    keys = ("seed", "lr", "valid", "test", "valid_iwae", "test_iwae")
    final = pd.DataFrame({key: summary[key] for key in keys if key in summary})
    scores = {lr: valid.to_numpy().mean() for lr, valid in final.groupby("lr")["valid"]}
    chosen = best_setting(scores)  # to_numpy: a mean by pandas would skip a diverged seed
    rows = []
    for lr, of_rate in final.groupby("lr", sort=False):
        curve = curves[np.isclose(curves["lr"], lr)]
        row = {"estimator": name, "lr": f"{lr:g}", **summary_row(curve, of_rate, lr == chosen)}
        row |= {"seconds": summary["seconds"], "device": summary.get("device")}
        rows.append(tuple(text(row.get(key)) for key in SUMMARY))
    return rows


def summary_row(curve: pd.DataFrame, final: pd.DataFrame, with_test: bool) -> dict[str, Any]:
    """The numbers of one learning rate, from its rows of metrics.csv and its final measurements."""
    at_end = curve[curve["step"] == curve["step"].max()]
    row: dict[str, Any] = {"seeds": len(final), "steps": int(curve["step"].max())}
    row |= spread("train", at_end["train"]) | spread("valid", final["valid"])
    means = curve["valid"].to_numpy().reshape(-1, len(final)).mean(1)
    row["valid_best"] = np.nanmin(means, initial=np.inf)
    if with_test:
        row |= spread("test", final["test"])
    for bound in ("valid_iwae", "test_iwae") if with_test else ("valid_iwae",):
        if bound in final:
            row[bound] = np.mean(final[bound].to_numpy())
    for what in ("variance_logits", "variance_weights"):
        if what in at_end:
            row[f"log_{what}"] = np.log(at_end[what].to_numpy()).mean()
    return row


def spread(name: str, values: pd.Series) -> dict[str, float]:
    """Mean over seeds and standard error."""
    return {name: values.to_numpy().mean(), f"{name}_se": standard_error(values.to_numpy())}


def text(value: Any) -> str:
    """A cell: four decimals, empty where there is no number."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)

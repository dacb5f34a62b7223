"""From runs/ to results/: the curves that the figures draw, and a summary row per learning rate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from experiments.run.config import run_path
from experiments.run.files import locked, read_rows, read_table, texts, with_old_times, write_table
from experiments.vae.config import Vae
from experiments.vae.data import Images

SUMMARY = (
    "estimator lr seeds steps train train_se valid valid_se valid_best "
    "test test_se valid_iwae test_iwae log_variance_logits log_variance_weights seconds device"
).split()


def results_path(config: Vae, images: Images) -> Path:
    """results/vae/<preset>/<case>"""
    return Path(config.results) / "vae" / config.preset / config.case(images)


def export(config: Vae, estimator: str, images: Images) -> None:
    """<estimator>.csv, its rows of summary.csv, its pictures; other estimators' stay."""
    run = run_path(config, "vae", config.case(images), estimator)
    place = results_path(config, images)
    summary = json.loads((run / "summary.json").read_text())
    table = read_table(run / "metrics.csv")
    whole = {name: table[name].astype(int).astype(str).tolist() for name in ("step", "seed")}
    cells = {name: blank(texts(table[name].astype(np.float32))) for name in table}
    columns = {name: whole.get(name, cells[name]) for name in table}
    write_table(place / f"{run.name}.csv", list(columns), zip(*columns.values(), strict=True))

    mine = {row[:2]: row for row in summary_rows(run.name, table, summary)}
    with locked(run.with_name("summary.lock")):  # a sweep's cases write here side by side
        file = place / "summary.csv"
        found = read_rows(file, SUMMARY)
        rows = {row[:2]: row for row in found if row[0] != run.name} | mine
        ordered = (rows[key] for key in sorted(rows))
        write_table(file, SUMMARY, with_old_times(file, SUMMARY, ordered))
    for picture in (run / "media").glob("*.png"):
        shutil.copyfile(picture, place / f"{run.name}-{picture.name.split('-')[0]}.png")


def summary_rows(name: str, table: dict, summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row per learning rate, mean and standard error over seeds at the last step.

    The test set's numbers are told for the rate with the best validation ELBO alone.
    """
    last = table["step"] == table["step"].max()
    rates = np.array(summary["lr"])
    valid = {lr: np.mean(np.array(summary["valid"])[rates == lr]) for lr in rates}
    chosen = min(valid, key=lambda lr: np.inf if np.isnan(valid[lr]) else valid[lr])
    rows = []
    for lr in dict.fromkeys(summary["lr"]):
        mine, here = rates == lr, np.isclose(table["lr"], lr)
        found = {"estimator": name, "lr": f"{lr:g}", "seeds": mine.sum()}
        found["steps"] = int(table["step"].max())
        found |= spread("train", table["train"][last & here])
        for split in ("valid", "test"):
            values = np.array(summary[split])[mine]
            bound = np.array(summary.get(f"{split}_iwae", []))
            if split == "valid" or lr == chosen:
                found |= spread(split, values)
                found |= {f"{split}_iwae": bound[mine].mean()} if len(bound) else {}
        curve = table["valid"][here].reshape(-1, mine.sum()).mean(1)
        found["valid_best"] = np.nanmin(curve, initial=np.inf)
        for what in ("logits", "weights"):
            values = table.get(f"variance_{what}", np.array([np.nan]))
            values = values[last & here] if len(values) > 1 else values
            found[f"log_variance_{what}"] = np.log(values).mean()
        found |= {"seconds": summary["seconds"], "device": summary.get("device")}
        rows.append(tuple(text(found.get(key)) for key in SUMMARY))
    return rows


def spread(name: str, values: np.ndarray) -> dict[str, float]:
    """Mean and, with several seeds, its standard error."""
    found = {name: values.mean()}
    if len(values) > 1:
        found[f"{name}_se"] = values.std(ddof=1) / len(values) ** 0.5
    return found


def text(value: Any) -> str:
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def blank(cells: list[str]) -> list[str]:
    return ["" if cell == "nan" else cell for cell in cells]

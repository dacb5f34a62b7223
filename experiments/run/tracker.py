"""What a run records: metrics.csv, its mirror in Weights & Biases, and a progress line.

metrics.csv is the record, in long format: one row per logged step and replica (seed, learning rate,
...), each number with the fewest digits that read back as the same number. W&B gets the same
numbers in one of two ways:

    rows="quantiles"   one W&B run with the median, q10 and q90 over replicas, and the first replica
    rows="each"        one W&B run per replica
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.run.config import Tracking
from experiments.run.files import disk_errors, read_table, texts
from experiments.run.folder import RunFolder
from experiments.run.hardware import hardware
from experiments.run.progress import Progress, duration
from experiments.run.tracking import Mirror

QUANTILES = {"median": 0.5, "q10": 0.1, "q90": 0.9}
BINS = 64  # of a histogram


class Tracker:
    """Records one run. A context manager, entered after `folder.load()`.

    Args:
        folder: the run folder.
        keys: what identifies the replicas, one entry each: {"seed": [0, 1], "lr": [.1, .1]}.
        metrics: the names that log() accepts, in the order of the columns of metrics.csv.
        steps: the length of the run, for the progress line.
        tracking, group, job_type, name: of the W&B runs, whose files are below `runs`.
        rows: "quantiles" or "each", see above.
        bar: draw a progress bar on a terminal; False if several processes share it.
    """

    def __init__(
        self,
        folder: RunFolder,
        keys: dict[str, list],
        metrics: list[str],
        steps: int,
        tracking: Tracking | None = None,
        group: str = "",
        job_type: str = "",
        name: str = "",
        rows: str = "quantiles",
        runs: str | Path = "runs",
        bar: bool = True,
    ):
        self.folder, self.keys, self.metrics, self.steps = folder, keys, list(metrics), steps
        self.name = name or folder.path.name
        self.replicas = len(next(iter(keys.values())))
        self._key_texts = [texts(column) for column in keys.values()]
        self._points: list[tuple[int, dict[str, Any]]] = []
        self._media: list[dict[str, Any]] = []
        self._latest: Any = None
        self._progress = Progress(self.name, steps, bar, self._latest_text)
        self._each = rows == "each"
        tracking = tracking or Tracking()
        labels = self._labels() if self._each else [self.name]
        tracking.check(several=len(labels) > 1)
        if len(labels) == 1:
            labels = [os.environ.get("WANDB_NAME") or labels[0]]
        self._mirror = Mirror(folder, tracking, group, job_type, labels, Path(runs))

    def _labels(self) -> list[str]:
        """The names of the W&B runs, such as vae-linear1-relax-lr1e-3-s0."""
        others = [key for key in self.keys if key != "seed"]
        columns = [[key + short(value) for value in self.keys[key]] for key in others]
        if "seed" in self.keys:
            columns.append([f"s{seed}" for seed in self.keys["seed"]])
        return ["-".join([self.name, *cells]) for cells in zip(*columns, strict=True)]

    def __enter__(self) -> Tracker:
        if not self.folder.loaded:
            raise RuntimeError("call folder.load() first: it truncates the record")
        self._mirror.open()
        if self._mirror.runs:
            print(f"{self.name}: W&B {self._mirror.where}", flush=True)
        self._replay()
        self._progress.start(self.folder.step)
        return self

    def __exit__(self, *exception) -> None:
        self._progress.leave()
        self._mirror.close(*exception)

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Record one value per replica, [replicas], or one for all of them.

        Tensors stay on their device until flush().
        """
        if unknown := values.keys() - set(self.metrics):
            raise ValueError(f"unknown metric {sorted(unknown)}; known: {self.metrics}")
        # The optimiser changes parameters in place, so tensors are copied.
        values = {
            name: value.detach().clone() if isinstance(value, torch.Tensor) else value
            for name, value in values.items()
        }
        if self._points and self._points[-1][0] == step:
            self._points[-1][1].update(values)
        else:
            self._points.append((step, values))
        self._latest = values.get(self.metrics[0], self._latest)

    def image(self, name: str, path: str | Path, step: int, row: int = 0) -> None:
        """Copy the picture into the run folder and show it in W&B."""
        kept = Path("media") / f"{name.replace('/', '-')}-{row}-{step}{Path(path).suffix}"
        with disk_errors(self.folder.path / kept, "write"):
            (self.folder.path / "media").mkdir(exist_ok=True)
            shutil.copyfile(path, self.folder.path / kept)
        self._media.append({"step": step, "name": name, "row": row, "image": str(kept)})

    def histogram(self, name: str, values: torch.Tensor, step: int) -> None:
        """Record a histogram of values [replicas, ...] for every W&B run: its replica's, or the
        first's."""
        for row in range(self.replicas if self._each else 1):
            one = values[row].detach().clone()
            self._media.append({"step": step, "name": name, "row": row, "values": one})

    def flush(self) -> None:
        """Write everything logged since the last call; RunFolder.save() calls it first."""
        points, media = self._points, self._media
        self._points, self._media = [], []
        table = [(step, {k: self._cells(v) for k, v in values.items()}) for step, values in points]
        entries = [_binned(entry) for entry in media]
        self._append("metrics.csv", self._lines(table), ["step", *self.keys, *self.metrics])
        self._append("media.jsonl", [json.dumps(entry) for entry in entries])
        for step, cells in table:
            numbers = {name: np.array(text, dtype=np.float64) for name, text in cells.items()}
            self._mirror.log(step, self._for_mirror(numbers))
        for entry in entries:
            self._mirror.media(entry)

    def _cells(self, values: Any) -> list[str]:
        array = values.cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
        if array.shape not in ((), (self.replicas,)):
            raise ValueError(f"a metric has shape {array.shape}; expected () or ({self.replicas},)")
        return texts(np.broadcast_to(array, (self.replicas,)))

    def _lines(self, table: list[tuple[int, dict[str, list[str]]]]) -> list[str]:
        lines = []
        for step, cells in table:
            missing = [""] * self.replicas
            columns = [[str(step)] * self.replicas, *self._key_texts]
            columns += [cells.get(name, missing) for name in self.metrics]
            lines += map(",".join, zip(*columns, strict=True))
        return lines

    def _append(self, name: str, lines: list[str], header: list[str] | None = None) -> None:
        file = self.folder.path / name
        if header and not (file.exists() and file.stat().st_size):
            lines = [",".join(header), *lines]
        if lines:
            self.folder.append(file, ("\n".join(lines) + "\n").encode())

    def _for_mirror(self, numbers: dict[str, np.ndarray]) -> list[dict[str, float]]:
        """What each W&B run logs: its replica's values, or quantiles over replicas."""
        if self._each:
            rows = range(self.replicas)
            return [{name: float(values[row]) for name, values in numbers.items()} for row in rows]
        logged = {}
        for name, values in numbers.items():
            for label, level in QUANTILES.items():
                logged[f"{name}/{label}"] = quantile(values, level)
            logged[f"{name}/first"] = float(values[0])
        return [logged]

    def _replay(self) -> None:
        """Log again what happened before the checkpoint: a new offline W&B run starts empty."""
        if not self._mirror.runs or not self.folder.step:
            return
        table = read_table(self.folder.path / "metrics.csv")
        for start in range(0, len(table["step"]), self.replicas):
            rows = slice(start, start + self.replicas)
            numbers = {name: table[name][rows] for name in self.metrics}
            logged = {
                name: values
                for name, values in numbers.items()
                if values.dtype == float and not np.isnan(values).all()
            }
            self._mirror.log(int(table["step"][start]), self._for_mirror(logged))
        media = self.folder.path / "media.jsonl"
        for line in media.read_text().splitlines() if media.exists() else []:
            self._mirror.media(json.loads(line))

    def progress(self, step: int) -> None:
        """Update the progress line. Cheap enough for every step."""
        self._progress.show(step)

    def _latest_text(self) -> str:
        if self._latest is None:
            return ""
        value = torch.as_tensor(self._latest).float().median().item()
        return f"{self.metrics[0]} {value:.5g}"

    def finish(self, summary: dict[str, Any], headline: str) -> None:
        """Mark the run finished and print its headline, after the last `folder.save()`.

        With rows="each", a list in `summary` has one value per replica, one for each W&B run.
        """
        if self._points or self._media:
            raise RuntimeError("rows were logged after the last folder.save(): save, then finish")
        seconds = self.folder.elapsed
        device = hardware(self.folder.config.get("device", "cpu"))
        self.folder.done({**summary, "seconds": round(seconds, 1), "device": device})
        self._mirror.summarise(summary)
        self._progress.wipe()
        print(f"{self.name}: {headline}, {duration(seconds)}, {self.folder.path}", flush=True)


def short(value: Any) -> str:
    """A setting as part of a name: .0005 becomes 5e-4."""
    if not isinstance(value, float):
        return str(value)
    if value and abs(value) < 0.01:
        digits, exponent = f"{value:e}".split("e")
        return f"{float(digits):g}e{int(exponent)}"
    return f"{value:g}"


def now_and_then(n: int) -> bool:
    """Whether n is 1, 2, 4, 8, ...: often early on, and a handful of times in all."""
    return n & (n - 1) == 0


def quantile(values: np.ndarray, level: float) -> float:
    """The quantile over the replicas that have a number."""
    numbers = values[~np.isnan(values)]
    return float(np.quantile(numbers, level)) if len(numbers) else float("nan")


def _binned(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with its values replaced by a histogram, ready for JSON."""
    if "values" not in entry:
        return entry
    values = entry["values"].cpu().double().flatten().numpy()
    counts, edges = np.histogram(values[np.isfinite(values)], bins=BINS)
    rest = {key: value for key, value in entry.items() if key != "values"}
    return {**rest, "counts": counts.tolist(), "edges": edges.tolist()}

"""What a run records while it goes: metrics.csv, its mirror in Weights & Biases, a progress line.

metrics.csv is the record: long format, one row per logged step and key row (seed, rate, ...), in
the shortest digits that read back as the same number. W&B shows the same numbers:

    rows="quantiles"   one W&B run with <metric>/median, /q10, /q90 over the rows and /first
    rows="each"        one W&B run per row with <metric> itself

Whatever W&B does, no step and no row is lost: its first failure is told once, then it is left out.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from experiments.run.config import Tracking, hardware
from experiments.run.files import disk_errors, read_table, texts, write_whole
from experiments.run.folder import RunFolder
from experiments.run.progress import Progress, duration

QUANTILES = {"median": 0.5, "q10": 0.1, "q90": 0.9}
TOO_MANY = 50  # W&B runs open at once; above it use rows="quantiles"


def short(value: Any) -> str:
    """A setting as part of a name: .0005 -> 5e-4"""
    if not isinstance(value, float):
        return str(value)
    if value and abs(value) < 0.01:
        digits, exponent = f"{value:e}".split("e")
        return f"{float(digits):g}e{int(exponent)}"
    return f"{value:g}"


class Tracker:
    """Records one run; a context manager, entered after `folder.load()`.

    keys       the rows: {"seed": [0, 1], "lr": [.1, .1]}; every column is as long as the others
    metrics    the names that log() may be given, in the order of the columns
    steps      how many there will be, for the progress line
    bar        a bar where the output is a terminal; False where several processes share it
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
        self.rows = len(next(iter(keys.values())))
        self._key_texts = [texts(column) for column in keys.values()]
        self._points: list[tuple[int, dict[str, Any]]] = []
        self._media: list[dict[str, Any]] = []
        self._latest: Any = None
        self._progress = Progress(self.name, steps, bar, self._latest_text)
        tracking = tracking or Tracking()
        labels = self._labels() if rows == "each" else [self.name]
        tracking.check(several=len(labels) > 1)
        labels = [os.environ.get("WANDB_NAME") or labels[0]] if len(labels) == 1 else labels
        self._mirror = _Mirror(folder, tracking, group, job_type, labels, Path(runs))
        self._each = rows == "each"

    def _labels(self) -> list[str]:
        """vae-linear1-relax-lr1e-3-s0"""
        columns = [
            [("s" if key == "seed" else key) + short(value) for value in column]
            for key, column in sorted(self.keys.items(), key=lambda item: item[0] == "seed")
        ]
        return ["-".join([self.name, *cells]) for cells in zip(*columns, strict=True)]

    def __enter__(self) -> Tracker:
        if not self.folder.loaded:
            raise RuntimeError("call folder.load() first: it cuts the record back")
        self._mirror.open()
        if self._mirror.runs:
            print(f"{self.name}: W&B {self._mirror.where}", flush=True)
        self._replay()
        self._progress.start(self.folder.step)
        return self

    def __exit__(self, *exception) -> None:
        self._progress.leave()
        self._mirror.close(*exception)

    # ---- logging ----

    def log(self, step: int, values: dict[str, Any]) -> None:
        """One value per row ([rows]) or one for all. Tensors stay on their device until flush()."""
        if unknown := values.keys() - set(self.metrics):
            raise ValueError(f"unknown metric {sorted(unknown)}; known: {self.metrics}")
        # A copy: the optimiser changes parameters in place.
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
        """Keep a copy of the picture in the run folder and show it in W&B."""
        kept = Path("media") / f"{name.replace('/', '-')}-{row}-{step}{Path(path).suffix}"
        with disk_errors(self.folder.path / kept, "write"):
            (self.folder.path / "media").mkdir(exist_ok=True)
            shutil.copyfile(path, self.folder.path / kept)
        self._media.append({"step": step, "name": name, "row": row, "image": str(kept)})

    def histogram(self, name: str, values: torch.Tensor, step: int) -> None:
        """The distribution (64 bins) of every row's values [rows, ...], for instance a gradient's
        coordinates; of the first row's alone where one W&B run stands for all."""
        for row in range(self.rows if self._each else 1):
            one = values[row].detach().clone()
            self._media.append({"step": step, "name": name, "row": row, "values": one})

    def flush(self) -> None:
        """Write what was logged since the last time; the folder does it before each checkpoint."""
        points, media = self._points, self._media
        self._points, self._media = [], []
        table = [(step, {k: self._cells(v) for k, v in values.items()}) for step, values in points]
        entries = [_counted(entry) for entry in media]
        self._append("metrics.csv", self._lines(table), ["step", *self.keys, *self.metrics])
        self._append("media.jsonl", [json.dumps(entry) for entry in entries])
        for step, cells in table:
            numbers = {name: np.array(text, dtype=np.float64) for name, text in cells.items()}
            self._mirror.log(step, self._for_mirror(numbers))
        for entry in entries:
            self._mirror.media(entry)

    def _cells(self, values: Any) -> list[str]:
        array = values.cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
        if array.shape not in ((), (self.rows,)):
            raise ValueError(f"a metric has shape {array.shape}; () or ({self.rows},) is meant")
        return texts(np.broadcast_to(array, (self.rows,)))

    def _lines(self, table: list[tuple[int, dict[str, list[str]]]]) -> list[str]:
        lines = []
        for step, cells in table:
            missing = [""] * self.rows
            columns = [[str(step)] * self.rows, *self._key_texts]
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
        """What each W&B run is told: every row to its own, or the quantiles over rows to one."""
        if self._each:
            return [{k: float(v[row]) for k, v in numbers.items()} for row in range(self.rows)]
        told = {}
        for name, values in numbers.items():
            for label, level in QUANTILES.items():
                told[f"{name}/{label}"] = quantile(values, level)
            told[f"{name}/first"] = float(values[0])
        return [told]

    def _replay(self) -> None:
        """Tell a new W&B run what happened before the checkpoint; offline it knows nothing."""
        if not self._mirror.runs or not self.folder.step:
            return
        table = read_table(self.folder.path / "metrics.csv")
        for start in range(0, len(table["step"]), self.rows):
            rows = slice(start, start + self.rows)
            numbers = {name: table[name][rows] for name in self.metrics}
            logged = {name: v for name, v in numbers.items() if v.dtype == float and not _empty(v)}
            self._mirror.log(int(table["step"][start]), self._for_mirror(logged))
        media = self.folder.path / "media.jsonl"
        for line in media.read_text().splitlines() if media.exists() else []:
            self._mirror.media(json.loads(line))

    # ---- what a person sees ----

    def progress(self, step: int, text: str = "") -> None:
        """A bar on a terminal, elsewhere a line per tenth. Cheap enough for every step."""
        self._progress.show(step, text)

    def _latest_text(self) -> str:
        if self._latest is None:
            return ""
        value = torch.as_tensor(self._latest).float().median().item()
        return f"{self.metrics[0]} {value:.5g}"

    def finish(self, summary: dict[str, Any], headline: str) -> None:
        """After the last `folder.save()`: mark the run finished and print its one line.

        A list in `summary` with one value per row is told row by row where rows="each".
        """
        if self._points or self._media:
            raise RuntimeError("rows were logged after the last folder.save(): save, then finish")
        seconds = self.folder.elapsed
        device = hardware(self.folder.config.get("device", "cpu"))
        self.folder.done({**summary, "seconds": round(seconds, 1), "device": device})
        self._mirror.summarise(summary)
        self._progress.wipe()
        print(f"{self.name}: {headline}, {duration(seconds)}, {self.folder.path}", flush=True)


def now_and_then(n: int) -> bool:
    """At 1, 2, 4, 8, ...: often where much changes, and a handful in all."""
    return n & (n - 1) == 0


def quantile(values: np.ndarray, level: float) -> float:
    """Over the rows that have a number."""
    numbers = values[~np.isnan(values)]
    return float(np.quantile(numbers, level)) if len(numbers) else float("nan")


def _empty(values: np.ndarray) -> bool:
    return bool(np.isnan(values).all())


def _counted(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with its values counted into bins, ready for JSON."""
    if "values" not in entry:
        return entry
    values = entry["values"].cpu().double().flatten().numpy()
    counts, edges = np.histogram(values[np.isfinite(values)], bins=64)
    rest = {key: value for key, value in entry.items() if key != "values"}
    return {**rest, "counts": counts.tolist(), "edges": edges.tolist()}


# ---- Weights & Biases, and nothing of it outside ----


def wandb_mode(tracking: Tracking) -> str:
    """What the configuration says, else WANDB_MODE, else online when logged in, else offline."""
    if tracking.wanted != "auto":
        return tracking.wanted
    return "online" if _logged_in() else "offline"


def _logged_in() -> bool:
    """Asked of W&B, which knows its hosts and its files; without a prompt and without network."""
    wandb = import_wandb()
    if wandb is None:
        return False
    try:
        wandb.setup(settings=wandb.Settings(silent=True))
        return wandb.login(prompt=False, verify=False)
    except Exception as error:
        print(f"W&B is not logged in: {_in_one_line(error)}", flush=True)
        return False


def wandb_folder(runs: Path) -> Path:
    """Where W&B's own files are: in WANDB_DIR, else beside the run folders."""
    return Path(os.environ.get("WANDB_DIR") or runs) / "wandb"


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def import_wandb():
    """The module, or None where it is not installed."""
    try:
        import wandb
    except ImportError:
        return None
    return wandb if hasattr(wandb, "init") else None  # a leftover folder named wandb has none


def preload() -> None:
    """Import what `wandb.init` imports, two seconds in all, once for the children to come."""
    if import_wandb():
        import_module("wandb.apis.public")


def show_figures(case: Path, group: str, runs: Path, pictures: Iterable[Path]) -> None:
    """The figures of a group in a W&B run of their own, which takes the last such run's place.

    case: the folder of the run folders that they show. Where W&B knows none of those it is told
    nothing.
    """
    known = [json.loads(file.read_text()) for file in sorted(case.glob("*/wandb.json"))]
    if not known:
        return
    tracking = Tracking(**{key: known[0][key] for key in ("project", "entity") if key in known[0]})
    group = known[0].get("group", group)
    place = SimpleNamespace(path=case / "figures", config={"group": group})
    place.path.mkdir(exist_ok=True)
    mirror = _Mirror(place, tracking, group, "figures", [f"{group}-figures"], runs)
    mirror.open()
    for picture in pictures:
        step = max(mirror.last, default=-1) + 1
        mirror.media({"step": step, "name": picture.stem, "row": 0, "image": picture.resolve()})
    mirror.close(None, None, None)


class _Mirror:
    """The W&B runs of one Tracker: one, or one per row. Never raises."""

    def __init__(self, folder, tracking, group, job_type, labels, root):
        self.folder, self.tracking, self.root = folder, tracking, root
        self.group = os.environ.get("WANDB_RUN_GROUP") or group
        self.job_type, self.labels = job_type, labels
        self.project = tracking.project or os.environ.get("WANDB_PROJECT") or "relax"
        self.entity = tracking.entity or os.environ.get("WANDB_ENTITY")
        self.runs: list[Any] = []
        self._stack = ExitStack()
        self._told = False
        self.where = ""
        self.last: list[int] = []  # the step that a resumed online run already has

    def open(self) -> None:
        mode = wandb_mode(self.tracking)
        if mode == "disabled":
            return
        wandb = import_wandb()
        if wandb is None:
            if self.tracking.mode != "auto":
                print("wandb is not installed: metrics.csv only", flush=True)
            return
        self._try("start", lambda: self._start(wandb, mode))
        if not self.runs and mode == "online":
            self._try("start offline", lambda: self._start(wandb, "offline"))

    def _start(self, wandb, mode: str) -> None:
        if len(self.labels) > TOO_MANY:
            raise ValueError(f"{len(self.labels)} runs at once; use rows='quantiles'")
        memory = self._forget_the_torn(mode)
        folder = wandb_folder(self.root).parent
        folder.mkdir(parents=True, exist_ok=True)
        self._wandb = wandb
        for label, id_ in zip(self.labels, memory["ids"], strict=True):
            run = wandb.init(
                project=self.project,
                entity=self.entity,
                group=self.group or None,
                job_type=self.job_type or None,
                name=label,
                id=id_,
                config=self.folder.config,
                dir=str(folder),
                mode=mode,
                resume="allow" if mode == "online" else None,
                reinit="create_new",  # several stay open, and a sweep's cases never share one
                settings=wandb.Settings(
                    console="off",
                    silent=True,
                    init_timeout=30,
                    x_disable_stats=True,
                    x_disable_meta=True,
                    disable_git=True,
                    disable_code=True,
                    x_save_requirements=False,
                ),
            )
            self._stack.enter_context(run)
            # Our own step: W&B's starts again at 0 in a resumed run.
            run.define_metric("step")
            run.define_metric("*", step_metric="step")
            self.runs.append(run)
            self.last.append(int(run.summary.get("step", -1)) if run.resumed else -1)
        memory["dirs"] = [str(Path(run.dir).parent) for run in self.runs]
        memory |= {"project": self.project, "entity": self.entity, "group": self.group}
        self.where = self._where(mode, memory["ids"])
        memory["address"] = self.runs[0].project_url if mode == "online" else None
        write_whole(self.folder.path / "wandb.json", (json.dumps(memory) + "\n").encode())

    def _where(self, mode: str, ids: list[str]) -> str:
        """Where the dashboard is, or will be once it is uploaded."""
        run, several = self.runs[0], len(self.runs) > 1
        if mode == "online":
            return f"{run.project_url}, group {self.group}" if several else run.url
        files, here = Path(run.dir).parent, Path.cwd()
        files = files.relative_to(here) if files.is_relative_to(here) else files
        if several:  # the ids of one run folder share their last part
            files = files.with_name(f"offline-run-*-{ids[0].rpartition('-')[2]}")
        return f"offline in {files.parent}; upload later with: wandb sync {files}"

    def _forget_the_torn(self, mode: str) -> dict[str, Any]:
        """This run folder's ids. A torn offline run is removed: the new one tells all of it."""
        file = self.folder.path / "wandb.json"
        try:
            memory = json.loads(file.read_text())
            assert len(memory["ids"]) == len(self.labels)
        except Exception:
            token = secrets.token_hex(3)
            names = [re.sub(r"[^\w.-]", "-", label) for label in self.labels]
            return {"ids": [f"{name}-{token}" for name in names], "dirs": []}
        for torn in map(Path, memory.get("dirs", [])):
            ours = torn.name.startswith("offline-run-") and torn.parent.name == "wandb"
            if mode == "offline" and ours:
                shutil.rmtree(torn, ignore_errors=True)
        return memory

    def _try(self, what: str, action) -> None:
        try:
            action()
        except Exception as error:
            self._tell(what, error)
            self.runs = []

    def _tell(self, what: str, error: Exception) -> None:
        """Once: whatever fails after that fails for the same reason."""
        if not self._told:
            print(
                f"W&B could not {what} ({_in_one_line(error)}); metrics.csv has everything",
                flush=True,
            )
        self._told = True

    def log(self, step: int, told: list[dict[str, float]]) -> None:
        def action():
            for run, values, last in zip(self.runs, told, self.last, strict=True):
                if step > last:
                    run.log({"step": step, **values})

        if self.runs:
            self._try("log", action)

    def media(self, entry: dict[str, Any]) -> None:
        def action():
            row = min(entry["row"], len(self.runs) - 1)
            if entry["step"] <= self.last[row]:
                return
            if "image" in entry:
                shown = self._wandb.Image(str(self.folder.path / entry["image"]))
            else:
                shown = self._wandb.Histogram(np_histogram=(entry["counts"], entry["edges"]))
            self.runs[row].log({"step": entry["step"], entry["name"]: shown})

        if self.runs:
            self._try("log", action)

    def summarise(self, summary: dict[str, Any]) -> None:
        def action():
            for row, run in enumerate(self.runs):
                for key, value in summary.items():
                    run.summary[key] = value[row] if isinstance(value, list) else value

        if self.runs:
            self._try("write the summary", action)

    def close(self, *exception) -> None:
        try:
            self._stack.__exit__(*exception)
        except Exception as error:
            if exception[1] is not error:
                self._tell("finish", error)

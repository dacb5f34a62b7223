"""Weights & Biases; no other file knows it.

W&B mirrors metrics.csv. Whatever it does, no step and no row is lost: its first failure is reported
once, and then it is left out.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from experiments.run.config import Tracking
from experiments.run.errors import in_one_line
from experiments.run.files import write_whole

TOO_MANY = 50  # W&B runs open at once; above it use rows="quantiles"
QUIET = {  # wandb.Settings: no output, and nothing about this machine or this code
    "console": "off",
    "silent": True,
    "init_timeout": 30,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "disable_git": True,
    "disable_code": True,
    "x_save_requirements": False,
}


def wandb_mode(tracking: Tracking) -> str:
    """The mode of the configuration, else WANDB_MODE, else online if logged in, else offline."""
    if tracking.wanted != "auto":
        return tracking.wanted
    return "online" if _logged_in() else "offline"


def _logged_in() -> bool:
    """Ask W&B, which knows its hosts and files; without a prompt and without the network."""
    wandb = import_wandb()
    if wandb is None:
        return False
    try:
        wandb.setup(settings=wandb.Settings(silent=True))
        return wandb.login(prompt=False, verify=False)
    except Exception as error:
        print(f"W&B is not logged in: {in_one_line(error)}", flush=True)
        return False


def wandb_folder(runs: Path) -> Path:
    """Where W&B keeps its files: in WANDB_DIR, else beside the run folders."""
    return Path(os.environ.get("WANDB_DIR") or runs) / "wandb"


def import_wandb():
    """The module, or None where it is not installed."""
    try:
        import wandb
    except ImportError:
        return None
    return wandb if hasattr(wandb, "init") else None  # a leftover folder named wandb has no init


def preload() -> None:
    """Import what `wandb.init` imports, which takes two seconds, before processes are forked."""
    if import_wandb():
        import_module("wandb.apis.public")


def show_figures(case: Path, group: str, runs: Path, pictures: Iterable[Path]) -> None:
    """Upload the figures of a group as a W&B run of their own, replacing the previous upload.

    Args:
        case: the folder of the run folders that the figures show. If W&B knows none of these runs,
            nothing is uploaded.
    """
    known = [json.loads(file.read_text()) for file in sorted(case.glob("*/wandb.json"))]
    if not known:
        return
    tracking = Tracking(**{key: known[0][key] for key in ("project", "entity") if key in known[0]})
    group = known[0].get("group", group)
    folder = SimpleNamespace(path=case / "figures", config={"group": group})
    folder.path.mkdir(exist_ok=True)
    mirror = Mirror(folder, tracking, group, "figures", [f"{group}-figures"], runs)
    mirror.open()
    for picture in pictures:
        step = max(mirror.last, default=-1) + 1
        mirror.media({"step": step, "name": picture.stem, "row": 0, "image": picture.resolve()})
    mirror.close(None, None, None)


class Mirror:
    """The W&B runs of one Tracker: a single one, or one per replica. Never raises.

    Attributes:
        runs: the open W&B runs; empty if W&B is disabled or has failed.
        where: the address of the dashboard, or how to upload the offline files.
        last: per run, the last step that a resumed online run already has.
    """

    def __init__(self, folder, tracking: Tracking, group, job_type, labels: list[str], root: Path):
        self.folder, self.tracking, self.root = folder, tracking, root
        self.group = os.environ.get("WANDB_RUN_GROUP") or group
        self.job_type, self.labels = job_type, labels
        self.project = tracking.project or os.environ.get("WANDB_PROJECT") or "relax"
        self.entity = tracking.entity or os.environ.get("WANDB_ENTITY")
        self.runs: list[Any] = []
        self.last: list[int] = []
        self.where, self._reported = "", False
        self._stack = ExitStack()

    def open(self) -> None:
        mode = wandb_mode(self.tracking)
        if mode == "disabled":
            return
        wandb = import_wandb()
        if wandb is None:
            if self.tracking.mode != "auto":
                print("wandb is not installed: metrics.csv only", flush=True)
            return
        with self._reporting("start"):
            self._start(wandb, mode)
        if not self.runs and mode == "online":
            with self._reporting("start offline"):
                self._start(wandb, "offline")

    def _start(self, wandb, mode: str) -> None:
        if len(self.labels) > TOO_MANY:
            raise ValueError(f"{len(self.labels)} runs at once; use rows='quantiles'")
        memory = self._remembered(mode)
        self._wandb = wandb
        folder = wandb_folder(self.root).parent
        folder.mkdir(parents=True, exist_ok=True)
        for label, id_ in zip(self.labels, memory["ids"], strict=True):
            self._open_run(mode, label, id_, folder)
        memory["dirs"] = [str(Path(run.dir).parent) for run in self.runs]
        memory |= {"project": self.project, "entity": self.entity, "group": self.group}
        self.where = self._where(mode, memory["ids"])
        memory["address"] = self.runs[0].project_url if mode == "online" else None
        write_whole(self.folder.path / "wandb.json", (json.dumps(memory) + "\n").encode())

    def _open_run(self, mode: str, label: str, id_: str, folder: Path) -> None:
        run = self._wandb.init(
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
            settings=self._wandb.Settings(**QUIET),
        )
        self._stack.push(partial(_finish, run))
        run.define_metric("step")  # our own: W&B's restarts at 0 in a resumed run
        run.define_metric("*", step_metric="step")
        self.runs.append(run)
        self.last.append(int(run.summary.get("step", -1)) if run.resumed else -1)

    def _where(self, mode: str, ids: list[str]) -> str:
        """Where the dashboard is, or how it is uploaded."""
        run, several = self.runs[0], len(self.runs) > 1
        if mode == "online":
            return f"{run.project_url}, group {self.group}" if several else run.url
        files, here = Path(run.dir).parent, Path.cwd()
        files = files.relative_to(here) if files.is_relative_to(here) else files
        if several:  # the ids of one run folder end in the same token
            files = files.with_name(f"offline-run-*-{ids[0].rpartition('-')[2]}")
        return f"offline in {files.parent}; upload later with: wandb sync {files}"

    def _remembered(self, mode: str) -> dict[str, Any]:
        """The run ids from wandb.json, or new ones.

        Offline runs of an earlier process are deleted: the new ones log everything again.
        """
        file = self.folder.path / "wandb.json"
        try:
            memory = json.loads(file.read_text())
            assert len(memory["ids"]) == len(self.labels)
        except Exception:
            token = secrets.token_hex(3)
            names = [re.sub(r"[^\w.-]", "-", label) for label in self.labels]
            return {"ids": [f"{name}-{token}" for name in names], "dirs": []}
        for old in map(Path, memory.get("dirs", [])):
            ours = old.name.startswith("offline-run-") and old.parent.name == "wandb"
            if mode == "offline" and ours:
                shutil.rmtree(old, ignore_errors=True)
        return memory

    @contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        """Report a failure of W&B and leave it out from then on."""
        try:
            yield
        except Exception as error:
            self._report(what, error)
            self.runs = []

    def _report(self, what: str, error: Exception) -> None:
        """Print the first failure; later ones have the same cause."""
        if not self._reported:
            reason = in_one_line(error)
            print(f"W&B could not {what} ({reason}); metrics.csv has everything", flush=True)
        self._reported = True

    def log(self, step: int, logged: list[dict[str, float]]) -> None:
        """Log one dictionary per W&B run, unless the run already has this step."""
        if not self.runs:
            return
        with self._reporting("log"):
            for run, values, last in zip(self.runs, logged, self.last, strict=True):
                if step > last:
                    run.log({"step": step, **values})

    def media(self, entry: dict[str, Any]) -> None:
        """Log a picture or a histogram, an entry of media.jsonl."""
        row = min(entry["row"], len(self.runs) - 1)
        if not self.runs or entry["step"] <= self.last[row]:
            return
        with self._reporting("log"):
            if "image" in entry:
                shown = self._wandb.Image(str(self.folder.path / entry["image"]))
            else:
                shown = self._wandb.Histogram(np_histogram=(entry["counts"], entry["edges"]))
            self.runs[row].log({"step": entry["step"], entry["name"]: shown})

    def summarise(self, summary: dict[str, Any]) -> None:
        """Write the run's summary; of a list, every W&B run gets its replica's value."""
        with self._reporting("write the summary"):
            for row, run in enumerate(self.runs):
                for key, value in summary.items():
                    run.summary[key] = value[row] if isinstance(value, list) else value

    def close(self, *exception) -> None:
        try:
            self._stack.__exit__(*exception)
        except Exception as error:
            if exception[1] is not error:
                self._report("finish", error)


def _finish(run: Any, kind: type[BaseException] | None, *_: Any) -> None:
    """End a W&B run, as `with run` does, but without printing the exception's traceback."""
    run.finish(exit_code=0 if kind is None else 1)

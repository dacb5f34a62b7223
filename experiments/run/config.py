"""Configuration: dataclasses define the settings, YAML gives the values, errors are one line.

An experiment's entry point is

    register("toy", Toy, estimators)
    launch(run, "toy", Toy)        # run(config: Toy) -> None

Only this file knows Hydra. Inside `run` the configuration is a plain dataclass.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.run import ranks
from experiments.run.advice import CONFIGS, REGISTERED, one_line
from experiments.run.errors import UserError, at_least, check, known, positive
from experiments.run.terminal import unbreakable_output

# Settings that change where and how a run is executed, never what it computes.
BOOKKEEPING = set(
    "preset threads processes compile graph tag fresh save_every runs results tracking".split()
)
MODES = ("auto", "online", "offline", "disabled")  # of W&B


@dataclass
class Tracking:
    """Settings of Weights & Biases; metrics.csv is always written."""

    mode: str = "auto"  # auto | online | offline | disabled
    project: str | None = None  # else WANDB_PROJECT, else relax
    entity: str | None = None  # else WANDB_ENTITY

    @property
    def wanted(self) -> str:
        """The mode given here or by WANDB_MODE, else auto."""
        return os.environ.get("WANDB_MODE") or "auto" if self.mode == "auto" else self.mode

    def check(self, several: bool) -> None:
        """Raise a UserError for an unknown mode and for variables that cannot be honoured.

        Args:
            several: the command makes more than one W&B run.
        """
        known(self.mode, MODES, "tracking.mode")
        known(self.wanted, MODES, "WANDB_MODE")
        if self.wanted == "disabled":
            return
        name, run_id = os.environ.get("WANDB_NAME"), os.environ.get("WANDB_RUN_ID")
        check(
            not (name and several),
            f"WANDB_NAME={name}: this makes several W&B runs, which cannot share a name; unset it "
            "and use tag=name",
        )
        check(
            not run_id,
            f"WANDB_RUN_ID={run_id}: a run folder has an id of its own, by which it is resumed; "
            "unset it",
        )


@dataclass
class Experiment:
    """The settings that all families share; each has a subclass."""

    preset: str = "custom"  # set by the preset; part of the paths of runs and results
    device: str = "auto"  # auto | cpu | cuda
    threads: int = 1
    processes: int = 2  # estimators trained at a time (one at a time on a GPU)
    seeds: int = 1
    tag: str | None = None  # a name for a run whose settings differ
    fresh: bool = False  # delete the earlier contents of the run folder
    save_every: float = 30.0  # seconds between checkpoints
    runs: str = "runs"
    results: str = "results"
    tracking: Tracking = field(default_factory=Tracking)
    estimators: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise a UserError for an invalid value; families extend it."""
        at_least(1, seeds=self.seeds, threads=self.threads, processes=self.processes)
        positive(self.save_every, "save_every", zero=True)
        self.tracking.check(several=len(self.estimators) > 1)
        check(bool(self.estimators), "no estimator chosen: estimator=[reinforce,relax], for one")
        if self.tag is not None:
            letters = re.fullmatch(r"[\w.+=-]+", self.tag)
            check(letters, f"tag={self.tag!r}: letters, digits and . + = - _ only")

    def at_once(self, runs: int) -> int:
        """How many of so many runs are trained at a time; on a GPU one."""
        on_gpu = device(self.device).type == "cuda"
        return 1 if on_gpu else min(self.processes, runs)

    @property
    def per_estimator(self) -> int:
        """How many processes there are for the replicas of one estimator; on a GPU one.

        On a CPU several replicas take as long as one after the other, so that a process that has no
        estimator of its own takes some of another's replicas.
        """
        if device(self.device).type == "cuda" or ranks.size() > 1:
            return 1
        return max(1, self.processes // len(self.estimators))


def overlay(schema: type, values: dict[str, Any], where: str) -> Any:
    """The dataclass with `values` over its defaults. UserError: unknown keys, wrong types."""
    names = [item.name for item in fields(schema)]
    for key in values or {}:
        known(key, names or ["(it has no settings)"], f"setting of {where}:")
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values or {}))
    except OmegaConfBaseException as error:
        raise UserError(f"{where}.{one_line(error)}") from error


def settings(
    config: Experiment, estimator: str, own: Any, without: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Everything that decides what one estimator's run computes, as plain values (config.json).

    Args:
        own: the estimator's settings. They are nested as on the command line, so that
            `estimators.relax.hidden` and a family's `hidden` are two settings.
        without: names of settings that do not affect this run.
    """
    ignored = {*BOOKKEEPING, *without}
    everything = {key: value for key, value in asdict(config).items() if key not in ignored}
    everything["estimators"] = {estimator: asdict(own) if is_dataclass(own) else own}
    everything["device"] = device(config.device).type
    return {"estimator": estimator, **everything}


def run_path(config: Experiment, family: str, case: str, estimator: str) -> Path:
    """runs/<family>/<preset>/<case>/<estimator>[-<tag>]"""
    name = f"{estimator}-{config.tag}" if config.tag else estimator
    return Path(config.runs) / family / config.preset / case / name


def device(name: str) -> torch.device:
    """The device of that name; `auto` is the GPU if there is one. A UserError for a missing GPU."""
    known(name, ("auto", "cpu", "cuda"), "device")
    there = torch.cuda.is_available()
    check(there or name != "cuda", "device=cuda: PyTorch sees no GPU here; use device=cpu or auto")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


# ---- Hydra; no other file knows it ----


def register(name: str, schema: type[Experiment], estimators: Iterable[str]) -> None:
    """Put the schema into Hydra's store as `<name>_schema`, and the group `estimator/`.

    The group has one empty configuration per estimator: the defaults of an estimator's settings are
    in the family's dataclasses.
    """
    store = ConfigStore.instance()
    REGISTERED.setdefault("estimator", set()).update(estimators)
    for estimator in estimators:
        store.store(estimator, {}, group="estimator", package=f"estimators.{estimator}")
    node = OmegaConf.structured(schema)
    # Otherwise `estimators.relax.hidden=50` is refused if the YAML does not list `hidden`.
    OmegaConf.set_struct(node.estimators, False)
    store.store(f"{name}_schema", node)


@unbreakable_output()
def launch(run: Callable[[Any], None], name: str, schema: type[Experiment]) -> None:
    """Compose configs/<name>.yaml with the command line and call `run` with the dataclass.

    A user's mistake, found by us or by Hydra, ends in one line and exit status 2. In a multirun it
    ends its own case only: the line is printed and the other cases continue.
    """
    ranks.own_gpu()
    mistakes: list[UserError] = []

    @hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=name)
    def main(cfg):
        several = HydraConfig.get().mode == RunMode.MULTIRUN
        try:
            config = to_dataclass(cfg, schema)
            if several:
                config.tracking.check(several=True)
            torch.set_num_threads(config.threads)
            with unbreakable_output():  # a launcher may run this in another process
                run(config)
        except UserError as error:
            if several:
                case = " ".join(HydraConfig.get().overrides.task)
                print(f"error in {case}: {error}", file=sys.stderr, flush=True)
                raise  # Hydra continues with the next case and exits with an error
            mistakes.append(error)

    with _errors_in_one_line(schema):
        main()
        if mistakes:
            raise mistakes[0]


@contextmanager
def _errors_in_one_line(schema: type[Experiment]) -> Iterator[None]:
    """Print one line instead of a traceback, unless HYDRA_FULL_ERROR is set, and exit."""
    full_error = os.environ.get("HYDRA_FULL_ERROR", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra must raise the exception, not print it
    try:
        yield
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if full_error != "0":
            raise
        line = str(error) if isinstance(error, UserError) else one_line(error, schema)
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:  # Interrupted is one
        print(str(stop) or "stopped", file=sys.stderr)
        sys.exit(getattr(stop, "status", 130))
    finally:
        os.environ["HYDRA_FULL_ERROR"] = full_error


def to_dataclass(cfg: Any, schema: type[Experiment]) -> Any:
    """The composed configuration as a checked dataclass."""
    _only_known(cfg, schema, "")
    try:
        config = OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        raise UserError(one_line(error, schema)) from error
    config.estimators = {name: values or {} for name, values in config.estimators.items()}
    config.check()
    return config


def _only_known(cfg: Any, schema: type, prefix: str) -> None:
    """Refuse what Hydra's schema lets through, such as `+seedz=3`."""
    names = {item.name: item for item in fields(schema)}
    for key in cfg:
        known(prefix + str(key), [prefix + name for name in names], "setting")
        value = getattr(schema(), key)
        if is_dataclass(value):
            _only_known(cfg[key], type(value), f"{prefix}{key}.")

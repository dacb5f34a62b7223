"""The parts of the benchmark: each times several steps in turns and returns rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch

from experiments.vae.estimators import ESTIMATORS
from scripts.bench import cases, reference, rl_speed
from scripts.bench.timing import Group, Steps

BATCHES = (24, 100)
MODELS = ("linear1", "linear2", "nonlinear")


@dataclass
class Row:
    """One line of the CSV. Ratios are taken in turns within one group; nan where there is none.

    ms: of one step. per_replica: microseconds of one step of one seed. vs_reference: how many
    times as fast as the plain code. vs_concrete: how many Concrete steps it takes. roofline: the
    time of its matrix products and of Adam's memory traffic alone over its time. peak_mb: memory.
    In family rl a step is a frame, and the reference the bare environment; in vae-profile ms is
    the part of a step that `case` names.
    """

    family: str
    case: str
    estimator: str
    variant: str  # reference | eager | compiled | graph
    batch: int = 1
    latents: int = 1
    replicas: int = 1
    ms: float = float("nan")
    per_replica: float = float("nan")
    vs_reference: float = float("nan")
    vs_concrete: float = float("nan")
    roofline: float = float("nan")
    vs_one_replica: float = float("nan")
    peak_mb: float = float("nan")

    def cells(self) -> list[str]:
        values = asdict(self).values()
        return [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]


COLUMNS = [item.name for item in fields(Row)]


def variants(device: torch.device) -> dict[str, dict]:
    """The ways of running a step on this device."""
    found = {"eager": {}, "compiled": {"compile": "on"}}
    if device.type == "cuda":
        found["graph"] = {"graph": True}
    return found


def toy(device: torch.device) -> list[Row]:
    """RELAX on the toy, per seed and step, against the plain loop of one seed."""
    steps: Steps = {"reference": reference.Toy(device).step}
    sizes = {"compiled": (1, 1000)}  # each size is compiled anew
    runs = [(n, how) for how in variants(device) for n in sizes.get(how, (1, 1000, 10_000))]
    for seeds, how in runs:
        steps[f"{how} {seeds}"] = cases.toy(device, seeds, **variants(device)[how])
    group = Group(steps, device, turns=15)
    ms = group.ms("reference")
    rows = [Row("toy", "t0.499", "relax", "reference", ms=ms, per_replica=1e3 * ms)]
    for seeds, how in runs:
        name = f"{how} {seeds}"
        row = Row("toy", "t0.499", "relax", how, replicas=seeds, ms=group.ms(name))
        row.per_replica = 1e3 * row.ms / seeds
        row.vs_reference = seeds * group.ratio("reference", name)
        row.vs_one_replica = seeds * group.ratio(f"{how} 1", name)
        rows.append(row)
    return rows


def vae(device: torch.device, model: str, batch: int) -> list[Row]:
    """Every estimator on one model, eager; RELAX and on linear1 REBAR in the other ways as well."""
    runs = {(name, "eager"): cases.vae(device, name, model, batch) for name in ESTIMATORS}
    if model != "linear2":
        runs[("relax4", "eager")] = cases.vae(device, "relax", model, batch, depth=4)
    others = {k: v for k, v in variants(device).items() if k != "eager"}
    for name in ("rebar", "relax") if model == "linear1" else ("relax",):  # compiling takes long
        for how, settings in others.items():
            runs[(name, how)] = cases.vae(device, name, model, batch, **settings)
    steps, work, words = cases.probes(device, batch)
    for name in ("rebar", "relax"):
        steps[f"{name} reference"] = cases.plain_vae(device, name, model, batch)
    steps |= {f"{name} {how}": cases.stepper(run) for (name, how), run in runs.items()}
    group = Group(steps, device, turns=9)
    rows = []
    for name, how in runs:
        row = Row("vae", model, name, how, batch, 200, ms=group.ms(f"{name} {how}"))
        row.per_replica = 1e3 * row.ms
        row.vs_concrete = group.ratio(f"{name} {how}", "concrete eager")
        if name in ("rebar", "relax"):
            row.vs_reference = group.ratio(f"{name} reference", f"{name} {how}")
            row.roofline = roofline(group, f"{name} {how}", runs[(name, "eager")], work, words)
        rows.append(row)
    for name in ("rebar", "relax"):
        ms = group.ms(f"{name} reference")
        ratio = group.ratio(f"{name} reference", "concrete eager")
        rows.append(
            Row("vae", model, name, "reference", batch, 200, 1, ms, 1e3 * ms, vs_concrete=ratio)
        )
        if model == "linear1":
            rows += profile(steps[f"{name} compiled"], name, batch)
    return rows


def roofline(group: Group, name: str, run: cases.VaeRun, work: float, words: float) -> float:
    """The share of the step's time that matrix products and Adam's memory traffic alone need."""
    parameters = sum(p.numel() for p in [*run.vae.parameters(), *run.method.phi()])
    products = cases.flops(run) / work * group.seconds["matmul"]
    traffic = cases.ADAM_WORDS * parameters / words * group.seconds["copy"]
    shares = (products + traffic) / group.seconds[name]
    return float(torch.tensor(shares).median())


def profile(step: Callable[[], object], name: str, batch: int, steps: int = 20) -> list[Row]:
    """The parts of a compiled step's time by the profiler, which slows small operations."""
    with torch.profiler.profile() as found:
        for _ in range(steps):
            step()
    spent = dict.fromkeys([*PROFILE, "else"], 0.0)
    for event in found.key_averages():
        kind = next((k for k, names in PROFILE.items() if event.key.startswith(names)), "else")
        spent[kind] += event.self_cpu_time_total / 1e3 / steps
    return [
        Row("vae-profile", kind, name, "compiled", batch, 200, ms=ms) for kind, ms in spent.items()
    ]


PROFILE = {  # part of a step in the table -> prefixes of the profiler's names
    "matrix products": ("aten::bmm", "aten::baddbmm", "aten::mm", "aten::addmm"),
    "fused passes": ("## Call CompiledFxGraph",),
    "Adam": ("aten::_fused_adam_",),
}


def replicas(device: torch.device, batch: int = 24) -> list[Row]:
    """Replicas of one model side by side, per replica."""
    how = "graph" if device.type == "cuda" else "eager"
    numbers, rows = (1, 3, 5, 10, 20), []
    for name in ("rebar", "relax"):
        runs = {
            n: cases.vae(device, name, batch=batch, replicas=n, **variants(device)[how])
            for n in numbers
        }
        group = Group({str(n): cases.stepper(run) for n, run in runs.items()}, device, turns=7)
        for n in numbers:
            row = Row("vae-replicas", "linear1", name, how, batch, 200, n, group.ms(str(n)))
            row.per_replica = 1e3 * row.ms / n
            row.vs_one_replica = n * group.ratio("1", str(n))
            rows.append(row)
    return rows


def scaling(device: torch.device) -> list[Row]:
    """The cost of a step against the latents and against the batch."""
    rows, sizes = [], [(24, n) for n in (50, 200, 800)] + [(b, 200) for b in (100, 400)]
    for name in ("rebar", "relax"):
        runs = {size: cases.vae(device, name, batch=size[0], latents=size[1]) for size in sizes}
        group = Group({str(s): cases.stepper(run) for s, run in runs.items()}, device, turns=5)
        for size in sizes:
            ms = group.ms(str(size))
            rows.append(Row("vae-scaling", "linear1", name, "eager", *size, 1, ms, 1e3 * ms))
    return rows


def memory(device: torch.device, case: str) -> list[Row]:
    """The peak memory of a run above what the process used before it, in MB."""
    family, replicas, batch = MEMORY[case]
    before = peak_mb(device, reset=True)
    if family == "toy":
        step = cases.toy(device, replicas)
    else:
        step = cases.stepper(cases.vae(device, "relax", batch=batch, replicas=replicas))
    for _ in range(10):
        step()
    peak = peak_mb(device) - before
    return [Row("memory", case, "relax", "eager", batch, replicas=replicas, peak_mb=peak)]


MEMORY = {  # case -> family, replicas, batch
    "toy 1000 seeds": ("toy", 1000, 1),
    "toy 10000 seeds": ("toy", 10_000, 1),
    "linear1": ("vae", 1, 24),
    "linear1 batch 100": ("vae", 1, 100),
    "linear1 20 replicas": ("vae", 20, 24),
}


def peak_mb(device: torch.device, reset: bool = False) -> float:
    """The peak so far, of this process on Linux, nan elsewhere; `reset` resets it first."""
    if device.type == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def rl(device: torch.device) -> list[Row]:
    """Frames per second of ten replicas in training, as a share of the bare environments'."""
    rows = []
    for name, (env, estimator) in rl_speed.CASES.items():
        run = rl_speed.start(env, estimator, 10)
        turns = [(rl_speed.train(run, 2.0), rl_speed.bare(env, 2.0)) for _ in range(4)]
        training, bare = np.array(turns).T
        share, training = float(np.median(training / bare)), float(np.median(training))
        row = Row("rl", name, estimator, "eager", replicas=10, ms=1e3 / training)
        row.per_replica, row.vs_reference = 1e6 / training, share
        rows.append(row)
    return rows

"""The parts of the benchmark: each times several programs in turns and returns rows."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch

from experiments.toy.config import Toy
from experiments.toy.train import Run as ToyRun
from scripts.bench import cases, plain, rl, startup
from scripts.bench.timing import Effort, Group, Steps

CPU = torch.device("cpu")
EAGER, COMPILED, JAX = "ours, eager", "ours, compiled", "JAX"
PLAIN, PLAIN_COMPILED = "plain PyTorch, eager", "plain PyTorch, compiled"
INDEPENDENT, BARE = "plain PyTorch, eager, independent noise", "environment alone"
AHEAD = {1: 1000, 1000: 100}  # seeds -> steps of the toy in one call of JAX


@dataclass
class Row:
    """One line of the CSV.

    time: of one step in microseconds (`unit` says of what), the median over turns. over_eager,
    over_compiled: this time over that of ours, the median over turns of the ratio; above 1 ours is
    faster. spread: the interquartile range of the last ratio over its median.
    """

    problem: str
    program: str
    time: float
    unit: str
    over_eager: float = float("nan")
    over_compiled: float = float("nan")
    spread: float = float("nan")
    where_the_time_goes: str = ""


def rows_of(problem: str, unit: str, group: Group, each: dict[str, float]) -> list[Row]:
    """A row for every program; each[program]: what its time is divided by."""
    return [row(problem, unit, group, each, name) for name in group.seconds]


def row(problem: str, unit: str, group: Group, each: dict[str, float], name: str) -> Row:
    """The row of one program of a group."""
    found = Row(problem, name, 1e6 * group.median(name) / each.get(name, 1), unit)
    for column, ours in (("over_eager", EAGER), ("over_compiled", COMPILED)):
        if ours in group.seconds:
            ratios = group.ratios(name, ours) * each.get(ours, 1) / each.get(name, 1)
            setattr(found, column, float(np.median(ratios)))
            low, high = np.quantile(ratios, [0.25, 0.75])
            found.spread = float((high - low) / np.median(ratios))
    return found


def jax_code():
    """The module with the JAX programs, None where JAX is not installed."""
    if importlib.util.find_spec("jax") is None:
        print("  JAX is not installed and left out: pip install -e '.[bench]'", flush=True)
        return None
    from scripts.bench import jax_code

    return jax_code


def toy(effort: Effort, seeds: int) -> list[Row]:
    """RELAX on the toy, per seed and step."""
    runs = {
        name: ToyRun(Toy(seeds=seeds, device="cpu", compile=compile), "relax")
        for name, compile in ((EAGER, "off"), (COMPILED, "on"))
    }
    steps: Steps = {name: run.steps for name, run in runs.items()}
    each = {name: float(seeds * run.stride) for name, run in runs.items()}
    for name, compile in ((PLAIN, False), (PLAIN_COMPILED, True)):
        steps[name], each[name] = plain.Toy(seeds, compile).step, seeds
    if (jax := jax_code()) is not None:
        steps[JAX], each[JAX] = jax.Toy(seeds, AHEAD[seeds]).step, seeds * AHEAD[seeds]
    group = Group(steps, effort)
    problem = f"toy RELAX, {seeds} seed{'s' * (seeds > 1)}"
    rows = rows_of(problem, "us per seed and step", group, each)
    rows[1].where_the_time_goes = profile(steps[COMPILED])
    return rows


def vae(effort: Effort, model: str, estimator: str, batch: int) -> list[Row]:
    """One estimator on the VAE, a step of one seed."""
    pixels = cases.images(CPU).train
    steps: Steps = {
        name: cases.stepper(cases.vae(CPU, estimator, model, batch, compile=compile))
        for name, compile in ((EAGER, "off"), (COMPILED, "on"))
    }
    eager, fast = (plain.VAE(model, estimator, pixels) for _ in range(2))
    fast.gradients = plain.compiled(fast.gradients)
    steps[PLAIN] = lambda: eager.step(batch)
    steps[PLAIN_COMPILED] = lambda: fast.step(batch)
    if estimator != "concrete":
        independent = plain.VAE(model, estimator, pixels)
        steps[INDEPENDENT] = lambda: independent.step(batch, coupled=False)
        if model == "linear1" and (jax := jax_code()) is not None:
            steps[JAX] = jax.VAE(estimator, pixels.numpy(), batch).step
    group = Group(steps, effort)
    rows = rows_of(f"VAE {model} {estimator}, batch {batch}", "us per step", group, {})
    for found in rows[:2]:
        found.where_the_time_goes = profile(steps[found.program])
    return rows


PROFILE = {  # part of a step -> prefixes of the profiler's names
    "matrix products": (
        *("aten::bmm", "aten::baddbmm", "aten::mm", "aten::addmm"),
        *("mkldnn::_linear_pointwise", "relax_experiments::bmm"),
    ),
    "compiled code": ("## Call CompiledFxGraph",),
    "Adam": ("aten::_fused_adam_",),
    "binary cross-entropy": ("aten::binary_cross_entropy",),
    "random numbers": ("aten::uniform_", "aten::rand", "aten::argsort", "aten::sort"),
}


def profile(step: Callable[[], object], steps: int = 20) -> str:
    """The shares of a step's time by the profiler, which slows small operations."""
    with torch.profiler.profile() as found:
        for _ in range(steps):
            step()
    spent = dict.fromkeys([*PROFILE, "other operations"], 0.0)
    for event in found.key_averages():
        names = (part for part, names in PROFILE.items() if event.key.startswith(names))
        spent[next(names, "other operations")] += event.self_cpu_time_total
    return shares(spent)


def shares(spent: dict[str, float]) -> str:
    """Parts of the time in percent, the largest first."""
    total = sum(spent.values())
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return "; ".join(f"{part} {time / total:.0%}" for part, time in ordered if time)


def policies(effort: Effort, name: str) -> list[Row]:
    """RELAX x 10 in training, per frame, beside the bare environment."""
    env = rl.ENVIRONMENTS[name]
    runs = {EAGER: rl.start(env, "off"), COMPILED: rl.start(env, "on")}
    clocks = {program: rl.Clock() for program in runs}
    for run in runs.values():
        rl.train(run, rl.Clock(), seconds=0.1)  # the first update compiles
    group = Group({}, effort)
    turns = []
    for _ in range(max(2, effort.turns // 3)):
        turn = {BARE: rl.bare(env, effort.rl_seconds)}
        for program, run in runs.items():
            clock = clocks[program]
            before = clock.total
            frames = rl.train(run, clock, effort.rl_seconds)
            turn[program] = (clock.total - before) / frames
        turns.append(turn)
    group.seconds = {p: np.array([turn[p] for turn in turns]) for p in turns[0]}
    rows = rows_of(f"{name} RELAX, 10 seeds", "us per frame", group, {})
    for found in rows[1:]:
        found.where_the_time_goes = shares(clocks[found.program].spent)
    return rows


def collapsed(effort: Effort) -> list[Row]:
    """CartPole RELAX, 10 seeds, of which two play episodes of 10 steps, scaled to 1M frames."""
    rows, scale = [], rl.FRAMES / effort.frames
    for program, compile in ((EAGER, "off"), (COMPILED, "on")):
        clock = rl.collapsed(compile, effort.frames)
        unit = f"s for 1M frames, scaled from {10 * effort.frames}"
        found = Row("CartPole RELAX, 10 seeds, two collapsed", program, clock.total * scale, unit)
        found.where_the_time_goes = shares(clock.spent)
        rows.append(found)
    return rows


def first_step(effort: Effort) -> list[Row]:
    """The time from the command to the end of the first step."""
    parts = [startup.measure() for _ in range(max(1, effort.turns // 3))]
    spent = {part: median(found[part] for found in parts) for part in parts[0]}
    total = median(sum(found.values()) for found in parts)
    where = "; ".join(f"{part} {seconds:.1f} s" for part, seconds in spent.items())
    return [Row("first VAE step", EAGER, total, "s", where_the_time_goes=where)]

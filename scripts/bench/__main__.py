"""Time training steps: python -m scripts.bench [--device cpu|cuda] [--only toy] (make bench)

Compares training steps with plain PyTorch code in the same process, checks the results against the
required speed, and writes results/bench/<device>.csv, floors-<device>.csv and a figure. Takes less
than five minutes on two cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from functools import partial
from pathlib import Path

import torch

from experiments.run.config import device as find_device
from experiments.run.files import write_table
from scripts.bench import measure
from scripts.bench.figure import draw
from scripts.bench.floors import Floor, floors
from scripts.bench.measure import Row

# The longest parts first, so that two processes end at about the same time.
PARTS = {
    **{
        f"vae {model} {batch}": partial(measure.vae, model=model, batch=batch)
        for model in ("linear1", "linear2", "nonlinear")
        for batch in (100, 24)
    },
    "toy": measure.toy,
    "replicas": measure.replicas,
    "rl": measure.rl,
    "scaling": measure.scaling,
    **{f"memory {case}": partial(measure.memory, case=case) for case in measure.MEMORY},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--only", default="", help="run the parts whose name starts with this, write no files"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    device = find_device(arguments.device)
    names = [name for name in PARTS if name.startswith(arguments.only)]
    start = time.perf_counter()
    print(f"{len(names)} parts on {hardware(device)}, about 5 minutes", flush=True)
    rows = [row for part in run(device, names, arguments.processes) for row in part]
    checked = floors(rows)
    print(table(rows), "", floor_table(checked), sep="\n")
    if not arguments.only:
        write(arguments.results, device, rows, checked)
    print(f"{time.perf_counter() - start:.0f} s")


def run(device: torch.device, names: list[str], processes: int) -> list[list[Row]]:
    """Run every part in a new process, because memory is measured; on a GPU all in this one."""
    work = partial(part, device)
    if device.type == "cuda" or processes == 1:
        return [work(name) for name in names]
    fork = multiprocessing.get_context("fork")
    with fork.Pool(processes, maxtasksperchild=1) as pool:
        return pool.map(work, names, chunksize=1)


def part(device: torch.device, name: str) -> list[Row]:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    start = time.perf_counter()
    rows = PARTS[name](device)
    print(f"  {name}: {time.perf_counter() - start:.0f} s", flush=True)
    return rows


def hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "CPU")


def table(rows: list[Row]) -> str:
    """The most important columns, one line per row."""
    head = ["", "batch", "replicas", "ms/step", "us/replica", "x plain", "x Concrete", "roofline"]
    lines = [head]
    for r in rows:
        name = f"{r.family} {r.case} {r.estimator}, {r.variant}"
        size = f"{r.batch}" if r.latents in (1, 200) else f"{r.batch} ({r.latents} latents)"
        numbers = [f"{r.ms:.3f}", f"{r.per_replica:.4g}", f"{r.vs_reference:.4g}"]
        numbers += [f"{r.vs_concrete:.2f}", f"{100 * r.roofline:.0f} %"]
        if r.family == "memory":
            numbers[0] = f"{r.peak_mb:.0f} MB"
        cells = [name, size, str(r.replicas), *numbers]
        lines.append(["" if "nan" in cell else cell for cell in cells])
    return align(lines)


def floor_table(checked: list[Floor]) -> str:
    lines = [["floor", "", "measured", "", ""]]
    for floor in checked:
        sign = "at most" if floor.at_most else "at least"
        bound, measured = (f"{x:.4g}{floor.unit}" for x in (floor.bound, floor.measured))
        lines.append([floor.what, f"{sign} {bound}", measured, floor.verdict, floor.explanation])
    return align(lines)


def align(lines: list[list[str]]) -> str:
    """Align the first column to the left and the others to the right."""
    first, *others = ([len(line[i]) for line in lines] for i in range(len(lines[0])))
    widths = [max(lengths) for lengths in others]
    padded = [
        [line[0].ljust(max(first)), *(c.rjust(w) for c, w in zip(line[1:], widths, strict=True))]
        for line in lines
    ]
    return "\n".join("  ".join(line).rstrip() for line in padded)


def write(results: Path, device: torch.device, rows: list[Row], checked: list[Floor]) -> None:
    load = f"{os.cpu_count()} cores with a load of {os.getloadavg()[1]:.0f}"
    name = f"{hardware(device)}; {load}".replace(",", " ")
    cells = [[*row.cells(), name] for row in rows]
    write_table(results / "bench" / f"{device.type}.csv", [*measure.COLUMNS, "hardware"], cells)
    columns = ["floor", "bound", "measured", "verdict", "where the time goes"]
    lines = [
        [f.what, f"{f.bound:g}", f"{f.measured:.4g}", f.verdict, f.explanation] for f in checked
    ]
    write_table(results / "bench" / f"floors-{device.type}.csv", columns, lines)
    draw(rows, results / "figures" / f"bench_{device.type}")


if __name__ == "__main__":
    main()

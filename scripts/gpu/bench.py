"""The time of the VAE's step on this device: eager, compiled, as a CUDA graph, and both."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch

from experiments.run.accelerate import traces_gradients
from scripts.bench import cases
from scripts.report.vae_tables import usual

VARIANTS = {  # variant -> settings of the run
    "eager": {},
    "graph": {"graph": True},
    "compiled": {"compile": "on"},
    "compiled + graph": {"compile": "on", "graph": True},
}
REPLICAS = (1, 5, 20, 40)
SECONDS = 0.5  # of measuring a row


@dataclass(frozen=True)
class Row:
    """One measurement. ms: of one step of all replicas. us_per_replica: ms / replicas, in us.

    roofline: the time that the step's matrix products and Adam's memory traffic take at the rates
    measured on this device (float32 products of 4096 x 4096, a copy of 256 MB), over ms.
    """

    model: str
    estimator: str
    variant: str
    batch: int
    replicas: int
    ms: float = float("nan")
    us_per_replica: float = float("nan")
    roofline: float = float("nan")
    set_up_seconds: float = float("nan")


def plan() -> list[Row]:
    """The rows that this torch can measure, the most important first, because time may be short."""
    order = [("graph", REPLICAS), ("eager", (1, 20)), ("compiled + graph", (1, 20, 40))]
    rows = [
        Row("linear1", estimator, variant, 24, replicas)
        for variant, numbers in order
        for replicas in numbers
        for estimator in ("relax", "rebar")
    ]
    rows += [Row(model, "relax", "graph", 24, 20) for model in ("linear2", "nonlinear")]
    rows += [Row("linear1", name, "graph", 100, n) for n in (1, 20) for name in ("relax", "rebar")]
    rows += [Row("linear1", name, "compiled", 24, 1) for name in ("relax", "rebar")]
    rows += [Row("benchmark", name, "graph", 100, 5) for name in usual("benchmark")]
    return [row for row in rows if traces_gradients() or "compile" not in VARIANTS[row.variant]]


def measure(rows: list[Row], device: torch.device, file: Path, deadline: float) -> None:
    """Measure the rows until the deadline (of time.monotonic); each is written immediately."""
    products, traffic = rates(device)
    print(f"float32 products {products / 1e12:.1f} TFLOP/s, copy {traffic / 1e12:.2f} TB/s")
    with open(file, "w", newline="") as handle:
        writer = csv.DictWriter(handle, [item.name for item in fields(Row)])
        writer.writeheader()
        for row in rows:
            if time.monotonic() > deadline:
                print("the time is over; the remaining rows are not measured", flush=True)
                return
            row = time_step(row, device, products, traffic)
            writer.writerow(
                {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in asdict(row).items()}
            )
            handle.flush()
            print(
                f"{row.model} {row.estimator}, {row.variant}, batch {row.batch}, "
                f"{row.replicas} replicas: {row.ms:.3f} ms, {row.us_per_replica:.1f} us a replica, "
                f"{100 * row.roofline:.0f} % of the roofline, set-up {row.set_up_seconds:.1f} s",
                flush=True,
            )


def time_step(row: Row, device: torch.device, products: float, traffic: float) -> Row:
    begin = time.perf_counter()
    run = cases.vae(
        device, row.estimator, row.model, row.batch, row.replicas, **VARIANTS[row.variant]
    )
    parameters = sum(p.numel() for p in [*run.vae.parameters(), *run.method.phi()])
    # Operations are counted in an eager step of an identical run.
    flops = cases.flops(cases.vae(device, row.estimator, row.model, row.batch, row.replicas))
    step = cases.stepper(run)
    for _ in range(6):
        step()
    synchronize(device)
    set_up = time.perf_counter() - begin
    seconds = min(seconds_per_step(step, device) for _ in range(3))
    least = flops / products + cases.ADAM_WORDS * 4 * parameters / traffic
    return replace(
        row,
        ms=1e3 * seconds,
        us_per_replica=1e6 * seconds / row.replicas,
        roofline=least / seconds,
        set_up_seconds=set_up,
    )


def seconds_per_step(step, device: torch.device) -> float:
    """The mean over as many steps as fill a third of SECONDS."""
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < SECONDS / 3:
        for _ in range(10):
            step()
        count += 10
        synchronize(device)
    return (time.perf_counter() - begin) / count


def rates(device: torch.device) -> tuple[float, float]:
    """Floating-point operations per second of a large product, bytes per second of a copy."""
    size = 4096 if device.type == "cuda" else 512
    a = torch.randn(size, size, device=device)
    b = torch.empty(2**26 if device.type == "cuda" else 2**20, device=device)
    copy = torch.empty_like(b)
    for _ in range(3):  # the first calls load the library
        a @ a, copy.copy_(b)
    product = seconds_per_step(lambda: a @ a, device)
    return 2 * size**3 / product, 8 * b.numel() / seconds_per_step(lambda: copy.copy_(b), device)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def ratios(file: Path) -> Iterator[str]:
    """Sentences with the main ratios: graph over eager, and many replicas over one."""
    with open(file, newline="") as handle:
        rows = list(csv.DictReader(handle))
    found = {
        (r["estimator"], r["variant"], int(r["replicas"])): float(r["ms"])
        for r in rows
        if r["model"] == "linear1" and r["batch"] == "24"
    }
    for name in ("rebar", "relax"):
        for fast in ("graph", "compiled + graph"):
            if (name, "eager", 1) in found and (name, fast, 1) in found:
                ratio = found[name, "eager", 1] / found[name, fast, 1]
                yield f"{name}, one replica: {fast} is {ratio:.1f} times as fast as eager"
            if (name, fast, 1) in found and (name, fast, 20) in found:
                ratio = 20 * found[name, fast, 1] / found[name, fast, 20]
                yield f"{name}, {fast}: 20 replicas are {ratio:.1f} times cheaper each than one"

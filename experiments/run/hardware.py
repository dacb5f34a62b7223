"""What a run is executed on, for the summaries and tables that report times."""

from __future__ import annotations

import platform
from pathlib import Path

import torch


def hardware(kind: str) -> str:
    """The name of the GPU, or of the CPU with the number of threads that torch uses."""
    if kind == "cuda":
        return torch.cuda.get_device_name()
    file = Path("/proc/cpuinfo")
    lines = file.read_text(errors="replace").splitlines() if file.exists() else []
    names = (line.split(": ")[1] for line in lines if line.startswith("model name"))
    name = next(names, platform.processor() or platform.machine() or "CPU").replace(",", " ")
    threads = torch.get_num_threads()
    return f"{name} ({threads} thread{'s' * (threads > 1)})"

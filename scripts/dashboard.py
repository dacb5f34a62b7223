"""Show the runs: online ones by their address at W&B, others in runs/dashboard.html.

    make dashboard          or          python -m scripts.dashboard [RUNS]

While a run is active, the page is written again every minute.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from experiments.run.config import Tracking
from experiments.run.tracking import wandb_folder, wandb_mode
from scripts import html_dashboard


def addresses(runs: Path) -> list[str]:
    """Project addresses that online runs left in their folders, the newest first."""
    files = sorted(runs.rglob("wandb.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    found = (json.loads(file.read_text()).get("address") for file in files)
    return list(dict.fromkeys(address for address in found if address))


def wandb_lines(runs: Path, online: bool) -> list[str]:
    """Where W&B shows the runs: addresses of online runs, else commands for offline ones."""
    if online and (found := addresses(runs)):
        return found
    mirror, program = wandb_folder(runs), Path(sys.executable).with_name("wandb")
    if not any(mirror.glob("offline-run-*")) or not program.exists():
        return []
    lines = [f"in a terminal: {program} leet {mirror}"]
    if online:
        lines.append(f"logged in; to upload these runs: {program} sync {mirror}/offline-run-*")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs"))
    runs = parser.parse_args().runs
    if not html_dashboard.find_runs(runs):
        print(f"no runs under {runs} yet: make reproduce-toy makes some in a minute")
        return
    active = html_dashboard.write(runs)
    lines = [f"in a browser: {runs / 'dashboard.html'}"]
    lines += wandb_lines(runs, wandb_mode(Tracking()) == "online")
    if active:
        lines.append("the page is updated every minute until the runs end; Ctrl-C stops that")
    print(*lines, sep="\n", flush=True)
    while active:
        time.sleep(html_dashboard.REFRESH)
        active = html_dashboard.write(runs)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

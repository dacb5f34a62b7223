"""Show the runs: online ones by their address, others in a page and in W&B's terminal dashboard.

make dashboard          or          python -m scripts.dashboard [RUNS]
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from experiments.run.config import Tracking
from experiments.run.tracking import wandb_folder, wandb_mode
from scripts import html_dashboard


def addresses(runs: Path) -> list[str]:
    """Project addresses that online runs left in their folders, the newest first."""
    files = sorted(runs.rglob("wandb.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    found = (json.loads(file.read_text()).get("address") for file in files)
    return list(dict.fromkeys(address for address in found if address))


def look(runs: Path, program: Path, online: bool, terminal: bool) -> tuple[str, list[str]]:
    """What to say, and the command to run (empty for none)."""
    mirror = wandb_folder(runs)
    offline = any(mirror.glob("offline-run-*"))
    if online and (found := addresses(runs)):
        return "\n".join(found), []
    if not program.exists():
        return "wandb is not installed here: make setup", []
    if not any(mirror.glob("*run-*")):
        return f"no runs under {mirror} yet: make reproduce-toy makes some in a minute", []
    if not terminal:
        return f"in a terminal: {program} leet {mirror}", []
    hint = f"logged in; to send these runs: {program} sync {mirror}/offline-run-*"
    return hint if online and offline else "", [str(program), "leet", str(mirror)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs"))
    runs = parser.parse_args().runs
    program = Path(sys.executable).with_name("wandb")
    online = wandb_mode(Tracking()) == "online"
    text, command = look(runs, program, online, sys.stdout.isatty())
    if text:
        print(text, flush=True)
    if not online and html_dashboard.find_runs(runs):
        active = html_dashboard.write(runs)
        print(f"in a browser: {runs / 'dashboard.html'}", flush=True)
        if active:  # keep the page up to date until the runs have ended
            watch = [sys.executable, "-m", "scripts.html_dashboard", str(runs), "--watch"]
            subprocess.Popen(watch, stdout=subprocess.DEVNULL, start_new_session=True)
    if command:
        os.execv(command[0], command)


if __name__ == "__main__":
    main()

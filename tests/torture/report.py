"""results/robustness.md from the tables that kills.py, faults.py and soak.py write."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import jinja2
import pandas as pd

from scripts.results import markdown

TEMPLATE = Path(__file__).with_name("robustness.md.j2")


def read(path: Path) -> list[dict[str, str]]:
    """The table's rows; empty if it does not exist yet."""
    if not path.exists():
        return []
    return pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")


def with_sum(rows: list[dict[str, str]]) -> list[dict]:
    """The table with a last row that adds up the columns after the first."""
    if not rows:
        return []
    first, *columns = rows[0]
    sums = {column: sum(int(row[column]) for row in rows) for column in columns}
    return [*rows, {first: "all", **sums}]


def soak_table(rows: list[dict[str, str]]) -> list[dict]:
    """First against last reading of each family."""
    table = []
    for family in sorted({row["family"] for row in rows}):
        mine = [row for row in rows if row["family"] == family]
        first, last = mine[0], mine[-1]
        most = max(mine, key=lambda row: float(row["memory_mb"]))
        table.append(
            {
                "family": family,
                "runs": len(mine),
                "memory, first (MB)": first["memory_mb"],
                "memory, last (MB)": last["memory_mb"],
                "memory, most (MB)": most["memory_mb"],
                "open files, first": first["files"],
                "open files, last": last["files"],
                "threads, first": first["threads"],
                "threads, last": last["threads"],
            }
        )
    return table


def write(results: Path) -> None:
    """Write robustness.md from the tables that exist."""
    folder = results / "robustness"
    soak = read(folder / "soak.csv")
    tables = {
        "kills": with_sum(read(folder / "kills.csv")),
        "faults": read(folder / "faults.csv"),
        "inputs": with_sum(read(folder / "inputs.csv")),
        "soak": soak_table(soak),
    }
    machine = f"{os.cpu_count()} CPU cores, {platform.system()}, Python {platform.python_version()}"
    template = jinja2.Template(TEMPLATE.read_text(encoding="utf-8"), trim_blocks=True)
    text = template.render(
        machine=machine,
        minutes=f"{float(soak[-1]['minutes']):.0f}" if soak else "",
        runs=len(soak),
        **{name: markdown(rows) if rows else "" for name, rows in tables.items()},
    )
    (results / "robustness.md").write_text(text.rstrip() + "\n", encoding="utf-8")

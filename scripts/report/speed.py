"""The benchmark's tables: times of training steps beside plain PyTorch code."""

from __future__ import annotations

import numpy as np

from scripts.results import NOT_RUN, Results, markdown

MOST = 60  # rows of a benchmark's table that the page shows
COMMANDS = {"cpu": "make bench", "cuda": "make bench ARGS='--device cuda'"}


def picture(results: Results, device: str) -> str:
    command = COMMANDS[device]
    caption = f"Time of a step on {device}: `{command}`"
    return results.picture(f"bench_{device}", caption, command)


def csv_table(results: Results, place: str, device: str) -> str:
    """A CSV file as a table, its first rows if there are many."""
    table = results.table(place)
    if table is None:
        return f"{place}: {NOT_RUN}: `{COMMANDS[device]}`\n"
    rows = [{key: plain(cell) for key, cell in row.items()} for row in results.rows(place)[:MOST]]
    left = len(table) - len(rows)
    more = f"\nThe other {left} rows: [{place}]({place})\n" if left else ""
    return markdown(rows) + more


def plain(cell: str | float) -> str:
    """A number in four digits, text as it is, a dash for what does not apply."""
    if isinstance(cell, str):
        return cell or "-"
    return f"{cell:.4g}" if np.isfinite(cell) else "-"

"""Write results/README.md, results/report.html and README.md's table: python -m scripts.report"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from experiments.run.errors import UserError, check
from experiments.run.files import write_whole
from scripts.report import extras, rl, rl_tables, toy, vae, vae_tables
from scripts.report.claims import RULE, counted, overview
from scripts.report.page import page
from scripts.report.read import Results, markdown

HEAD = """\
# The paper beside this repository

Backpropagation through the Void (Grathwohl, Choi, Wu, Roeder, Duvenaud, ICLR 2018): every figure
and table, the paper's numbers beside ours. `make report` writes this page from the CSV files in
this folder; no number and no verdict on our side is typed in. The paper's are kept in
[paper/](paper), its curves read from the vector graphics of its figures. All logarithms are
natural. A wall time is that of one process, which trains all seeds of an estimator side by side.
Most runs shared their machine with others, so wall times say what to expect and not which
estimator is faster: for that see Speed; a run that repeats the same numbers leaves the time of the
first. `make report` also writes the same as one page to keep, report.html.
"""
MARKS = ("<!-- paper against ours: make report -->", "<!-- end -->")
DIFFERENCES = Path(__file__).with_name("differences.md")


def report(results: Results) -> str:
    """results/README.md as text."""
    families = [(toy.claims(results), toy.section), (vae.claims(results), vae_tables.section)]
    families.append((rl.claims(results), rl_tables.section))
    everything = [claim for claims, _ in families for claim in claims]
    parts = [
        HEAD,
        "## How a verdict is found\n",
        RULE,
        "## The claims\n",
        counted(everything),
        overview(everything),
        *(section(results, claims) for claims, section in families),
        DIFFERENCES.read_text(encoding="utf-8"),
        extras.section(results),
    ]
    return "\n".join(parts)


def small_table(results: Results) -> str:
    """The table of the front page."""
    rows = [*toy.headline(results), *vae.headline(results), *rl.headline(results)]
    return markdown(("number", "the paper", "ours"), rows)


def with_table(readme: str, table: str) -> str:
    """The front page with what stands between the two marks replaced."""
    start, end = map(re.escape, MARKS)
    check(re.search(f"{start}.*{end}", readme, re.S), f"README.md has lost its marks {MARKS}")
    return re.sub(
        f"{start}.*?{end}", lambda _: f"{MARKS[0]}\n\n{table}\n{MARKS[1]}", readme, flags=re.S
    )


def main(root: Path, front: Path) -> None:
    results = Results(root)
    check(results.paper, f"{root / 'paper'} holds no JSON files: the paper's numbers are missing")
    text = report(results)
    write_whole(root / "README.md", text.encode())
    write_whole(root / "report.html", page(text, root).encode())
    print(f"{root / 'README.md'}\n{root / 'report.html'}")
    if front.exists():
        write_whole(
            front, with_table(front.read_text(encoding="utf-8"), small_table(results)).encode()
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m scripts.report", description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, default=Path("results"))
    folder = parser.parse_args().results
    try:
        main(folder, folder.parent / "README.md")
    except UserError as error:
        sys.exit(f"error: {error}")

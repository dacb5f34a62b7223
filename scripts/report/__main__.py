"""Write results/*.md, results/report.html and README.md's tables: python -m scripts.report"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from experiments.run.errors import UserError, check
from experiments.run.files import write_whole
from scripts.report import rl, toy, vae
from scripts.report.html import html
from scripts.report.pages import PAGES, render
from scripts.results import Results, markdown

END = "<!-- end -->"
MARKS = ("<!-- paper against ours: make report -->", "<!-- which estimator: make report -->")


def small_table(results: Results) -> str:
    """The table of the repository's front page."""
    heads = ("number", "the paper", "ours")
    rows = [*toy.headline(results), *vae.headline(results), *rl.headline(results)]
    return markdown(dict(zip(heads, row, strict=True)) for row in rows)


def front_page(readme: str, results: Results) -> str:
    """The front page with the text between each mark and its end replaced."""
    for mark, text in zip(MARKS, (small_table(results), render("chooser", results)), strict=True):
        start, end = re.escape(mark), re.escape(END)
        found = re.search(f"{start}.*{end}", readme, re.S)
        check(found, f"README.md has lost the mark {mark} or its {END}")
        between = f"{mark}\n\n{text}\n{END}"
        readme = re.sub(f"{start}.*?{end}", lambda _, text=between: text, readme, flags=re.S)
    return readme


def main(root: Path, front: Path) -> None:
    results = Results(root)
    check(root.is_dir(), f"{root} is not a folder; give one that contains results")
    pages = {name: render(name, results) for name in PAGES}
    for name, text in pages.items():
        write_whole(root / f"{name}.md", text.encode())
    if (root / "robustness.md").exists():  # written by make torture
        pages["robustness"] = (root / "robustness.md").read_text(encoding="utf-8")
    write_whole(root / "report.html", html(pages, root).encode())
    print(f"{root / 'README.md'}\n{root / 'report.html'}")
    if front.exists():
        write_whole(front, front_page(front.read_text(encoding="utf-8"), results).encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m scripts.report", description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, default=Path("results"))
    folder = parser.parse_args().results
    try:
        main(folder, folder.parent / "README.md")
    except UserError as error:
        sys.exit(f"error: {error}")

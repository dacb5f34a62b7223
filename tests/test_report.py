"""The report: the same bytes twice; a missing result is "not run", and nothing else changes."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from difflib import SequenceMatcher
from html.parser import HTMLParser
from pathlib import Path

import pytest

from experiments.run.errors import UserError
from scripts.report.__main__ import END, MARKS, front_page, main
from scripts.report.html import html
from scripts.report.pages import PAGES, render
from scripts.results import NOT_RUN, Results
from tests.helpers import committed, export_index

ROOT = committed() or Path(__file__).parent.parent
FRONT = "# front\n\n" + "".join(f"{mark}\n{END}\nwords\n" for mark in MARKS)


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of results/ that a test may write to, beside a front page."""
    place = tmp_path_factory.mktemp("copy") / "results"
    shutil.copytree(ROOT / "results", place, ignore=shutil.ignore_patterns("*.pdf", "*.gif"))
    (place.parent / "README.md").write_text(FRONT)
    return place


@pytest.fixture(scope="module")
def whole(copy) -> tuple[Results, str]:
    """The results, read once, and their report."""
    results = Results(copy)
    return results, report(results)


def report(results: Results) -> str:
    """All pages, one after the other."""
    return "\n".join(render(page, results) for page in PAGES)


# ---- what is committed ----


@pytest.mark.skipif(not committed(), reason="only git knows what is committed")
def test_the_committed_pages_are_those_of_the_committed_results(whole):
    """Where this fails: make report, then git add README.md results."""
    results, _ = whole
    for page in PAGES:
        assert render(page, results) == (ROOT / f"results/{page}.md").read_text(), page
    front = (ROOT / "README.md").read_text()
    assert front_page(front, results) == front


def test_somebody_s_own_run_does_not_make_the_pages_old(tmp_path):
    """What is compared is what git holds, whatever `make reproduce-toy` left in the tree."""
    tree, found = tmp_path / "tree", tmp_path / "found"
    assert not export_index(tmp_path, found)  # no repository
    (tree / "results").mkdir(parents=True)
    (tree / "README.md").write_text("committed")
    (tree / "results" / "summary.csv").write_text("committed")
    for words in (["init", "-q"], ["add", "README.md", "results"]):
        subprocess.run(["git", *words], cwd=tree, check=True)
    (tree / "results" / "summary.csv").write_text("my own")
    (tree / "results" / "more.csv").write_text("my own")
    assert export_index(tree, found)
    files = [path for path in found.rglob("*") if path.is_file()]
    assert len(files) == 2 and {path.read_text() for path in files} == {"committed"}


def test_twice_gives_the_same_bytes(tmp_path):
    root, front = tmp_path / "results", tmp_path / "README.md"
    for place in ("paper", "rl/paper/cartpole", "figures"):
        shutil.copytree(ROOT / "results" / place, root / place)
    front.write_text(FRONT)
    written = []
    for _ in range(2):
        main(root, front)
        files = (*(root / f"{page}.md" for page in PAGES), root / "report.html", front)
        written.append([file.read_bytes() for file in files])
    assert written[0] == written[1]


def test_the_bytes_do_not_depend_on_the_locale(tmp_path):
    shutil.copytree(ROOT / "results" / "paper", tmp_path / "results" / "paper")
    front = tmp_path / "README.md"
    front.write_text(FRONT + "\u00b1\n", encoding="utf-8")
    written = []
    for plain in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        command = [sys.executable, "-m", "scripts.report", tmp_path / "results"]
        tree = Path(__file__).parents[1]
        subprocess.run(command, cwd=tree, env=os.environ | plain, check=True, timeout=100)
        pages = [(tmp_path / "results" / f"{page}.md").read_bytes() for page in PAGES]
        written.append([front.read_bytes(), *pages])
    assert written[0] == written[1]


# ---- what is missing ----


def one_per_folder() -> list[str]:
    """Of every folder of results an estimator's file, and the certificates."""
    found = {}
    for file in sorted((ROOT / "results").rglob("*.csv")):
        found.setdefault(file.parent, file)
        if file.stem in ("relax", "lax", "summary"):
            found[file.parent, file.stem] = file
    return [str(file.relative_to(ROOT / "results")) for file in found.values()]


@pytest.mark.parametrize("place", one_per_folder())
def test_a_deleted_result_is_not_run_and_nothing_else_changes(copy, whole, place):
    results, before = whole
    kept = (copy / place).read_bytes()
    (copy / place).unlink()
    try:
        read = {name: table for name, table in results._read.items() if name != place}
        after = report(replace(results, _read=read))
    finally:
        (copy / place).write_bytes(kept)
    old, new = before.splitlines(), after.splitlines()
    for kind, _, _, first, last in SequenceMatcher(None, old, new, False).get_opcodes():
        assert kind in ("equal", "replace")
        assert kind == "equal" or all(NOT_RUN in line for line in new[first:last])


def test_without_any_result_everything_is_not_run(copy, tmp_path):
    """Also: no cell of any table is ever empty."""
    shutil.copytree(copy / "paper", tmp_path / "paper")
    text = report(Results(tmp_path))
    assert "0 reproduced, 0 supported, 0 inconclusive, 0 contradicted, " in text
    assert not re.search(r"\| +\|", text)


def test_no_cell_is_blank(whole):
    assert not re.search(r"\| +\|", whole[1])
    assert not re.search(r"\bnan\b", whole[1])


def test_the_front_page_keeps_its_words(whole):
    once = front_page(FRONT, whole[0])
    assert once.startswith("# front") and once.count("\nwords\n") == 2
    assert "| number | the paper | ours |" in once and "| f | b | take | why |" in once
    assert front_page(once, whole[0]) == once
    with pytest.raises(UserError, match="lost the mark"):
        front_page("# front", whole[0])


# ---- the page ----


class Links(HTMLParser):
    """What a page points to."""

    def __init__(self):
        super().__init__()
        self.found, self.tags = [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.found += [value for name, value in attrs if name in ("src", "href")]


def test_the_page_needs_nothing_else(copy, whole):
    links = Links()
    text = html({page: render(page, whole[0]) for page in PAGES}, copy)
    links.feed(text)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links.found)
    assert not links.tags & {"script", "link", "iframe"}
    assert "url(" not in text and "@import" not in text
    assert all(f'id="{link[1:]}"' in text for link in links.found if link.startswith("#"))

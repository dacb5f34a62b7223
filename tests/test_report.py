"""The report: the same bytes twice, what is missing said and nothing else changed, one rule."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from difflib import SequenceMatcher
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from scripts import style
from scripts.intervals import Interval, difference, mean, paired, share
from scripts.report.__main__ import MARKS, main, small_table, with_table
from scripts.report.claims import Cell, Claim
from scripts.report.html import html
from scripts.report.pages import PAGES, render
from scripts.results import NOT_RUN, Results, markdown, number, took
from tests.helpers import committed, export_index

ROOT = committed() or Path(__file__).parent.parent
FRONT = f"# front\n\n{MARKS[0]}\n{MARKS[1]}\n"


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
    assert with_table(front, small_table(results)) == front


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


def test_the_front_page_keeps_its_words():
    table = markdown([{"a": "1", "b": 2}])
    once = with_table(FRONT, table)
    assert once.startswith("# front") and "| 1 | 2 |" in once
    assert with_table(once, table) == once


# ---- the rule ----


@pytest.mark.parametrize(
    ("ours", "full", "verdict"),
    [
        (None, True, NOT_RUN),
        (Interval(2.0, 1.5, 2.5, 3), True, "reproduced"),
        (Interval(2.0, 1.5, 2.5, 3), False, "supported"),  # shorter than the paper's
        (Interval(2.0, 0.5, 3.5, 9), True, "inconclusive"),  # the interval contains the boundary
        (Interval(0.5, 0.1, 2.0, 9), False, "inconclusive"),
        (Interval(2.0), True, "inconclusive"),  # one seed
        (Interval(2.0, 1.5, 2.5, 2), True, "inconclusive"),  # too few seeds
        (Interval(0.5, 0.1, 0.9, 3), True, "contradicted"),
        (Interval(0.5, 0.1, 0.9, 3), False, "contradicted"),
        (Interval(float("nan"), seeds=3), True, NOT_RUN),
    ],
)
def test_the_verdict_of_a_cell(ours, full, verdict):
    assert Cell("here", "2", ours, above=1.0, full=full).verdict == verdict
    if ours:
        turned = Interval(-ours.value, -ours.high, -ours.low, ours.seeds)
        assert Cell("here", "-2", turned, below=-1.0, full=full).verdict == verdict


def test_the_verdict_of_a_claim():
    good = Cell("a", "2", Interval(2.0, 1.5, 2.5, 5), above=1.0)
    short = Cell("a, short", "", Interval(2.0, 1.5, 2.5, 5), above=1.0, full=False)
    open_ = Cell("b", "", Interval(1.0, 0.0, 2.5, 5), above=1.0)
    open_short = Cell("b, short", "", Interval(1.0, 0.0, 2.5, 5), above=1.0, full=False)
    bad = Cell("c", "", Interval(0.0, -1.0, 0.5, 5), above=1.0)
    none = Cell("d", "", None, above=1.0)
    for cells, verdict in (
        ([good, good], "reproduced"),
        ([good, none], "reproduced"),
        ([good, open_], "inconclusive"),
        ([good, open_, bad], "contradicted"),
        ([good, open_short], "reproduced"),  # cases of the paper's length decide
        ([short, short], "supported"),
        ([short, short, open_short, none], "of 3: 2 supported, 1 inconclusive"),
        ([none], NOT_RUN),
    ):
        assert Claim("", "", cells).verdict == verdict
    lines = Claim("", "", [good, none, none]).by_case
    assert lines == ["a: reproduced, 2.00 [1.50, 2.50] (paper: 2)", f"2 cases {NOT_RUN}"]


def test_paired_seeds_are_compared_by_their_differences():
    """Numbers of a textbook example: differences 1, 2, 3 have the mean 2 and the error .577."""
    a, b = np.array([11.0, 22.0, 33.0]), np.array([10.0, 20.0, 30.0])
    found = paired(a, b)
    assert found.value == 2.0 and found.seeds == 3
    assert found.low == pytest.approx(2 - 4.302653 * 0.5773503, rel=1e-6)
    assert found.high == pytest.approx(2 + 4.302653 * 0.5773503, rel=1e-6)
    apart = difference(a, b)
    assert apart.value == 2.0 and apart.low < -20 < 20 < apart.high


def test_what_a_run_took():
    assert (
        took({"seconds": 192.0, "device": "AMD EPYC (1 thread)"}) == "3.2 min, AMD EPYC (1 thread)"
    )
    assert took({"seconds": 45.0}) == "45 s"  # a file from before the device was recorded
    assert took({"seconds": float("nan"), "device": float("nan")}) == took(None) == NOT_RUN


def test_labels_of_tagged_runs():
    assert [style.label(name) for name in ("relax", "a2c", "exact")] == (
        ["RELAX", "A2C", "exact gradient"]
    )
    assert style.label("relax-lr3e-3") == "RELAX (lr3e-3)"
    assert style.label("relax_score-lr3e-3") == "RELAX, score only (lr3e-3)"
    assert style.colour("relax-eta1") == style.colour("relax") != style.colour("relax_score")


def test_intervals_cover_the_truth_in_19_of_20_cases():
    rng = np.random.default_rng(0)
    hits = {"mean": 0, "difference": 0, "share": 0}
    for _ in range(1000):
        a, b = rng.normal(1.0, 1.0, 5), rng.normal(0.0, 3.0, 8)
        found = {"mean": (mean(a), 1.0), "difference": (difference(a, b), 1.0)}
        found["share"] = share(rng.random(200) < 0.7), 0.7
        for name, (interval, truth) in found.items():
            hits[name] += interval.low <= truth <= interval.high
    assert all(930 <= count <= 970 for count in hits.values()), hits


def test_numbers():
    assert number(None, 2) == number(float("nan"), 2) == NOT_RUN
    assert number(-0.001, 1) == "0.0"
    assert number(250_000, 0) == "250 000"


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

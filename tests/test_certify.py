"""The certificates: the same bytes from the same seed, and a wrong claim is a failure."""

from dataclasses import replace
from pathlib import Path

import pytest

import relax as rx
from tests import certify

pytestmark = pytest.mark.usefixtures("float64")

FEW = ("reinforce", "concrete", "rloo", "unordered_set")


@pytest.fixture
def few(monkeypatch):
    """A handful of estimators, and their identities left to the tests themselves."""
    entries = {name: rx.ESTIMATORS[name] for name in FEW}
    monkeypatch.setattr(rx, "ESTIMATORS", entries)
    monkeypatch.setattr(certify, "identities", lambda: {"rloo": (5, 5)})
    return entries


def run(path: Path) -> int:
    return certify.main(["--draws", "20000", "--out", str(path)])


def test_the_same_seed_gives_the_same_bytes_and_every_claim_holds(few, tmp_path):
    paths = [tmp_path / "a" / "one.csv", tmp_path / "two.csv"]
    assert [run(path) for path in paths] == [0, 0]
    one, two = (path.read_bytes() for path in paths)
    assert one == two and one.count(b"\n") > len(FEW)


@pytest.mark.parametrize("name", ["reinforce", "concrete"])
def test_a_wrong_claim_fails(few, tmp_path, name, capsys):
    few[name] = replace(few[name], unbiased=not few[name].unbiased)
    assert run(tmp_path / "c.csv") == 1
    assert f"claim broken: estimator {name}" in capsys.readouterr().out


def test_an_identity_that_fails_is_a_broken_claim(few, tmp_path, monkeypatch):
    monkeypatch.setattr(certify, "identities", lambda: {"rloo": (4, 5)})
    assert run(tmp_path / "c.csv") == 1


def test_the_identities_named_are_tests():
    here = Path(__file__).parent
    files = [here / "test_identities.py", *here.glob("test_zoo*.py")]
    text = "".join(file.read_text() for file in files)
    assert all(f"def {name}(" in text for name in certify.IDENTITIES)
    assert {e for about in certify.IDENTITIES.values() for e in about} <= set(rx.ESTIMATORS)

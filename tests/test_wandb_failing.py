"""W&B missing, failing or slow costs no row; a run says where W&B shows it."""

import re
import sys

import pytest

from experiments.run.config import Tracking
from tests.tracked import OFFLINE, track


class Broken:
    """A W&B run in which every call after the first `good` fails."""

    def __init__(self, good=0):
        self.good = good
        self.resumed, self.dir = False, "/nowhere/files"
        self.project_url, self.url = "https://w/project", "https://w/run"

    def _call(self, *args, **kwargs):
        self.good -= 1
        if self.good < 0:
            raise ConnectionError("W&B is down")

    define_metric = log = _call

    @property
    def summary(self):
        self._call()
        return {}

    def finish(self, exit_code):
        raise ConnectionError("W&B is down")


@pytest.mark.parametrize("good", [None, 0, 2, 3, 4, 6])
def test_wandb_failing_costs_no_row_and_is_logged_once(tmp_path, monkeypatch, capsys, good):
    """Failing in init, in define_metric, in log, in the summary, in finish."""
    wandb = pytest.importorskip("wandb")

    def init(**settings):
        if good is None:
            raise ConnectionError("W&B is down")
        return Broken(good)

    monkeypatch.setattr(wandb, "init", init)
    record = track(tmp_path / "broken", OFFLINE).read_bytes()
    assert capsys.readouterr().out.count("W&B could not") == 1
    assert record == track(tmp_path / "fine").read_bytes()


def test_without_wandb_installed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.delenv("WANDB_MODE")
    record = track(tmp_path / "auto", Tracking()).read_bytes()
    assert "not installed" not in capsys.readouterr().out
    assert record == track(tmp_path / "asked", OFFLINE).read_bytes()
    assert capsys.readouterr().out.count("wandb is not installed") == 1


@pytest.mark.parametrize("rows", ["quantiles", "each"])
def test_a_run_says_at_its_start_how_to_upload_it(tmp_path, monkeypatch, capsys, rows):
    monkeypatch.chdir(tmp_path)
    track(tmp_path, OFFLINE, rows=rows)
    first = capsys.readouterr().out.splitlines()[0]
    folder, pattern = re.fullmatch(
        r"toy-relax: W&B offline in (\S+); upload later with: wandb sync (\S+)", first
    ).groups()
    assert folder == "runs/wandb"
    assert len(list(tmp_path.glob(pattern))) == (3 if rows == "each" else 1)


@pytest.mark.parametrize("rows", ["quantiles", "each"])
def test_an_online_run_says_its_address(tmp_path, monkeypatch, capsys, rows):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setattr(wandb, "init", lambda **settings: Broken(10**6))
    track(tmp_path, Tracking(mode="online"), rows=rows)
    address = "https://w/project, group toy-smoke" if rows == "each" else "https://w/run"
    assert capsys.readouterr().out.splitlines()[0] == f"toy-relax: W&B {address}"

"""The saved view at W&B: plain words where it cannot be written, the right panels where it can."""

import sys

import pytest

from experiments.run.errors import UserError
from scripts import workspace


def test_without_a_login(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(UserError, match="not logged in"):
        workspace.main("me", "relax")


def test_without_the_extra(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    for name in ("wandb_workspaces.workspaces", "wandb_workspaces.reports.v2"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"not installed: .*wandb\[workspaces\]"):
        workspace.main("me", "relax")


def test_with_the_extra():
    """A section per family, its panels against our own step, runs by figure and estimator."""
    pytest.importorskip("wandb_workspaces.workspaces")
    view = workspace.workspace("me", "relax")
    assert [section.name for section in view.sections] == list(workspace.VIEW)
    panels = [panel for section in view.sections for panel in section.panels]
    assert len(panels) == sum(map(len, workspace.VIEW.values()))
    assert all(panel.x == "step" or panel.x.name == "step" for panel in panels)
    assert len(view.runset_settings.groupby) == 2

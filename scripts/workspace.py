"""Write the saved view of the project at Weights & Biases: python -m scripts.workspace ENTITY

One section per family, the log-variance beside the loss, runs grouped by figure and estimator.
Needs a login and the extra `pip install 'wandb[workspaces]'`; says so where one is missing.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from experiments.run.config import Tracking
from experiments.run.errors import UserError, check
from experiments.run.tracking import wandb_mode

# section -> panels: title, metrics
VIEW: dict[str, dict[str, list[str]]] = {
    "Toy": {
        "Expected loss, median over seeds": ["loss/median"],
        "ln Var[gradient], median over seeds": ["log_variance/median"],
        "theta": ["theta/q10", "theta/median", "theta/q90"],
        "lambda and eta": ["lambda/median", "eta/median"],
    },
    "VAE": {
        "-ELBO while training, nats": ["train"],
        "-ELBO on validation, nats": ["valid"],
        "Variance of the logits' gradient": ["variance_logits"],
        "Variance of the encoder's gradient": ["variance_weights"],
        "lambda and eta of the first layer": ["lambda_1", "eta_1"],
    },
    "Policies": {
        "Return of an episode": ["return", "return/median"],
        "Mean return of 100 episodes": ["recent", "recent/median"],
        "ln Var of an episode's gradient": ["logvar_a2c", "logvar_relax", "logvar_lax"],
    },
}
LOGARITHMIC = ("variance_logits", "variance_weights")


def import_workspaces() -> tuple[Any, Any]:
    """The public API's two modules: workspaces, and the panels, which reports share."""
    try:
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        install = ".venv/bin/uv pip install --python .venv/bin/python 'wandb[workspaces]'"
        raise UserError(f"the workspaces API is not installed: {install}") from error
    return workspaces, panels


def workspace(entity: str, project: str) -> Any:
    """The view as an object, not saved."""
    api, wr = import_workspaces()

    def panel(title: str, metrics: list[str]) -> Any:
        log_y = any(name in LOGARITHMIC for name in metrics)
        return wr.LinePlot(title=title, x="step", y=metrics, log_y=log_y)

    sections = [
        api.Section(name=name, panels=[panel(*item) for item in panels.items()], is_open=True)
        for name, panels in VIEW.items()
    ]
    groups = [api.Metric("Group"), api.Metric("JobType")]
    runset = api.RunsetSettings(groupby=groups)
    return api.Workspace(
        entity=entity,
        project=project,
        name="Figures of the paper",
        sections=sections,
        runset_settings=runset,
    )


def main(entity: str, project: str) -> None:
    check(wandb_mode(Tracking()) == "online", "not logged in at W&B: .venv/bin/wandb login")
    view = workspace(entity, project)
    view.save()
    print(view.url)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m scripts.workspace")
    parser.add_argument("entity", help="your user or team name at W&B")
    parser.add_argument("--project", default=Tracking().project)
    arguments = parser.parse_args()
    try:
        main(arguments.entity, arguments.project)
    except UserError as error:
        sys.exit(f"error: {error}")

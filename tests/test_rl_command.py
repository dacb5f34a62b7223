"""The command from its plan to the figure."""

import subprocess
import sys
from pathlib import Path

import pytest

from experiments.rl import plan
from experiments.rl.config import Env, Rl, Variance
from scripts import rl_figures
from tests.policies import small
from tests.torture import victims

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("discrete", [True, False])
def test_the_plan_measures_and_counts_every_replica(discrete):
    agents = small(discrete, "a2c")
    assert plan.frames_per_second(agents, seconds=0.01) > 10
    assert 0 < plan.seconds(agents.config, "a2c") < 3600 * agents.config.frames


def test_the_plan_of_a_variance_counts_its_episodes():
    variance = Variance(points=3, every=10, episodes=100)
    config = Rl(env=Env(variance=variance), mode="variance", frames=10**9)
    assert plan.frames(config) == 10**9
    config.env.variance.of.append("a2c")
    assert plan.frames(config) == 21 * 200 + 3 * 100 * 200


def command(*arguments: str) -> subprocess.CompletedProcess:
    words = [sys.executable, "-m", *arguments]
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=300)


def test_smoke_from_the_command_to_the_figure(run_dirs, tmp_path):
    finished = command("experiments.rl", "preset=rl/smoke", "processes=1", *run_dirs)
    assert finished.returncode == 0, finished.stderr
    case = tmp_path / "results" / "rl" / "smoke" / "cartpole"
    assert {"a2c.csv", "relax.csv", "a2c-solved.csv", "summary.csv"} <= {
        file.name for file in case.iterdir()
    }
    rl_figures.main("smoke", tmp_path / "results")
    assert (tmp_path / "results" / "figures" / "rl-smoke-cartpole.png").stat().st_size > 10_000


def test_a_wrong_estimator_ends_in_one_line(tmp_path):
    victims.prepare()
    assert victims.run("rl", tmp_path / "run", "env=pendulum") == 2
    output = victims.output(tmp_path / "run")
    assert "not for the continuous actions of pendulum" in output
    assert "Traceback" not in output

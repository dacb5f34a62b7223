"""Training several estimators at a time: the order, the announced time."""

import pytest

from experiments.run.launch import train_all
from experiments.run.processes import ahead
from experiments.toy.config import Toy


@pytest.mark.parametrize(
    ("seconds", "processes", "total"),
    [
        ([30.0, 50.0, 10.0], 2, "50 s"),
        ([30.0, 50.0, 10.0], 1, "90 s"),
        ([4.0, 3.0, 3.0], 2, "6.0 s"),
    ],
)
def test_the_time_is_that_of_the_longest_process(seconds, processes, total):
    """Each run goes to the process that is free first: 4 | 3 + 3."""
    assert f"about {total}" in ahead(seconds, processes)


def test_the_longest_run_starts_first(capsys):
    config, trained = Toy(processes=1, device="cpu", estimators={"a": {}}), []
    train_all(config, "three runs", {"short": 1.0, "long": 9.0, "middle": 3.0}, trained.append)
    assert trained == ["long", "middle", "short"]
    assert capsys.readouterr().out.startswith("three runs, 1 process; about 13 s")

"""A short `make torture`: runs of every family killed and harmed, and nothing of them lost."""

import random
import shutil
import signal

import pytest

from tests.torture import kills, report, victims
from tests.torture.faults import FAULTS

# Those that the tests of the run folder do not already do to a walk.
QUICK = ("full_disk", "read_only", "two_processes", "wandb_down")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Holds an undisturbed run of the toy."""
    victims.prepare()
    place = tmp_path_factory.mktemp("torture")
    assert victims.run("toy", place / "toy" / "whole") == 0, victims.output(place / "toy" / "whole")
    return place


@pytest.mark.parametrize("family", victims.FAMILIES)
def test_killed_runs_lose_nothing(tmp_path, root, family):
    found = kills.torture(tmp_path, kills=2, minutes=0.3, seed=len(family), families=(family,))
    assert found and all(victim.fine for victim in found), found
    ((name, count, *_),) = kills.table(found)
    assert name == family and count >= 1


def test_every_write_of_a_save_may_be_the_last(tmp_path, root):
    """The system calls of one save, one after the other; what it was writing torn off."""
    place = tmp_path / "victim"
    for count in range(7, 12):
        victims.run("toy", place, harm=kills.at_call(signal.SIGKILL, count, "torn"))
    assert victims.run("toy", place) == 0
    assert victims.compare(place, root / "toy" / "whole").equal


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=() if fault.harm.__name__ in QUICK else pytest.mark.slow)
        for fault in FAULTS
    ],
    ids=lambda fault: fault.harm.__name__,
)
def test_faults(root, fault):
    outcome = fault.try_on(root)
    if outcome.result == "skipped":
        pytest.skip(outcome.message)
    assert outcome.result == "held", outcome.message


def test_a_lost_and_a_doubled_row_would_be_seen(tmp_path, root):
    """The comparison's power."""
    shutil.copytree(root / "toy" / "whole", tmp_path / "copy")
    record = victims.run_folder(tmp_path / "copy") / "metrics.csv"
    lines = record.read_text().splitlines(keepends=True)
    del lines[random.Random(0).randrange(1, len(lines))]
    record.write_text("".join([*lines, lines[-1]]))
    difference = victims.compare(tmp_path / "copy", root / "toy" / "whole")
    assert (difference.lost, difference.doubled, difference.equal) == (1, 1, False)


def test_the_report_has_what_the_tables_have(tmp_path):
    place = tmp_path / "robustness"
    place.mkdir()
    (place / "kills.csv").write_text("family,kills,rows\ntoy,12,60\nvae,11,8\n")
    soak = ["0.5,toy,600.0,9,5", "1.0,vae,640.0,9,5", "30.1,toy,601.5,9,5"]
    (place / "soak.csv").write_text("\n".join(["minutes,family,memory_mb,files,threads", *soak]))
    report.write(tmp_path)
    text = (tmp_path / "robustness.md").read_text()
    assert "| all | 23 | 68 |" in text
    assert "| toy | 2 | 600.0 | 601.5 | 601.5 | 9 | 9 | 5 | 5 |" in text

"""runs/dashboard.html: every run is in it, and a browser draws and filters it."""

import fcntl
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from scripts import style
from scripts.html_dashboard import curves, find_runs, page, read, state, write

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
    --disable-background-networking --disable-component-update --virtual-time-budget=9000
""".split()


def add_run(root: Path, place: str, lines: list[str], finished: bool = True) -> Path:
    folder = root / place
    folder.mkdir(parents=True)
    config = {"estimator": folder.name, "lr": 0.1, "estimators": {folder.name: {"hidden": 7}}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    (folder / "lock").touch()
    if finished:
        (folder / "summary.json").write_text('{"step": 20}')
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    loss = ["step,seed,loss,log_variance"]
    loss += [f"{step},{seed},{seed + 1 / step},{-seed}" for step in (10, 20) for seed in range(5)]
    add_run(tmp_path, "toy/quick/t0.499/relax", loss)
    add_run(tmp_path, "toy/quick/t0.499/rebar", loss)
    vae = ["step,lr,seed,train,variance_logits", "54,0.0005,0,34.5,2.0", "54,0.001,0,33.5,"]
    add_run(tmp_path, "vae/quick/digits-linear1/relax-mine", vae, finished=False)
    return tmp_path


def test_a_curve_is_the_median_with_its_band(runs):
    (curve,) = curves("relax", read(runs / "toy/quick/t0.499/relax"), "loss")
    values = np.arange(5) + 1 / 20
    assert curve["x"] == [10, 20] and curve["seeds"] == 5
    for name, level in {"low": 0.1, "median": 0.5, "high": 0.9}.items():
        assert curve[name][1] == pytest.approx(np.quantile(values, level))
    assert curve["colour"] == style.colour("relax")


def test_every_learning_rate_has_its_curve_and_a_missing_value_has_none(runs):
    table = read(runs / "vae/quick/digits-linear1/relax-mine")
    names = [curve["name"] for curve in curves("relax-mine", table, "train")]
    assert names == ["relax-mine lr=0.0005", "relax-mine lr=0.001"]
    assert len(curves("relax-mine", table, "variance_logits")) == 1


def test_ranks_are_shown_until_their_run_is_merged(tmp_path):
    lines = ["step,seed,loss", "10,0,1.0"]
    parts = [add_run(tmp_path, f"vae/quick/a/relax.rank{k}of2", lines) for k in (0, 1)]
    assert find_runs(tmp_path) == parts
    merged = add_run(tmp_path, "vae/quick/a/relax", lines)
    assert find_runs(tmp_path) == [merged]


def test_states(runs):
    stopped = next(folder for folder in find_runs(runs) if folder.name == "relax-mine")
    assert state(stopped) == "stopped" and not page(runs)[1]
    with (stopped / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert state(stopped) == "running"
        text, active = page(runs)
    assert active and 'http-equiv="refresh"' in text
    assert "finished" in text and "hidden=7" in text


def test_nothing_is_loaded_from_the_network(runs):
    text = page(runs)[0]
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=", text)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here to open the page in")
@pytest.mark.parametrize(
    ("fragment", "panels"),
    [
        ("", ["log_variance", "loss"]),
        ("toy-quick-t0.499&&variance", ["log_variance"]),
        ("toy-quick-t0.499&nothing", []),
        ("vae-quick-digits-linear1", ["train", "variance_logits"]),
    ],
)
def test_a_browser_draws_and_filters(runs, fragment, panels):
    write(runs)
    address = f"{(runs / 'dashboard.html').as_uri()}#{fragment}"
    flags = [*FLAGS, f"--user-data-dir={runs / 'profile'}", "--enable-logging=stderr", "--dump-dom"]
    done = subprocess.run([BROWSER, *flags, address], capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr, done.stderr
    body = done.stdout.partition("<body>")[2]
    drawn = re.findall(r'class="gtitle"[^>]*>([^<]*)<', body)
    assert sorted(drawn) == panels

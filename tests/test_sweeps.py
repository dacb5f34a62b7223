"""Sweeps, ranks and determinism: how the work is shared out never changes a number."""

import itertools
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from experiments.run import ranks
from experiments.run.files import locked, read_table
from scripts import sweep
from tests.test_layout import composed
from tests.torture import victims

ROOT = Path(__file__).parents[1]
GRIDS = {"toy": "toy", "vae": "vae", "rl": "rl", "continuous": "rl"}


@pytest.fixture(scope="module", autouse=True)
def imports():
    victims.prepare()


# ---- determinism ----

SHARING = {  # two estimators, in one order side by side and in the other one after the other
    "toy": ("rebar", "relax"),
    "vae": ("reinforce", "relax"),
    "rl": ("a2c", "relax"),
    "permutations": ("rebar", "relax"),
}


@pytest.mark.parametrize("family", victims.FAMILIES)
def test_the_order_of_cases_and_of_processes_does_not_matter(tmp_path, family):
    first, second = SHARING[family]
    own = {"toy": ["steps=60"], "vae": ["epochs=2"]}.get(family, [])
    for place, names, processes in (("a", (first, second), 1), ("b", (second, first), 2)):
        chosen = [f"estimator=[{','.join(names)}]", f"processes={processes}", *own]
        status = victims.run(family, tmp_path / place, *chosen)
        assert status == 0, victims.output(tmp_path / place)
    difference = victims.compare(tmp_path / "a", tmp_path / "b")
    assert difference.rows and difference.equal


@pytest.mark.parametrize("family", victims.FAMILIES)
def test_every_row_tells_its_seed(tmp_path, family):
    own = ["seeds=2", *(["epochs=1"] if family == "vae" else [])]
    assert victims.run(family, tmp_path / "run", *own) == 0, victims.output(tmp_path / "run")
    table = read_table(victims.run_folder(tmp_path / "run") / "metrics.csv")
    assert len(set(table["seed"])) == 2
    assert (table["seed"] == table["seed"].astype(int)).all()


# ---- ranks ----


def as_rank(rank: int, port: int):
    """What torchrun tells a process."""
    environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    environment["MASTER_ADDR"] = "127.0.0.1"
    return lambda: os.environ.update({key: str(value) for key, value in environment.items()})


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize(
    ("family", "own"),
    [("toy", ["estimator=[exact,relax]", "seeds=5"]), ("vae", ["lr=[1e-2,1e-3,1e-4]", "epochs=2"])],
)
def test_two_ranks_leave_the_files_of_one_process(tmp_path, family, own):
    """Two gloo processes; the replicas do not divide evenly."""
    port = free_port()
    started = [
        victims.start(family, tmp_path / "two", *own, harm=as_rank(rank, port)) for rank in (0, 1)
    ]
    assert [victims.finish(pid) for pid in started] == [0, 0], victims.output(tmp_path / "two")
    assert victims.run(family, tmp_path / "one", *own) == 0
    one, two = victims.files(tmp_path / "one"), victims.files(tmp_path / "two")
    assert {name: two[name] for name in one} == one
    assert all("of2/" in name for name in two.keys() - one.keys())


def test_processes_without_an_estimator_share_the_replicas_of_one(tmp_path):
    """Whatever the number of processes when the run is continued."""
    own = ("lr=[1e-2,1e-3,1e-4]", "pictures=true")
    assert victims.run("vae", tmp_path / "one", *own, "epochs=3") == 0
    for epochs, processes in ((2, 2), (3, 1), (3, 2)):
        more = (f"epochs={epochs}", f"processes={processes}")
        assert victims.run("vae", tmp_path / "two", *own, *more) == 0
    one, two = victims.files(tmp_path / "one"), victims.files(tmp_path / "two")
    assert {name: two[name] for name in one} == one
    divided = {name for name in two if ".rank0of2/" in name or ".rank1of2/" in name}
    assert divided == two.keys() - one.keys() and divided
    pictures = [
        sorted(p.name for p in (tmp_path / n).rglob("results/**/*.png")) for n in ("one", "two")
    ]
    assert pictures[0] == pictures[1] and pictures[0]


def test_a_run_keeps_the_ranks_that_began_it(tmp_path):
    run = tmp_path / "relax"
    assert ranks.count(run, wanted=3) == 3
    (tmp_path / "relax.rank0of2").mkdir()
    (tmp_path / "relax-tag.rank0of4").mkdir()
    assert ranks.count(run, wanted=3) == 2
    with ranks.acting_as(1, 2):  # under torchrun
        assert ranks.count(run, wanted=1) == 1
    (tmp_path / "rebar").mkdir()
    assert ranks.count(tmp_path / "rebar", wanted=3) == 1


def test_replicas_are_dealt_out_and_put_together_again(monkeypatch):
    rows = ["1,0,.5", "1,1,.6", "1,2,.7", "2,0,.8", "2,1,.9", "2,2,1."]
    parts = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        mine = ranks.mine(rows[:3]) + ranks.mine(rows[3:])
        parts.append("\n".join(["step,seed,x", *mine]) + "\n")
    assert ranks.interleaved(parts) == "\n".join(["step,seed,x", *rows]) + "\n"
    summaries = [{"lr": [1, 3], "step": 2, "d": {"a": 1}}, {"lr": [2], "step": 2, "d": {}}]
    assert ranks.united(summaries) == {"lr": [1, 2, 3], "step": 2, "d": {"a": 1}}


def test_every_rank_sees_one_gpu(monkeypatch):
    for visible, expected in (("", "1"), ("4,6", "6"), ("3", "3")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("LOCAL_RANK", "1")
        ranks.own_gpu()
        assert os.environ["CUDA_VISIBLE_DEVICES"] == expected


# ---- sweeps ----


@pytest.mark.parametrize("grid", GRIDS)
def test_every_case_of_a_grid_is_a_configuration(grid):
    """And `make sweep` keeps its rates in one process, as replicas."""
    params = yaml.safe_load((ROOT / f"configs/sweep/{grid}.yaml").read_text())["hydra"]
    params = params["sweeper"]["params"]
    cases = list(itertools.product(*(str(values).split(",") for values in params.values())))
    for case in (cases[0], cases[-1]):
        chosen = [f"{key}={value}" for key, value in zip(params, case, strict=True)]
        config = composed(GRIDS[grid], [f"+sweep={grid}", *chosen])
        assert list(config.estimators) == [case[list(params).index("estimator")]]
    assert len(cases) == {"toy": 12, "vae": 30, "rl": 4, "continuous": 2}[grid]


def test_every_case_of_the_wandb_sweep_is_a_configuration():
    sweep_file = yaml.safe_load((ROOT / "configs/wandb/vae.yaml").read_text())
    fixed = [word for word in sweep_file["command"] if "=" in word]
    values = [parameter["values"] for parameter in sweep_file["parameters"].values()]
    for case in (next(zip(*values, strict=False)), tuple(v[-1] for v in values)):
        own = [f"{k}={v}" for k, v in zip(sweep_file["parameters"], case, strict=True)]
        config = composed("vae", [*fixed, *own])
        assert config.tag == f"lr{config.lr[0]}" and len(config.lr) == 1


def run_sweep(tmp_path, launcher, *overrides):
    command = [sys.executable, "-m", "scripts.sweep", "toy", "smoke", "--launcher", launcher]
    command += ["--results", str(tmp_path / "results"), f"runs={tmp_path / 'runs'}"]
    command += ["tracking=disabled", "estimator=reinforce", "steps=20", *overrides]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["submitit_local", "local"])
def test_a_failed_case_does_not_stop_the_others_and_the_rest_is_run_later(tmp_path, launcher):
    done = run_sweep(tmp_path, launcher, "t=nan,.45")
    assert done.returncode == 1 and "t=nan: must be finite" in done.stderr, done
    assert "Traceback" not in done.stderr
    first = victims.files(tmp_path)
    assert [name for name in first if name.endswith("t0.45/reinforce/metrics.csv")]
    choice = read_table(tmp_path / "results/toy/smoke/choice.csv")
    assert choice["case"].tolist() == ["t0.45"]
    if launcher == "local":
        done = run_sweep(tmp_path, launcher, "t=.45,.49")
        assert done.returncode == 0 and done.stdout.count("finished before") == 1, done
        again = victims.files(tmp_path)
        assert all(again[name] == first[name] for name in first if "t0.45/" in name)


def test_the_choice_is_the_best_on_validation(tmp_path):
    (tmp_path / "mnist-linear1").mkdir()
    rows = ["relax,0.005,,", "relax,0.001,98.5,.2", "relax,0.0005,99.5,.1", "rebar,0.001,99,.3"]
    text = "\n".join(["estimator,lr,valid,valid_se", *rows])
    (tmp_path / "mnist-linear1" / "summary.csv").write_text(text + "\n")
    assert sweep.choose("vae", tmp_path) == [
        ["mnist-linear1", "relax", "lr=0.001", "98.5", "0.2", 3],
        ["mnist-linear1", "rebar", "lr=0.001", "99", "0.3", 1],
    ]


def test_slurm_without_slurm_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sweep", "vae", "paper", "--launcher", "slurm"])
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(SystemExit, match="no srun here; use LAUNCHER=local"):
        sweep.main()


def test_a_summary_is_written_by_one_at_a_time(tmp_path):
    """Read, add one, write, many at once: without the lock some would be lost."""
    file = tmp_path / "count"
    file.write_text("0")

    def add():
        for _ in range(50):
            with locked(tmp_path / "summary.lock"):
                count = int(file.read_text())
                file.write_text(str(count + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_text() == "200"

"""What every test gets: one thread, no network for W&B, no settings of the person who runs it."""

import os
from collections.abc import Iterator

import pytest
import torch

# Before any test starts a process of its own: those inherit the environment.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["MKL_CBWR"] = "AUTO"  # a matrix product's bits do not depend on where it lies in memory
os.environ["MPLBACKEND"] = "Agg"
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked gpu where there is no CUDA device."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B off and without a login; a test of the tracking itself sets WANDB_MODE=offline."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "disabled")


@pytest.fixture
def float64() -> Iterator[None]:
    """Tensors in double precision, for tests of identities and of tight tolerances."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def run_dirs(tmp_path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Overrides that send a run's files to a temporary folder, W&B's too: never into the tree."""
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "runs"))
    return [f"runs={tmp_path / 'runs'}", f"results={tmp_path / 'results'}"]

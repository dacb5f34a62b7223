"""Speed never changes a number: packed optimisers, compiled steps, CUDA graphs."""

import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

import relax as rx
from experiments.run import accelerate, onednn
from experiments.run.errors import UserError
from experiments.toy.config import Toy
from experiments.toy.train import Run as ToyRun
from experiments.vae.config import Vae
from experiments.vae.train import Run as VaeRun
from relax import replicas
from scripts.bench import cases
from tests import policies

ROOT = Path(__file__).parents[1]


class Rehearsed(accelerate.Graphed):
    """A CUDA graph without a GPU: recording notes the inputs' places, replaying reads them."""

    def beside(self, inputs):
        return self.step(*inputs)

    def record(self):
        def replay():
            self.outputs = self.step(*self.inputs)

        return replay


def toy(name="relax", **settings) -> ToyRun:
    return ToyRun(Toy(seeds=3, device="cpu", **settings), name)


def vae(name="relax", dynamic=False, **settings) -> VaeRun:
    config = Vae(batch=6, seeds=2, latents=8, hidden=8, device="cpu", estimators={name: {}})
    for key, value in settings.items():
        setattr(config, key, value)
    pixels = torch.rand(40, 16, generator=torch.Generator().manual_seed(1))
    data = cases.Images("random", pixels, pixels, pixels, pixels.mean(0), 4, dynamic)
    return VaeRun(config, name, data)


def weights(run) -> list[torch.Tensor]:
    """Everything that was trained."""
    if isinstance(run, ToyRun):
        return [run.logit, *run.phi]
    return [*run.vae.parameters(), *run.method.parameters(), run.running]


def test_a_replayed_step_equals_the_step_bit_for_bit():
    for make in (toy, lambda: toy("rebar"), vae, lambda: vae("rebar", dynamic=True)):
        plain, replayed = make(), make()
        replayed.advance = Rehearsed(replayed.advance)
        for step in range(1, 16):
            for run in (plain, replayed):
                run.step(step) if isinstance(run, VaeRun) else run.steps()
        assert replayed.advance.calls == 15
        for p, q in zip(weights(plain), weights(replayed), strict=True):
            assert torch.equal(p, q)


def test_a_graph_counts_its_first_calls_and_executes_nothing_while_it_records():
    total = torch.zeros(2)
    graph = Rehearsed(lambda x, rest: total.add_(x + rest[0]))
    for k in range(1, 9):
        out = graph(torch.full((2,), float(k)), (torch.ones(2), None))
        assert torch.equal(out, total) and total[0] == k * (k + 1) / 2 + k


def test_graphs_are_for_gpus():
    def step():
        return None

    cpu = torch.device("cpu")
    assert accelerate.graphed(step, "auto", cpu) is step
    assert accelerate.graphed(step, "off", cpu) is step
    with pytest.raises(UserError, match="graph=on"):
        accelerate.graphed(step, "on", cpu)
    with pytest.raises(UserError, match="graph"):
        accelerate.graphed(step, "maybe", cpu)


class Adder:
    def __init__(self, terms: list[float]) -> None:
        self.terms = terms

    def total(self, x: torch.Tensor) -> torch.Tensor:
        for term in self.terms:
            x = x + term
        return x


def test_compiled_code_is_never_shared_between_runs():
    adders = [Adder([1.0]), Adder([1.0, 2.0, 3.0])]
    functions = [accelerate.compiled(adder.total) for adder in adders]
    for _ in range(2):
        assert [float(f(torch.zeros(()))) for f in functions] == [1.0, 6.0]


@pytest.mark.parametrize("compiler", ["/no/such/compiler", "false"])
def test_a_compiler_that_does_not_work_is_one_line(tmp_path, run_dirs, compiler):
    arguments = ["preset=toy/smoke", "estimator=[relax]", "compile=on", *run_dirs]
    answer = subprocess.run(
        [sys.executable, "-m", "experiments.toy", *arguments],
        cwd=ROOT,
        env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "CXX": compiler},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 2, answer.stderr
    (line,) = [line for line in answer.stderr.splitlines() if "No CUDA runtime" not in line]
    assert line.startswith("error: torch.compile does not work on this machine (")
    assert "compile=off" in line


def assert_follows(fast, plain) -> None:
    for p, q in zip(weights(fast), weights(plain), strict=True):
        torch.testing.assert_close(p, q, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
def test_a_compiled_run_of_the_vae_follows_the_eager_one_and_compiles_once():
    plain, fast = vae(compile="off"), vae(compile="on")
    for step in range(1, 21):
        for run in (plain, fast):
            run.step(step)
        if step == 2:
            before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before
    assert_follows(fast, plain)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relax", "nvil", "disarm"])
def test_compiled_steps_of_the_toy_follow_the_eager_ones_through_a_checkpoint(name):
    settings = {"log_every": 5, "variance_every": 5}
    plain, fast, resumed = toy(name), toy(name, compile="on", **settings), toy(name)
    assert (plain.stride, fast.stride) == (1, 5)
    while fast.done < 30:
        fast.steps()
    while plain.done < 30:
        plain.steps()
    assert_follows(fast, plain)
    resumed.load_state_dict(fast.state_dict())
    while resumed.done < 50:
        resumed.steps()
    plain.load_state_dict(resumed.state_dict())
    while plain.done < 60:
        plain.steps()
    while fast.done < 60:
        fast.steps()
    assert_follows(fast, plain)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relax", "a2c"])
def test_a_compiled_update_of_a_policy_follows_the_eager_one_for_episodes_of_any_length(name):
    plain, fast = (policies.small(True, name, compile=mode) for mode in ("off", "on"))
    lengths = set()
    for _ in range(20):
        batch = plain.play(policies.everyone(plain))
        lengths.add(batch.reward.shape[1])
        for agents in (plain, fast):
            readings = agents.learner.update(batch, torch.tensor([True, False]))
    assert len(lengths) > 3 and readings["entropy"].shape == (2,)
    for p, q in zip(fast.learner.tensors(), plain.learner.tensors(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-4, rtol=1e-3)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs oneDNN")
@pytest.mark.parametrize("replicas", [1, 3])
def test_large_products_by_onednn_equal_those_of_torch(monkeypatch, replicas):
    monkeypatch.setattr(onednn, "large", lambda a, b: a.shape[1] > 2)
    inputs = [torch.randn(replicas, *size) for size in ((1, 7), (5, 60), (60, 7))]

    def products(bias, x, weight):
        small = torch.bmm(x[:, :2], weight)
        return small, torch.baddbmm(bias, x, weight), torch.bmm(x.mT, x), torch.bmm(x, x.mT)

    module = make_fx(products, tracing_mode="fake")(*inputs)
    onednn.UseOneDnn()(module.graph)
    module.recompile()
    names = [str(node.target) for node in module.graph.nodes]
    assert names.count("relax_experiments.bmm.default") == 3
    assert names.count("aten.bmm.default") == 1
    for ours, theirs in zip(module(*inputs), products(*inputs), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_only_large_products_of_known_size_go_to_onednn():
    def is_large(rows, inner, columns, **kind):
        return onednn.large(torch.empty(1, rows, inner, **kind), torch.empty(1, inner, columns))

    assert is_large(24, 784, 200) and is_large(784, 24, 200)
    assert not is_large(24, 200, 200)
    assert not is_large(24, 784, 200, dtype=torch.float64)
    assert not is_large(24, 784, 200, device="meta")


def test_auto_compiles_a_long_run_where_there_is_a_compiler(monkeypatch):
    assert accelerate.compiles("on", steps=1, worthwhile=10)
    assert not accelerate.compiles("off", steps=100, worthwhile=10)
    assert not accelerate.compiles("auto", steps=9, worthwhile=10)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/g++")
    assert accelerate.compiles("auto", steps=10, worthwhile=10)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert not accelerate.compiles("auto", steps=10, worthwhile=10)
    with pytest.raises(UserError, match="compile"):
        Toy(compile="true", estimators={"relax": {}}).check()


def test_a_torch_that_cannot_compile_gradients_is_used_eagerly(monkeypatch):
    monkeypatch.setattr("torch.__version__", torch.torch_version.TorchVersion("2.11.0+cu130"))
    assert not accelerate.compiles("auto", steps=10, worthwhile=10)
    too_old = r"compile=on needs torch 2\.12 or newer, and this is 2\.11"
    with pytest.raises(UserError, match=too_old):
        accelerate.compiled(torch.sin)


def test_adam_with_large_and_small_parameters_equals_torch_run_by_run():
    shapes = [(64, 64), (1, 5), (), (3, 7)]
    rates = torch.tensor([0.1, 0.1, 0.003])
    torch.manual_seed(0)
    starts = [torch.randn(3, *shape) for shape in shapes]
    stacked = [torch.nn.Parameter(start.clone()) for start in starts]
    optimizer = replicas.Adam(stacked, lr=rates)
    singles = [[torch.nn.Parameter(start[r].clone()) for start in starts] for r in range(3)]
    others = [torch.optim.Adam(ps, lr=float(lr)) for ps, lr in zip(singles, rates, strict=True)]
    for step in range(20):
        for p in [*stacked, *(p for single in singles for p in single)]:
            p.grad = torch.sin(step + p.detach() * 3)
            if p.ndim > 1:  # laid out otherwise than p
                p.grad = p.grad.mT.contiguous().mT
        for one in (optimizer, *others):
            one.step()
    for r, single in enumerate(singles):
        for p, q in zip(stacked, single, strict=True):
            torch.testing.assert_close(p[r], q, atol=1e-6, rtol=1e-6)


def test_loading_leaves_the_tensors_where_a_graph_reads_them():
    p = torch.nn.Parameter(torch.ones(2, 3))
    optimizer = replicas.Adam([p], lr=torch.tensor([0.1, 0.2]))
    saved = deepcopy(optimizer.state_dict())
    places = [t.data_ptr() for t in (optimizer.steps, *optimizer._rates, *optimizer.state["m"])]
    optimizer.load_state_dict(saved)
    after = [t.data_ptr() for t in (optimizer.steps, *optimizer._rates, *optimizer.state["m"])]
    assert places == after


def test_a_step_adds_to_what_a_leaf_has_already():
    logits = torch.nn.Parameter(torch.zeros(3, 2))
    draw = rx.reinforce.draw(rx.Bernoulli(logits))
    for _ in range(2):
        rx.backward(rx.reinforce(draw.b.sum(-1), draw))
    twice, logits.grad = logits.grad, None
    rx.backward(rx.reinforce(draw.b.sum(-1), draw))
    torch.testing.assert_close(twice, 2 * logits.grad)

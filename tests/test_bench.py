"""The benchmark: its reference and the JAX code compute our gradients, and it measures in turns."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import relax as rx
from experiments.toy.config import Toy
from experiments.toy.train import Run as ToyRun
from experiments.vae.config import Vae
from experiments.vae.train import Run as VaeRun
from scripts.bench import cases, plain, rl, steps
from scripts.bench.measure import COMPILED, EAGER, JAX, PLAIN, Row, rows_of
from scripts.bench.targets import targets
from scripts.bench.timing import QUICK, Effort, Group
from scripts.report.pages import render
from scripts.results import Results

ROOT = Path(__file__).parents[1]
PIXELS, LATENTS, BATCH = 16, 8, 6


def images() -> torch.Tensor:
    return (torch.rand(40, PIXELS, generator=torch.Generator().manual_seed(1)) < 0.3).float()


def ours(model: str, estimator: str, coupled: bool = True) -> VaeRun:
    """A run with one replica; r has as many hidden units as there are latents."""
    settings = {} if estimator == "concrete" else {"coupled": coupled}
    settings |= {"hidden": LATENTS} if estimator == "relax" else {}
    sizes = {"batch": BATCH, "latents": LATENTS, "hidden": LATENTS}
    config = Vae(model=model, device="cpu", estimators={estimator: settings}, **sizes)
    x = images()
    return VaeRun(config, estimator, cases.Images("random", x, x, x, x.mean(0), 4))


def our_gradients(run: VaeRun, x: torch.Tensor, noise: list[rx.Noise]) -> dict[str, torch.Tensor]:
    """Gradients by the names of our parameters."""
    run.trainer.backward(x[None], noise)
    named = [*run.vae.named_parameters(), *run.method.named_parameters()]
    return {name: p.grad[0].squeeze() for name, p in named}


def noises(layers: int, coupled: bool = True) -> list[rx.Noise]:
    draws = torch.rand(layers, 2, 1, BATCH, LATENTS, generator=torch.Generator().manual_seed(2))
    return [rx.Noise(u, None if coupled else v) for u, v in draws.clamp(0.01, 0.99)]


def pairs(net: plain.VAE) -> list[tuple[str, torch.nn.Parameter, bool]]:
    """Our name of each of the reference's parameters, and whether it is transposed."""
    found = [("prior", net.prior, False)]

    def add(prefix: str, linear: torch.nn.Linear) -> None:
        found.append((f"{prefix}.weight", linear.weight, True))
        found.append((f"{prefix}.bias", linear.bias, False))

    parts = {"encoder.{}.layers.{}": net.encoder, "decoder.{}.layers.{}": net.decoder}
    parts["residuals.{}.of_z.layers.{}"] = net.r_z
    for name, networks in parts.items():
        for k, network in enumerate(networks):
            for i, linear in enumerate(network[::2]):
                add(name.format(k, i), linear)
    for k, linear in enumerate(net.r_x):
        add(f"residuals.{k}.context", linear)
    return found


@pytest.mark.parametrize("model", ["linear1", "linear2", "nonlinear"])
@pytest.mark.parametrize("estimator", ["concrete", "rebar", "relax"])
@pytest.mark.parametrize("coupled", [True, False])
def test_the_reference_computes_our_gradient_on_the_same_noise(model, estimator, coupled, float64):
    run, x = ours(model, estimator, coupled), images().double()
    net = plain.VAE(model, estimator, x, LATENTS)
    named = dict([*run.vae.named_parameters(), *run.method.named_parameters()])
    with torch.no_grad():
        for name, p, transposed in pairs(net):
            p.copy_(named[name][0].squeeze(0).mT if transposed else named[name].reshape(p.shape))
    noise = noises(len(net.encoder), coupled)
    found = our_gradients(run, x[:BATCH], noise)
    u, v = ([None if n is None else n[0] for n in part] for part in zip(*noise, strict=True))
    grads = dict(zip([*net.weights, *net.phi], net.gradients(x[:BATCH], u, v), strict=True))
    for name, p, transposed in pairs(net):
        grad = grads[p].squeeze().mT if transposed and p.squeeze().ndim > 1 else grads[p].squeeze()
        torch.testing.assert_close(grad, found[name], msg=name)
    for k in range(len(net.encoder)) if estimator != "concrete" else ():
        for name, p in (("eta", net.eta), ("log_lambda", net.log_lambda)):
            torch.testing.assert_close(grads[p][k], found[f"scales.{k}.{name}"])


@pytest.fixture
def jax_code():
    pytest.importorskip("jax")
    from scripts.bench import jax_code

    return jax_code


@pytest.mark.parametrize("estimator", ["rebar", "relax"])
def test_jax_computes_our_gradient_of_the_vae_on_the_same_noise(estimator, jax_code):
    run, x, noise = ours("linear1", estimator), images(), noises(1)
    net = jax_code.VAE(estimator, x.numpy(), BATCH, LATENTS)
    named = {
        name: p.detach()[0].numpy()
        for name, p in [*run.vae.named_parameters(), *run.method.named_parameters()]
    }

    def linear(name):
        return {"w": named[f"{name}.weight"], "b": named[f"{name}.bias"][0]}

    weights = {name: linear(f"{name}.0.layers.0") for name in ("encoder", "decoder")}
    weights["prior"] = named["prior"][0]
    phi = {name: named[f"scales.0.{name}"] for name in ("eta", "log_lambda")}
    if estimator == "relax":
        phi["r_x"] = linear("residuals.0.context")
        phi["r_z"] = [linear(f"residuals.0.of_z.layers.{i}") for i in range(3)]
    of_weights, of_phi = net.gradients(weights, phi, x[:BATCH].numpy(), noise[0].u[0].numpy())
    found = our_gradients(run, x[:BATCH], noise)

    def assert_same(grad, name):
        grad = torch.from_numpy(np.array(grad)).squeeze()
        torch.testing.assert_close(grad, found[name], atol=1e-5, rtol=1e-4, msg=name)

    for layer, name in ((of_weights["encoder"], "encoder.0"), (of_weights["decoder"], "decoder.0")):
        assert_same(layer["w"], f"{name}.layers.0.weight")
        assert_same(layer["b"], f"{name}.layers.0.bias")
    assert_same(of_weights["prior"], "prior")
    for name in ("eta", "log_lambda"):
        assert_same(of_phi[name], f"scales.0.{name}")
    for i, layer in enumerate(of_phi.get("r_z", ())):
        assert_same(layer["w"], f"residuals.0.of_z.layers.{i}.weight")


def toy_and_numbers() -> tuple[ToyRun, torch.Tensor, list[torch.Tensor]]:
    """Our toy with phi moved from its start, noise [3, 1], and the gradients there."""
    run = ToyRun(Toy(seeds=3, device="cpu", compile="off"), "relax")
    phi = run.method.phi
    with torch.no_grad():
        for p in (phi.scale, phi.log_lambda, run.logit):
            p.add_(torch.linspace(0.1, 0.3, 3).reshape(p.shape))
    u = torch.tensor([[0.3], [0.6], [0.9]])
    draw = run.method.draw(run.distribution(run.logit), rx.Noise(u[:, :, None]))
    rx.backward(run.method.estimate(run.f, draw), run.phi)
    w1, b1, w2, b2 = phi.net.parameters()
    order = [run.logit, w1, b1, w2, b2, phi.scale, phi.log_lambda]
    return run, u, order


def test_the_plain_toy_computes_our_gradient_on_the_same_noise():
    _, u, order = toy_and_numbers()
    net = plain.Toy(3)
    with torch.no_grad():
        for p, q in zip(net.parameters, order, strict=True):
            p.copy_(q.reshape(p.shape))
    for grad, p in zip(net.gradients(u), order, strict=True):
        torch.testing.assert_close(grad, p.grad.reshape(grad.shape))


def test_the_toy_in_jax_computes_our_gradient_on_the_same_noise(jax_code):
    _, u, order = toy_and_numbers()
    net = jax_code.Toy(3, steps=1)
    for seed in range(3):
        shapes = [p.shape[1:] for p in net.state[0][0][1]]
        logit, *phi = (p.detach()[seed].numpy() for p in order)
        phi = tuple(p.reshape(shape) for p, shape in zip(phi, shapes, strict=True))
        grad, of_phi = net.gradients(logit[0], phi, u[seed].numpy())
        for g, p in zip([grad, *of_phi], order, strict=True):
            np.testing.assert_allclose(np.array(g).ravel(), p.grad[seed].numpy().ravel(), 1e-4)


@pytest.mark.parametrize("model", ["linear1", "linear2", "nonlinear"])
@pytest.mark.parametrize("estimator", ["concrete", "rebar", "relax"])
def test_the_reference_trains(model, estimator):
    net = plain.VAE(model, estimator, images(), LATENTS)
    before = [p.clone() for p in net.weights]
    for coupled in [True, False] * 5:
        net.step(BATCH, coupled)
    assert all(p.isfinite().all() for p in net.parameters())
    assert not any(torch.equal(p, q) for p, q in zip(before, net.weights, strict=True))


def test_jax_trains(jax_code):
    for net in (jax_code.Toy(3, steps=5), jax_code.VAE("relax", images().numpy(), BATCH, LATENTS)):
        for _ in range(3):
            net.step()
        assert all(np.isfinite(np.array(p)).all() for p in jax_code.jax.tree.leaves(net.state[0]))


def test_times_are_compared_in_turns():
    x = torch.zeros(200, 200)

    def once():
        return x @ x

    def five_times():
        return [x @ x for _ in range(5)]

    group = Group({"one": once, "five": five_times}, Effort(turns=5, seconds=0.01))
    assert 2 < np.median(group.ratios("five", "one")) < 12 and group.median("one") > 0


def test_a_group_gives_the_ratio_per_step_and_seed():
    group = Group({}, Effort())
    group.seconds = {
        EAGER: np.array([4.0, 4.0, 8.0]),
        COMPILED: np.array([10.0, 10.0, 20.0]),
        PLAIN: np.array([1.0, 1.0, 2.0]),
    }
    each = {EAGER: 2.0, COMPILED: 10.0, PLAIN: 1.0}
    row = rows_of("toy", "us", group, each)[2]
    assert (row.time, row.over_eager, row.over_compiled, row.spread) == (1e6, 0.5, 1.0, 0.0)


def test_a_missed_target_shows_where_the_time_goes():
    problem = "VAE linear1 concrete, batch 24"
    ours = Row(problem, EAGER, 1.0, "us", where_the_time_goes="Adam 75%; other operations 25%")
    for ratio, verdict, where in ((0.8, "missed", ours.where_the_time_goes), (0.97, "met", "-")):
        rows = [ours, Row(problem, PLAIN, ratio, "us", over_eager=ratio)]
        cells = [target.cells() for target in targets(rows) if problem in target.what]
        (found,) = (row for row in cells if "concrete, batch 24" in row["what"])
        assert (found["verdict"], found["where our time goes"]) == (verdict, where)


def test_every_target_is_about_rows_that_are_measured():
    assert {target.verdict for target in targets([])} == {"not measured"}
    one_seed = Row("toy RELAX, 1 seed", PLAIN, 1.0, "us", over_compiled=50.0)
    (target,) = (target for target in targets([one_seed]) if target.verdict != "not measured")
    assert target.verdict == "met" and target.measured == 0.02


def test_the_page_shows_the_targets_and_the_times(tmp_path):
    rows = [
        Row("first VAE step", EAGER, 4.0, "s", where_the_time_goes="imports 2.0 s; data 2.0 s"),
        Row("VAE linear1 rebar, batch 24", JAX, 1.0, "us per step", 0.4, 1.2, 0.01),
    ]
    (tmp_path / "bench").mkdir()
    table = pd.DataFrame([asdict(row) for row in rows]).assign(machine="a CPU, 2 cores")
    table.to_csv(tmp_path / "bench" / "cpu.csv", index=False)
    page = render("speed", Results(tmp_path))
    assert "Measured on a CPU, 2 cores." in page and "imports 2.0 s; data 2.0 s" in page
    assert "JAX jit / ours compiled | 1.14 | at least 1 | 1.2 | met" in page
    assert "make bench" in render("speed", Results(tmp_path / "empty"))


def test_two_of_the_policies_play_short_episodes_to_the_end():
    environment = rl.PartlyCollapsed("CartPole-v0", 4, 200)
    rows = np.arange(4)
    environment.reset(rows, [0, 1, 2, 3])
    ended = np.array([environment.step(rows, np.array([1, 1, 0, 0]))[2] for _ in range(rl.SHORT)])
    assert not ended[:-1, : rl.COLLAPSED].any() and ended[-1, : rl.COLLAPSED].all()
    assert rl.collapsed("off", frames=30).total > 0


def test_the_gpu_benchmark_needs_no_optional_package():
    code = "import sys; sys.modules |= dict.fromkeys(['wandb', 'gymnasium', 'jax'])\n"
    code += "import scripts.gpu.bench"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["benchmark", "categorical"])
def test_the_steps_of_all_estimators_of_a_preset_are_timed(preset):
    table = steps.step_times(preset, QUICK, compile="off").set_index("estimator")["milliseconds"]
    assert (table > 0).all()
    if preset == "benchmark":
        assert table["unbiased_reinmax-3"] > table["unbiased_reinmax"]

"""The VAE: its estimators against the plain form and enumeration, its runs against themselves."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import relax as rx
from experiments.run.errors import UserError
from experiments.run.files import read_table
from experiments.vae import __main__ as main
from experiments.vae import compare as comparison
from experiments.vae import data, evaluate, pictures, plan
from experiments.vae import train as training
from experiments.vae.estimators import METHODS, hard_pass
from experiments.vae.models import MODELS, OnePass, log_prob_and_slope
from experiments.vae.step import Step
from relax.replicas import Streams
from scripts import vae_figures
from tests import vae_reference as reference
from tests.vaes import BATCH, LATENTS, batch, config, make, stream

ROOT = Path(__file__).parents[1]
FORMS = [
    ("rebar", {}),
    ("rebar", {"relaxation": "tucker"}),
    ("relax", {}),
    ("relax", {"depth": 3, "relaxation": "tucker"}),
    ("relax", {"with_f": False}),
]


# ---- the estimators ----


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("name", "own"), FORMS)
def test_surrogate_in_closed_form_equals_autograd(float64, model, name, own):
    method, x = make(model, name, **own), batch()
    noise = method.noise(BATCH, stream(2))
    draws, sample = hard_pass(method.vae, x, noise)
    thetas = [draw.dist.theta for draw in draws]
    for k, theta in enumerate(thetas):
        z = torch.randn(2, *theta.shape, requires_grad=True)  # z and z~ on a first axis
        plain = reference.surrogate(method, k, x, thetas, sample.latents, noise)(z)
        (slope,) = torch.autograd.grad(plain.sum(), z)
        c, dc = method.surrogate(k, x, sample, noise).value_and_grad(z.detach())
        torch.testing.assert_close(c, plain, atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(dc, slope, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("name", "own"), FORMS)
@pytest.mark.parametrize("coupled", [True, False])
def test_step_equals_the_straightforward_double_backward(float64, model, name, own, coupled):
    """With coupled noise c's direct dependence on the logits cancels: the oracle keeps it."""
    method, x = make(model, name, coupled=coupled, **own), batch()
    noise = method.noise(BATCH, stream(2))
    wanted, wanted_phi = reference.gradients(method, x, noise, direct=coupled)
    Step(method, torch.ones(2)).backward(x, noise)
    for p, grad in zip(method.vae.parameters(), wanted, strict=True):
        torch.testing.assert_close(p.grad, grad, atol=1e-10, rtol=1e-10)
    for p, grad in zip(method.phi(), wanted_phi, strict=True):
        torch.testing.assert_close(p.grad, grad, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", METHODS)
def test_one_backward_pass_equals_the_cores_two(float64, model, name):
    method, x = make(model, name), batch()
    noise = method.noise(BATCH, stream(2))
    params = [*method.vae.parameters(), *method.phi()]
    Step(method, torch.ones(2)).backward(x, noise)
    once = [p.grad for p in params]
    for p in params:
        p.grad = None
    rx.backward(method.estimates(x, noise), method.phi())
    for p, grad in zip(params, once, strict=True):
        torch.testing.assert_close(p.grad, grad, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("width", [48, 15])
def test_log_prob_in_one_pass_equals_torchs(float64, width):
    y = torch.cat([torch.linspace(-40, 40, width - 1), torch.zeros(1)]).repeat(2, 3, 1)
    results = []
    for form in (log_prob_and_slope, OnePass.apply):
        b = torch.rand(y.shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
        logits = y.clone().requires_grad_()
        value, slope = form(b, logits)
        loss = (value * torch.arange(6.0).reshape(2, 3)).sum() + (slope**3).sum()
        results.append([value, slope, *torch.autograd.grad(loss, [b, logits])])
    for plain, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-12, rtol=1e-12)


@pytest.mark.slow
def test_compiled_step_equals_the_eager_one(float64):
    x, noise = batch(), make("linear2", "relax").noise(BATCH, stream(2))
    grads = []
    for compiled in (False, True):
        method = make("linear2", "relax")
        Step(method, torch.ones(2), compiled=compiled).differentiate(x, noise)
        grads.append([p.grad for p in (*method.vae.parameters(), *method.phi())])
    for eager, compiled in zip(*grads, strict=True):
        torch.testing.assert_close(compiled, eager, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("name", ["reinforce", "nvil", "muprop", "rebar", "relax", "rao_relax"])
def test_decoder_gets_the_plain_gradient_of_mean_f_exactly_once(float64, name):
    method, x = make("linear2", name), batch()
    noise = method.noise(BATCH, stream(2))
    decoder = [*method.vae.decoder.parameters(), method.vae.prior]
    f_b = hard_pass(method.vae, x, noise)[1].f
    wanted = torch.autograd.grad(f_b.mean(-1).sum(), decoder)
    Step(method, torch.ones(2)).backward(x, noise)
    for p, grad in zip(decoder, wanted, strict=True):
        torch.testing.assert_close(p.grad, grad, atol=1e-12, rtol=1e-12)


UNBIASED = [
    ("reinforce", {}),
    ("reinforce", {"samples": 2}),
    ("nvil", {}),
    ("muprop", {}),
    ("rao_relax", {}),
    *((name, {"coupled": c}) for name in ("rebar", "relax") for c in (True, False)),
    *(
        pytest.param(name, own | {"coupled": c}, marks=pytest.mark.slow)
        for name, own in FORMS
        for c in (True, False)
        if own
    ),
]


def exact_encoder_gradient(vae, x):
    """d E[f]/d encoder by enumeration of all latents of two layers, for one replica and image."""
    outcomes = torch.tensor(list(itertools.product([0.0, 1.0], repeat=2 * vae.prior.shape[-1])))
    b1, b2 = (b[:, None, None] for b in outcomes.chunk(2, dim=1))
    x = x.expand(len(outcomes), 1, 1, -1)
    sample = vae.score(x, [b1, b2], [vae.encode(0, x), vae.encode(1, b1)])
    q = sum(sample.log_q).exp()
    return torch.autograd.grad((q * sample.f).sum(), list(vae.encoder.parameters()))


@pytest.mark.parametrize(("name", "own"), UNBIASED)
def test_two_layers_are_unbiased(float64, name, own):
    """300 000 draws of 2 x 3 latents: 3 000 replicas of 100 rows, each a mean of 100."""
    replicas, rows = 3_000, 100
    x = batch(1, 1, 4)
    one = make("linear2", name, 1, 3, 4, **own)
    exact = exact_encoder_gradient(one.vae, x)
    many = make("linear2", name, replicas, 3, 4, same=True, **own)
    noise = many.noise(rows, Streams(range(replicas), block=3 * rows))
    Step(many, torch.ones(replicas)).backward(x.expand(replicas, rows, 4), noise)
    for p, wanted in zip(many.vae.encoder.parameters(), exact, strict=True):
        error = p.grad.std(0) / replicas**0.5
        assert ((p.grad.mean(0) - wanted[0]) / error).abs().max() < 5


def test_the_bias_test_has_power(float64):
    """Concrete fails it, and so does a surrogate that looks at the layer's own sample."""
    replicas, rows = 3_000, 100
    x = batch(1, 1, 4)
    exact = exact_encoder_gradient(make("linear2", "concrete", 1, 3, 4).vae, x)
    many = make("linear2", "concrete", replicas, 3, 4, same=True)
    noise = many.noise(rows, Streams(range(replicas), block=3 * rows))
    Step(many, torch.ones(replicas)).backward(x.expand(replicas, rows, 4), noise)
    z = [
        (p.grad.mean(0) - wanted[0]) / (p.grad.std(0) / replicas**0.5)
        for p, wanted in zip(many.vae.encoder.parameters(), exact, strict=True)
    ]
    assert max(t.abs().max() for t in z) > 10


def test_weight_decay_equals_the_authors(float64):
    """Their objective is mean over batch and units of (g/B)^2, plus wd sum w^2 / 2."""
    method, x = make("linear1", "relax", weight_decay=0.01), batch()
    noise = method.noise(BATCH, stream(2))
    (est,) = method.estimates(x, noise)
    theirs = (est.grad / BATCH).square().mean((1, 2)).sum()
    theirs = theirs + 0.01 * sum((w**2).sum() / 2 for w in method.residuals.parameters())
    wanted = torch.autograd.grad(theirs, method.phi())
    Step(method, torch.ones(2)).backward(x, noise)
    method.add_weight_decay(BATCH)
    for p, grad in zip(method.phi(), wanted, strict=True):
        torch.testing.assert_close(p.grad, BATCH**2 * LATENTS * grad, atol=1e-10, rtol=1e-10)


def test_eta_can_be_fixed_at_one():
    method = make("linear1", "relax", learn_eta=False)
    assert not any(p is scales.eta for p in method.phi() for scales in method.scales)


# ---- evaluation ----


def test_bounds_against_enumeration(float64):
    vae, x = make("linear2", "reinforce", 1, 3, 4).vae, batch(1, 1, 4)[0]
    outcomes = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)))
    b1, b2 = (b[:, None, None] for b in outcomes.chunk(2, dim=1))
    wide = x.expand(64, 1, 1, 4)
    sample = vae.score(wide, [b1, b2], [vae.encode(0, wide), vae.encode(1, b1)])
    q = sum(sample.log_q).exp()
    elbo, log_p = (q * sample.f).sum(), -torch.logsumexp(sum(sample.log_p) + sample.log_prior, 0)
    many = x.expand(40_000, 4)
    found = evaluate.negative_elbo(vae, many, stream(1))
    torch.testing.assert_close(found[0], elbo, atol=0.05, rtol=0)
    tight = evaluate.negative_iwae(vae, x.expand(200, 4), stream(1), 2_000)
    torch.testing.assert_close(tight.squeeze(), log_p.squeeze(), atol=0.02, rtol=0)
    one = evaluate.negative_iwae(vae, many, stream(1), 1)
    torch.testing.assert_close(one, found, atol=0.05, rtol=0)


def test_relax_varies_less_than_reinforce():
    x = batch(2, BATCH)
    found = {
        name: evaluate.gradient_variance(make("linear1", name), x, stream(2), 200)
        for name in ("reinforce", "rebar")
    }
    for what in ("logits", "weights"):
        assert (found["rebar"][what] < found["reinforce"][what]).all()


# ---- runs ----


@pytest.fixture
def digits():
    return data.load("digits")


def test_a_replica_equals_the_run_alone_bit_for_bit(run_dirs, digits):
    together = training.Run(config(run_dirs, lr=[1e-2, 1e-3], seeds=2), "relax", digits)
    alone = training.Run(config(run_dirs, lr=[1e-3]), "relax", digits)
    for run in (together, alone):
        run.warm_up()
        for step in range(1, 121):
            run.step(step)
    row = together.rates.index(1e-3)
    for many, one in (
        (together.vae.state_dict(), alone.vae.state_dict()),
        (together.method.state_dict(), alone.method.state_dict()),
    ):
        for key, value in one.items():
            if value.ndim > 1 or key.endswith(("eta", "log_lambda")):
                assert torch.equal(many[key][row], value[0]), key


def test_killed_and_resumed_equals_uninterrupted(run_dirs, digits, monkeypatch):
    whole = config(run_dirs, tag="whole")
    cut = config(run_dirs, tag="cut", save_every=0.0)
    wanted = training.train(whole, "relax", digits)

    step = training.Run.step

    def dying(self, number):
        if number == 57:
            raise MemoryError("killed")
        step(self, number)

    monkeypatch.setattr(training.Run, "step", dying)
    with pytest.raises(MemoryError):
        training.train(cut, "relax", digits)
    monkeypatch.setattr(training.Run, "step", step)
    found = training.train(cut, "relax", digits)
    root = next(iter(dict(i.split("=", 1) for i in run_dirs).values()))
    folders = [f"{root}/vae/test/digits-linear1/relax-{tag}" for tag in ("whole", "cut")]
    first, second = (Path(folder, "metrics.csv").read_text() for folder in folders)
    assert first == second
    assert {**wanted, "seconds": 0} == {**found, "seconds": 0}


def test_divergence_names_step_and_tensor_and_the_others_go_on(run_dirs, digits, capsys):
    def poisoned(self, number):
        if number == 30:
            with torch.no_grad():
                self.vae.prior[1] = float("nan")
        step(self, number)

    step = training.Run.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Run, "step", poisoned)
        found = training.train(config(run_dirs, seeds=2, save_every=0.0), "relax", digits)
        text = capsys.readouterr().out
        assert "lr=0.0005 seed=1" in text and "not finite by step 54" in text
        assert "before-divergence-1.pt" in text
        assert torch.tensor(found["valid"]).isfinite().tolist() == [True, False]
        with pytest.raises(UserError, match="every replica diverged"):
            patch.setattr(
                training.Run, "step", lambda self, n: self.running.fill_(float("nan")) and None
            )
            training.train(config(run_dirs, tag="all"), "relax", digits)


def test_the_plan_counts_steps_and_measurements(run_dirs, digits):
    found = {n: plan.seconds(config(run_dirs, steps=n), "relax", digits) for n in (20, 20_000)}
    assert 0 < found[20] < found[20_000] < 3600
    chosen = config(run_dirs, lr=[1e-3, 1e-4], estimators={"rebar": {}, "relax": {}})
    said = plan.plan(chosen, digits, {"a": 30.0, "b": 50.0, "c": 10.0})
    assert "a, b, c; 2 replicas (rates x seeds), 60 steps, 2 processes; about 50 s" in said


def test_the_command_trains_and_the_figures_are_drawn(run_dirs, tmp_path):
    command = [sys.executable, "-m", "experiments.vae", "preset=vae/smoke", "data=digits"]
    command += ["estimator=[rebar,relax]", "lr=[1e-3,5e-4]"]
    made = subprocess.run([*command, *run_dirs], capture_output=True, text=True, cwd=ROOT)
    assert made.returncode == 0, made.stderr
    assert "2 processes; about" in made.stdout and "validation -ELBO" in made.stdout
    vae_figures.main("smoke", tmp_path / "results")
    case = tmp_path / "results/vae/smoke/digits-linear1"
    names = {path.name for path in case.iterdir()}
    assert {"relax.csv", "summary.csv", "table.md", "relax-samples.png"} <= names
    assert "RELAX" in (case / "table.md").read_text()
    for picture in ("curves", "rates"):
        assert (tmp_path / f"results/figures/vae-smoke-digits-linear1-{picture}.png").exists()


def test_all_estimators_at_the_same_weights(run_dirs, digits, monkeypatch):
    for name, value in (("FIT", 9), ("DRAWS", 9), ("ROWS", 50), ("ROUNDS", 2), ("IMAGES", 5)):
        monkeypatch.setattr(comparison, name, value)
    comparison.compare(config(run_dirs, mode="variance"), digits)
    places = dict(item.split("=", 1) for item in run_dirs)
    case = Path(places["results"], "vae/test/digits-linear1")
    table = read_table(case / "variance.csv")
    found = dict(zip(table["estimator"], table["variance_logits"], strict=True))
    assert found.keys() == comparison.CONTESTANTS.keys()
    assert found["rebar"] < found["reinforce"]
    terms = (case / "terms.csv").read_text().split()[1:]
    assert sum(int(line.split(",")[4]) for line in terms) == 100
    vae_figures.main("test", Path(places["results"]))


def test_pictures_do_not_need_the_user_s_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    pictures.write_png(tmp_path / "a.png", torch.tensor([[0.0, 0.5], [2.0, 1.0]]), scale=2)
    found = np.asarray(Image.open(tmp_path / "a.png"))
    assert found.tolist() == [[0, 0, 128, 128]] * 2 + [[255, 255, 255, 255]] * 2


def test_a_picture_that_fails_does_not_end_training(run_dirs, digits, monkeypatch, capsys):
    def write_png(*arguments):
        raise RuntimeError("no display")

    monkeypatch.setattr(pictures, "write_png", write_png)
    settings = config(run_dirs, pictures=True)
    training.train(settings, "relax", digits)
    assert list(Path(settings.runs).rglob("summary.json"))
    assert capsys.readouterr().out.count("no pictures (RuntimeError: no display)") == 1


@pytest.mark.parametrize("name", METHODS)
def test_every_estimator_lowers_the_bound(run_dirs, digits, name):
    settings = config(run_dirs, estimators={name: {}}, steps=110, lr=[1e-2])
    training.train(settings, name, digits)
    folder = f"{settings.runs}/vae/test/digits-linear1/{name}"
    rows = [line.split(",") for line in Path(folder, "metrics.csv").read_text().split()]
    first, last = (float(rows[i][rows[0].index("train")]) for i in (1, 2))
    assert last < first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "linear9"}, "linear1"),
        ({"estimators": {"relux": {}}}, "relax"),
        ({"estimators": {}}, "estimator"),
        ({"lr": [-1.0]}, "lr=-1"),
        ({"lr": []}, "lr="),
        ({"seeds": 0}, "seeds=0"),
        ({"batch": 0}, "batch=0"),
        ({"variance_samples": 1}, "variance_samples=1"),
    ],
)
def test_bad_settings_are_named(run_dirs, changes, message):
    with pytest.raises(UserError, match=message):
        config(run_dirs, **changes)


def test_bad_settings_of_an_estimator_are_named(run_dirs):
    with pytest.raises(UserError, match="hiden"):
        config(run_dirs, estimators={"relax": {"hiden": 3}}).own("relax")
    with pytest.raises(UserError, match="sigmoid"):
        config(run_dirs, estimators={"relax": {"relaxation": "x"}}).own("relax")


def test_digits_stand_in_only_where_nobody_asked_for_mnist(tmp_path, monkeypatch, capsys, run_dirs):
    monkeypatch.delenv("RELAX_DATA", raising=False)
    monkeypatch.setattr(data, "_fetch", lambda *args: None)
    plain = config(run_dirs)
    plain.data.root = str(tmp_path)
    with pytest.raises(UserError, match="train-images-idx3-ubyte.*t10k-labels-idx1-ubyte"):
        main.find_images(plain)
    plain.data.fallback = True
    assert main.find_images(plain).name == "digits"
    assert "DIGITS" in capsys.readouterr().out

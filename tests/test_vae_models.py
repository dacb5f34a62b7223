"""The VAE's model: inputs centred, the image logits' offset, the ELBO, prior samples."""

import math

import pytest
import torch

from experiments.run.errors import UserError
from experiments.vae import evaluate
from experiments.vae.config import Vae
from experiments.vae.data import Images
from experiments.vae.models import MODELS, VAE
from experiments.vae.pictures import COUNT, save_pictures
from relax.replicas import Streams
from tests.test_layout import composed
from tests.vaes import BATCH, LATENTS, PIXELS, batch, config, make, negative_elbo

MEAN = torch.linspace(0.1, 0.8, PIXELS)


def fresh(model: str) -> VAE:
    """A model at its start, where every bias is 0."""
    return VAE(model, MEAN, LATENTS, 5, [torch.Generator().manual_seed(0)])


@pytest.mark.parametrize("model", [name for name, model in MODELS.items() if model.centred])
def test_a_model_starts_at_the_mean_image(model):
    """Latents of 1/2 are the decoder's zero, the mean image is the encoder's."""
    vae = fresh(model)
    shown = torch.sigmoid(vae.decode(0, torch.full((1, 1, LATENTS), 0.5)))
    torch.testing.assert_close(shown[0, 0], MEAN)
    assert (vae.encode(0, MEAN[None, None]) == 0).all()
    assert (vae.encode(0, torch.ones(1, 1, PIXELS)) != 0).any()


def test_latents_above_the_first_layer_are_centred_too():
    vae = fresh("linear2")
    half = torch.full((1, 1, LATENTS), 0.5)
    assert (vae.encode(1, half) == 0).all() and (vae.decode(1, half) == 0).all()
    assert (vae.decode(1, 0 * half) != 0).any()


def test_the_nonlinear_maps_have_two_hidden_layers():
    """Of 5 units here: weights and biases of 9-5-5-4 up, 4-5-5-9 down, and 4 of the prior."""
    numbers = sum(p.numel() for p in fresh("nonlinear").parameters())
    up = 9 * 5 + 5 + 5 * 5 + 5 + 5 * 4 + 4
    down = 4 * 5 + 5 + 5 * 5 + 5 + 5 * 9 + 9
    assert numbers == up + down + 4


def test_the_benchmark_s_model_is_fed_with_bits_as_they_are():
    """784-200-200-200 and back with leaky ReLU, no offsets, and a prior that is not learned."""
    vae = fresh("benchmark")
    x, b = torch.rand(1, 2, PIXELS).round(), torch.rand(1, 2, LATENTS).round()
    assert "prior" not in dict(vae.named_parameters()) and (vae.prior == 0).all()
    for net, inputs, found in (
        (vae.encoder[0], x, vae.encode(0, x)),
        (vae.decoder[0], b, vae.decode(0, b)),
    ):
        for layer in net.layers[:-1]:
            inputs = torch.nn.functional.leaky_relu(inputs @ layer.weight[0] + layer.bias[0], 0.3)
        wanted = inputs @ net.layers[-1].weight[0] + net.layers[-1].bias[0]
        torch.testing.assert_close(found, wanted)


def test_the_latents_of_the_categorical_model_are_choices_among_ten_classes():
    """20 of them for 200 units; the prior is uniform, and other numbers of units are refused."""
    mean = torch.full((PIXELS,), 0.5)
    vae = VAE("categorical", mean, generators=[torch.Generator().manual_seed(0)])
    dist = vae.distribution(vae.encode(0, torch.ones(1, 3, PIXELS)))
    b = dist.sample(generator=torch.Generator().manual_seed(1))
    assert b.shape == (1, 3, 20, 10) and (b.sum(-1) == 1).all()
    assert dist.batch_shape == (1, 3)
    torch.testing.assert_close(vae.log_prob(b, vae.prior), torch.full((1, 3), -20 * math.log(10)))
    with pytest.raises(UserError, match="latents=205"):
        VAE("categorical", mean, 205, generators=[torch.Generator()])


def test_bits_and_classes_are_not_mixed_up(run_dirs):
    for model, name in (("categorical", "disarm"), ("benchmark", "carms")):
        with pytest.raises(UserError, match=f"{name} does not accept"):
            make(model, name)
    with pytest.raises(UserError, match="unbiased_reinmax does not accept"):
        make("categorical", "unbiased_reinmax")
    chosen = config(run_dirs, model="categorical", estimators={"rebar": {"relaxation": "tucker"}})
    with pytest.raises(UserError, match="tucker"):
        chosen.settings_of("rebar")


@pytest.mark.parametrize("model", MODELS)
def test_f_is_the_negative_elbo_by_torch_distributions(float64, model):
    vae, x = make(model, "reinforce", 1).vae, batch(1)
    generator = torch.Generator().manual_seed(5)
    latents, logits, below = [], [], x
    for k in range(vae.depth):
        logits.append(vae.encode(k, below))
        below = (torch.rand(1, BATCH, *vae.event, generator=generator) < 0.5).to(x.dtype)
        latents.append(below)
    found = vae.score(x, latents, logits).f[0]
    wanted = negative_elbo(vae, x[0], [b[0] for b in latents])
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("model", ["linear1", "linear2"])
def test_samples_of_a_prior_without_doubt(model):
    """The prior decides the top bits, a decoder without doubt those below, the image follows."""
    vae = make(model, "reinforce", 1).vae
    sure = torch.tensor([60.0, -60.0, 60.0, -60.0])
    with torch.no_grad():
        vae.prior[:] = sure
        for decoder in list(vae.decoder)[1:]:
            for p in decoder.parameters():
                p *= 400
    b = (sure > 0).float()[None, None]
    for layer in reversed(range(1, vae.depth)):
        b = (vae.decode(layer, b) > 0).float()
    shown = evaluate.samples(vae, 7, Streams([3]))
    torch.testing.assert_close(shown, torch.sigmoid(vae.decode(0, b)).expand(1, 7, PIXELS))


def test_pictures_show_images_above_their_reconstructions(tmp_path):
    from matplotlib.image import imread

    vae, kept = make("linear1", "reinforce", 1).vae, {}
    with torch.no_grad():
        for p in vae.parameters():
            p.zero_()
    vae.offset.fill_(-20.0)  # every reconstruction is black
    white = torch.ones(COUNT, PIXELS)
    images = Images("white", white, white, white, MEAN, 3)

    class Recorder:
        steps = 1

        def image(self, name, path, step):
            kept[name] = imread(path)

    save_pictures(vae, images, Streams([3]), Recorder())
    upper, lower = kept["reconstructions"][:15], kept["reconstructions"][15:]
    assert upper.mean() > 0.9 > 0.7 > lower.mean()  # the lines between are white


# ---- settings ----


def test_what_the_paper_and_its_code_set_are_the_defaults():
    vae = Vae(estimators={"relax": {}, "rebar": {}, "nvil": {}, "muprop": {}})
    assert (vae.latents, vae.hidden, vae.batch, vae.beta2) == (200, 200, 24, 0.99999)
    relax, rebar = vae.settings_of("relax"), vae.settings_of("rebar")
    assert (relax.hidden, relax.depth, relax.coupled, rebar.coupled) == (200, 2, True, True)
    assert {vae.settings_of(name).lr_factor for name in ("nvil", "muprop")} == {10.0}


@pytest.mark.parametrize("preset", ["smoke", "quick", "long", "rates", "paper"])
def test_no_preset_changes_beta2_or_the_batch(preset):
    chosen = composed("vae", [f"preset=vae/{preset}"])
    assert (chosen.beta2, chosen.batch) == (0.99999, 24)


def test_an_epoch_has_whole_batches_only():
    assert Vae(epochs=3, batch=24).total_steps(100) == 12
    assert Vae(epochs=3, batch=24, steps=5).total_steps(100) == 5

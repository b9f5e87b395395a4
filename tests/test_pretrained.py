import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from models import LATENT_DIM, define_generator
from scipy import stats
from sklearn.linear_model import LogisticRegression

from keras_gen import (
    DataUnavailable,
    confident_share,
    generate_latent_points,
    load_dataset,
    sample_diffusion,
    sample_pixels,
    sees,
)
from keras_gen import pretrained as module
from keras_gen.judge import Judge, predict_labels
from keras_gen.pretrained import load_pretrained, read_recipe, save_pretrained
from trainings import digits_flow
from trainings.digits_pixelcnn import pixel_order


@pytest.mark.every_backend
def test_the_generator_draws_faces():
    generator = load_pretrained("faces_generator")
    assert {weight.dtype for weight in generator.weights} == {"float32"}
    np.random.seed(0)
    images = generator.predict(generate_latent_points(100, 500), verbose=0)
    assert images.shape == (500, 32, 32, 3) and -1 <= images.min() < -0.8 and 0.8 < images.max() <= 1
    real = load_dataset("faces")[1][0][:500] / 127.5 - 1
    for statistic in (np.mean, np.std):  # of each pixel: the same layout, and as much variety
        ours, theirs = statistic(images, axis=0), statistic(real, axis=0)
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.8
        assert np.abs(ours - theirs).mean() < 0.15


@pytest.mark.every_backend
def test_the_vae_finds_faces_again_and_its_code_says_what_they_are():
    vae = load_pretrained("faces_vae")
    x, labels = load_dataset("faces")[1]
    x = x[:600] / np.float32(255)
    variance = np.mean((x - x.mean(axis=0)) ** 2)
    assert np.mean((vae.predict(x, verbose=0) - x) ** 2) < variance / 15
    codes, _ = vae.encoder.predict(x, verbose=0)
    for bit in range(4):  # smiling, glasses, man, old: chance is one half
        attribute = labels[:600] >> bit & 1
        reader = LogisticRegression().fit(codes[:400], attribute[:400])
        assert reader.score(codes[400:], attribute[400:]) > 0.95


@pytest.mark.every_backend
@pytest.mark.parametrize(("name", "n_classes", "obeyed"), [("cifar10_dcgan", None, 0), ("cifar10_acgan", 10, 0.7)])
def test_the_photographs_are_of_all_classes_and_of_the_one_asked_for(name, n_classes, obeyed):
    """By the judge of CIFAR-10, which calls three quarters of real photographs what they are; chance is a tenth."""
    np.random.seed(0)
    points = generate_latent_points(100, 500, n_classes)
    images = load_pretrained(name).predict(points, verbose=0)
    assert images.shape == (500, 32, 32, 3) and -1 <= images.min() < -0.8 and 0.8 < images.max() <= 1
    assert images.std(axis=0).mean() > 0.3  # they differ; real photographs have 0.5
    calls = predict_labels(Judge(load_pretrained("judge_cifar10"), "cifar10", 0), images)
    assert np.bincount(calls, minlength=10).min() >= 5  # of 50, were all equally many
    if n_classes:
        assert np.mean(calls == points[1][:, 0]) > obeyed


@pytest.mark.every_backend
@pytest.mark.parametrize("name", ["mnist_cgan", "digits_diffusion"])
def test_the_digits_are_the_ones_asked_for_and_differ(name):
    model = load_pretrained(name)
    if name == "mnist_cgan":
        np.random.seed(0)
        points = generate_latent_points(100, 500, 10)
        labels = points[1][:, 0]
        images = model.predict(points, verbose=0)
    else:
        labels = np.arange(200) % 10
        images = sample_diffusion(model, 200, n_steps=10, labels=labels, guidance=1.0)
    assert images.shape == (len(labels), 28, 28, 1) and -1 <= images.min() < -0.99 and 0.99 < images.max() <= 1
    calls = predict_labels(Judge(load_pretrained("judge_mnist"), "mnist", 0), images)
    assert np.mean(calls == labels) > 0.98
    for digit in range(10):  # one picture for each digit would have 0; the thin ones have 0.14
        assert images[labels == digit].std(axis=0).mean() > 0.08


@pytest.mark.every_backend
def test_the_pixelcnn_sees_no_later_pixel():
    order = pixel_order()
    assert not np.triu(sees(load_pretrained("digits_pixelcnn"))[order][:, order]).any()


def test_the_pixelcnn_draws_digits():
    drawn = sample_pixels(load_pretrained("digits_pixelcnn"), 30, seed=0, order=pixel_order())
    judge = Judge(load_pretrained("judge_mnist"), "mnist", 0)
    assert confident_share(judge, 2 * drawn - 1) > 0.6  # of binary test images it is sure in 95 %
    assert len(set(predict_labels(judge, 2 * drawn - 1))) >= 6  # of 30 even draws ten kinds, or nine
    assert drawn.std(axis=0).mean() > 0.15  # one picture again and again would have 0


@pytest.mark.every_backend
def test_the_flow_gives_its_draws_a_higher_density_than_noise():
    networks = load_pretrained("digits_flow")
    flow = digits_flow.define_flow(networks)
    draws = digits_flow.sample(networks, SimpleNamespace(to_images=lambda z: z), 50, 1.0, seed=0)
    noise = np.random.default_rng(0).standard_normal(draws.shape)
    log_p = [flow.predict(z, verbose=0).mean() for z in (draws, noise)]
    assert log_p[0] > log_p[1] + 100
    # On its draws it is what a change of variables makes of the noise that they were.
    assert log_p[0] > stats.norm.logpdf(draws).sum(axis=(1, 2, 3)).mean() + 100


def test_the_files_are_small():
    files = sorted(module.FOLDER.iterdir())
    sizes = [path.stat().st_size for path in files]
    assert max(sizes) < 3e6 and sum(sizes) < 20e6  # all of them are downloaded with the project
    for path in files:
        with np.load(path) as arrays:  # no pickle in it
            others = {"config", "test_accuracy"}
            assert {arrays[name].dtype.kind + str(arrays[name].itemsize) for name in set(arrays) - others} == {"f2"}
            assert ("test_accuracy" in arrays) == path.name.startswith("judge_")


def settings(config):
    """All pairs of a setting's name and its value in a model's configuration."""
    if isinstance(config, dict):
        yield from config.items()
    for part in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from settings(part)


def test_the_files_hold_no_setting_that_older_versions_of_keras_refuse():
    for path in module.FOLDER.iterdir():
        with np.load(path) as file:
            found = list(settings(json.loads(file["config"].item())))
        assert [name for name, value in found if value is None and name != "registered_name"] == []
        assert not {"renorm", "renorm_momentum"} & {name for name, _ in found}
        assert len(found) > 50


def test_a_setting_that_is_not_at_its_default_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setitem(module.NEW_DEFAULTS, "momentum", 0.99)
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization(momentum=0.5)])
    save_pretrained(model, tmp_path / "tiny.npz")
    assert load_pretrained("tiny").layers[0].momentum == 0.5


def loss_of_the_script(y, y_hat):
    return keras.ops.mean(y - y_hat)


@pytest.mark.every_backend
def test_saved_and_loaded_it_is_the_same_up_to_rounding(tmp_path, monkeypatch):
    """Whatever loss and schedule it was compiled with: the file holds none of it."""
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    model = define_generator()
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    model.compile(keras.optimizers.Adam(schedule), loss=loss_of_the_script)
    save_pretrained(model, tmp_path / "tiny.npz")
    loaded = load_pretrained("tiny")
    assert not loaded.compiled and loaded.name == "generator"
    for ours, weight in zip(loaded.get_weights(), model.get_weights(), strict=True):
        assert ours.dtype == "float32" and np.array_equal(ours, weight.astype("float16"))
    points = np.ones((2, LATENT_DIM), "float32")
    np.testing.assert_allclose(loaded.predict_on_batch(points), model.predict_on_batch(points), atol=2e-3)


def test_what_cannot_be_loaded(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="'cats' in pretrained; there are: cifar10_acgan, cifar10_dcgan, digits_"):
        load_pretrained("cats")
    with pytest.raises(ValueError, match="Did you mean 'faces_vae'"):
        load_pretrained("Faces_VAE")
    (tmp_path / "elsewhere").mkdir()
    save_pretrained(define_generator(), tmp_path / "elsewhere/foreign.npz")
    here = module.FOLDER / "faces_generator"
    for name in (
        str(tmp_path / "elsewhere/foreign"),
        str(here),
        f"../pretrained/{here.name}",
        f"./{here.name}",
        "",
        None,
        ["a"],
    ):
        with pytest.raises(ValueError, match="There is no pretrained model"):  # no path, though a file be there
            load_pretrained(name)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="there are: none"):
        load_pretrained()
    (tmp_path / "faces_generator.npz").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(DataUnavailable, match="damaged"):
        load_pretrained()
    save_pretrained(define_generator(), tmp_path / "faces_generator.npz")
    with np.load(tmp_path / "faces_generator.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "faces_generator.npz", **arrays | {"0": arrays["0"] * np.nan})
    with pytest.raises(DataUnavailable, match="not finite"):
        load_pretrained()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_file_is_written_whole_or_not_at_all(error, tmp_path, monkeypatch):
    path = tmp_path / "tiny.npz"
    save_pretrained(define_generator(), path)
    whole = path.read_bytes()

    def interrupted(file, **arrays):
        file.write(b"half a model")
        raise error

    monkeypatch.setattr(module.np, "savez", interrupted)
    with pytest.raises(type(error) if isinstance(error, OSError) else error):
        save_pretrained(define_generator(), path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"tiny.npz": whole}


def test_weights_that_float16_cannot_hold_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="last")])
    for value in (65_520.0, -1e6, np.inf, np.nan):
        model.set_weights([np.full((2, 1), 0.5), np.array([value])])
        with pytest.raises(ValueError, match=r"last/bias reaches .* up to 65504"):
            save_pretrained(model, tmp_path / "tiny.npz")
    assert not list(tmp_path.iterdir())
    model.set_weights([np.full((2, 1), 0.5), np.array([65_504.0])])
    save_pretrained(model, tmp_path / "tiny.npz", test_accuracy=0.25)
    with np.load(tmp_path / "tiny.npz") as file:
        assert float(file["test_accuracy"]) == 0.25


@pytest.mark.every_backend
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_float32_whatever_the_policy_that_it_was_saved_or_loaded_under(policy, tmp_path, monkeypatch):
    shipped, points = load_pretrained("faces_generator"), np.ones((2, 100), "float32")
    wanted = shipped.predict_on_batch(points)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        under = load_pretrained("faces_generator").predict_on_batch(points)
        mixed = define_generator()
        save_pretrained(mixed, tmp_path / "tiny.npz")
        monkeypatch.setattr(module, "FOLDER", tmp_path)
        tiny = load_pretrained("tiny")
        assert keras.config.dtype_policy().name == policy
    finally:
        keras.config.set_dtype_policy(before)
    np.testing.assert_array_equal(under, wanted)
    assert {layer.compute_dtype for layer in tiny.layers} == {"float32"} and mixed.layers[1].compute_dtype != "float32"
    assert tiny.predict_on_batch(np.ones((2, LATENT_DIM), "float32")).dtype == "float32"


def test_the_recipe_of_every_shipped_model_can_be_read():
    for name in module.shipped_files():
        recipe = read_recipe(name)
        compile(recipe, name, "exec")
        assert "def train(" in recipe and "def score(" in recipe
    assert "FadedColours" in read_recipe("zebra2horse") and "train_judge" in read_recipe("judge_digits")
    with pytest.raises(ValueError, match=r"no pretrained model 'horse_zebra' .* mean 'horse2zebra'\?"):
        read_recipe("horse_zebra")

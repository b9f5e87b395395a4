import json

import keras
import numpy as np
import pretrained as tool
import pytest
from models import LATENT_DIM, define_generator
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from keras_gen import DataUnavailable, generate_latent_points, gradient, load_dataset
from keras_gen import pretrained as module
from keras_gen.judge import Judge, predict_labels
from keras_gen.pretrained import load_pretrained, save_pretrained


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


def test_the_files_are_small():
    files = sorted(module.FOLDER.iterdir())
    judges = [f"judge_{name}.npz" for name in ("cifar10", "digits", "faces", "mnist")]
    generators = ["cifar10_acgan.npz", "cifar10_dcgan.npz", "faces_generator.npz", "faces_vae.npz"]
    assert [path.name for path in files] == [*generators, *judges]
    assert max(path.stat().st_size for path in files if path.name in judges) < 0.5e6
    assert max(path.stat().st_size for path in files) < 3e6
    assert sum(path.stat().st_size for path in files) < 9e6
    for path in files:
        with np.load(path) as arrays:  # no pickle in it
            assert {arrays[name].dtype.kind + str(arrays[name].itemsize) for name in arrays if name != "config"} == {
                "f2"
            }


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
    with pytest.raises(ValueError, match="'cats' in pretrained; there are: cifar10_acgan, cifar10_dcgan, faces_"):
        load_pretrained("cats")
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="there are: none"):
        load_pretrained()
    (tmp_path / "faces_generator.npz").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(DataUnavailable, match="damaged"):
        load_pretrained()


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("name", "define"),
    [
        ("faces_generator", tool.define_generator),
        ("cifar10_dcgan", tool.define_lecture_generator),
        ("cifar10_acgan", tool.define_photo_generator),
        ("faces_vae", tool.define_vae),
    ],
)
def test_the_tool_builds_what_ships(name, define):
    """The files' weights, in the tool's networks, draw the files' images."""
    ours, shipped = define(), load_pretrained(name)
    ours.set_weights(shipped.get_weights())
    ours, shipped = (getattr(model, "decoder", model) for model in (ours, shipped))
    latent_dim = shipped.inputs[0].shape[-1]
    points = generate_latent_points(latent_dim, 4, 10 if len(shipped.inputs) > 1 else None)
    np.testing.assert_allclose(ours.predict(points, verbose=0), shipped.predict(points, verbose=0), atol=1e-5)


@pytest.mark.every_backend
def test_the_spread_of_a_batch_has_a_slope_where_all_images_are_alike():
    x = np.random.default_rng(0).normal(size=(8, 4, 4, 3)).astype("float32")
    layer = tool.BatchSpread()
    widened = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_array_equal(widened[..., :3], x)
    np.testing.assert_allclose(widened[..., 3], x.std(axis=0).mean(), rtol=1e-5)
    assert np.isfinite(keras.ops.convert_to_numpy(gradient(layer, np.ones((8, 4, 4, 3), "float32")))).all()


@pytest.mark.every_backend
def test_a_class_that_is_not_asked_for_does_not_pull():
    """The AC-GAN's fakes. The slope of cross-entropy at the logits is the softmax less the right class's one."""
    logits = np.array([[2, 1, 0], [0, 3, 1]], "float32")
    labels = np.array([[tool.NOT_ASKED], [2]])
    slope = keras.ops.convert_to_numpy(gradient(lambda x: tool.CLASS_LOSS(labels, x), logits))
    np.testing.assert_array_equal(slope[0], 0)
    np.testing.assert_allclose(slope[1], softmax(logits[1]) - [0, 0, 1], rtol=1e-5)

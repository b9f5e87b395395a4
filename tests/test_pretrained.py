import json
from functools import partial

import keras
import numpy as np
import pretrained as tool
import pytest
from models import LATENT_DIM, define_generator
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from keras_gen import (
    DataUnavailable,
    define_composite_model,
    generate_latent_points,
    gradient,
    load_dataset,
    load_domains,
    to_tanh,
    train_only,
)
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
    generators = ["cifar10_acgan.npz", "cifar10_dcgan.npz", "faces_generator.npz", "faces_vae.npz", "horse2zebra.npz"]
    assert [path.name for path in files] == [*generators, *judges, "zebra2horse.npz"]
    assert max(path.stat().st_size for path in files if path.name in judges) < 0.5e6
    assert max(path.stat().st_size for path in files) < 3e6
    assert sum(path.stat().st_size for path in files) < 14e6
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
    with pytest.raises(ValueError, match="'cats' in pretrained; there are: cifar10_acgan, cifar10_dcgan, faces_"):
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


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("name", "define"),
    [
        ("faces_generator", tool.define_generator),
        ("cifar10_dcgan", tool.define_lecture_generator),
        ("cifar10_acgan", tool.define_photo_generator),
        ("faces_vae", tool.define_vae),
        ("horse2zebra", tool.define_translator),
        ("zebra2horse", tool.define_translator),
    ],
)
def test_the_tool_builds_what_ships(name, define):
    """The files' weights, in the tool's networks, draw the files' images."""
    ours, shipped = define(), load_pretrained(name)
    ours.set_weights(shipped.get_weights())
    ours, shipped = (getattr(model, "decoder", model) for model in (ours, shipped))
    if shipped.inputs[0].shape[-1] == 3:  # photographs, not points
        x = to_tanh(load_domains("fruits", 32)[1][0][:4])
    else:
        x = generate_latent_points(shipped.inputs[0].shape[-1], 4, 10 if len(shipped.inputs) > 1 else None)
    np.testing.assert_allclose(ours.predict(x, verbose=0), shipped.predict(x, verbose=0), atol=1e-5)


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


def test_a_crop_is_a_piece_of_a_photograph_or_its_mirror_image(monkeypatch):
    monkeypatch.setattr(tool, "CROP", 8)
    monkeypatch.setattr(tool, "MARGIN", 2)
    photographs = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), "uint8")
    windows = np.lib.stride_tricks.sliding_window_view(photographs, (8, 8), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)
    np.random.seed(0)
    found = []
    for piece in tool.crop(photographs, 200):
        for mirrored in (False, True):
            wanted = np.round((piece[:, ::-1] if mirrored else piece) * 127.5 + 127.5).astype("uint8")
            found += [(*where, mirrored) for where in np.argwhere((windows == wanted).all(axis=(3, 4, 5)))]
    assert len(found) == 200  # each is one of them, once
    which, top, left, mirrored = np.transpose(found)
    assert set(which) == {0, 1, 2} and 60 < mirrored.sum() < 140 and (top != left).mean() > 0.5
    assert top.min() == left.min() == 2 and top.max() == left.max() == 10  # 20 pixels less the margin and the piece


@pytest.mark.every_backend
def test_faded_colours():
    """By what it must leave: within an image, grey levels keep their order and colours their hue."""
    x = np.random.default_rng(0).uniform(-1, 1, (200, 6, 6, 3)).astype("float32")
    layer = tool.FadedColours()
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x)), x)
    y = keras.ops.convert_to_numpy(layer(x, training=True))
    luma = [0.299, 0.587, 0.114]  # of ITU-R BT.601
    before, after = x @ luma, y @ luma
    contrast = after.std(axis=(1, 2)) / before.std(axis=(1, 2))
    brightness = after.mean(axis=(1, 2)) - x.mean(axis=(1, 2, 3))
    for image in range(5):
        assert np.corrcoef(before[image].ravel(), after[image].ravel())[0, 1] > 0.99999
        colour = [(images[image] - levels[image][..., None]).ravel() for images, levels in ((x, before), (y, after))]
        assert np.corrcoef(*colour)[0, 1] > 0.9999
    spread = [(images - levels[..., None]).std(axis=(1, 2, 3)) for images, levels in ((x, before), (y, after))]
    saturation = spread[1] / spread[0] / contrast
    for drawn, lowest, highest in ((saturation, 0, 1), (contrast, 0.6, 1.4)):
        assert lowest <= drawn.min() < lowest + 0.1 and highest - 0.1 < drawn.max() <= highest + 1e-3
    assert (
        -0.4 < brightness.min() < -0.15 and 0.15 < brightness.max() < 0.4
    )  # the means of grey and colour differ a bit
    assert np.abs(np.corrcoef([saturation, contrast, brightness]) - np.eye(3)).max() < 0.3  # each on its own
    again = keras.ops.convert_to_numpy(layer(x, training=True))
    assert np.abs(again - y).max() > 0.1


@pytest.mark.every_backend
def test_the_joint_model_gives_the_gradients_of_the_lectures_two_composites(monkeypatch):
    """A step of plain gradient descent is the gradient."""
    monkeypatch.setattr(tool, "CROP", 16)
    monkeypatch.setattr(tool.FadedColours, "call", lambda self, x, training=None: x)
    monkeypatch.setattr(keras.optimizers, "Adam", lambda *args, **kwargs: keras.optimizers.SGD(1.0))
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(-1, 1, (2, 16, 16, 3)).astype("float32") for _ in "ab")
    ones = np.ones((2, 4, 4, 1), "float32")
    moved = []
    for joint in (True, False):
        keras.utils.set_random_seed(1)
        g_1, g_2 = (tool.define_translator(name, width=4, n_blocks=1) for name in ("AtoB", "BtoA"))
        d_A, d_B = (tool.define_patch_discriminator(name, width=4) for name in ("d_A", "d_B"))
        networks = g_1, g_2, d_A, d_B
        before = [network.get_weights() for network in networks]
        if joint:
            model = tool.define_joint_model(*networks)
            wanted = {"adversarial_A": ones, "adversarial_B": ones, "cycle_A": a, "cycle_B": b}
            train_only([g_1, g_2], networks, model, [a, b], wanted)
            after = [network.get_weights() for network in networks]
        else:
            after = [None, None, *before[2:]]
            for i, (network, d_model, other, x_1, x_2) in enumerate(((g_1, d_B, g_2, a, b), (g_2, d_A, g_1, b, a))):
                model = define_composite_model(network, d_model, other, (16, 16, 3), (1, 0, tool.CYCLE, tool.CYCLE))
                wanted = {"adversarial": ones, "identity": x_2, "forward_cycle": x_1, "backward_cycle": x_2}
                train_only(network, networks, model, [x_1, x_2], wanted)
                after[i] = network.get_weights()
                network.set_weights(before[i])  # the other one's step starts from the same place
        moved.append([now - was for pair in zip(after, before, strict=True) for now, was in zip(*pair, strict=True)])
    for ours, theirs in zip(*moved, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * max(1, np.abs(theirs).max()))
    assert max(np.abs(difference).max() for difference in moved[0]) > 1e-2


def test_the_translators_training_moves_all_networks_and_writes_averages(tmp_path, monkeypatch):
    tiny = {"CROP": 16, "MARGIN": 4, "CROPS": 6, "HORSE_PIXELS": 40, "HORSE_EPOCHS": 3, "HORSE_STEPS": 2}
    for name, value in (tiny | {"FOLDER": tmp_path, "SHOWN_LATER": 3}).items():
        monkeypatch.setattr(tool, name, value)
    rng = np.random.default_rng(0)
    domains = tuple(rng.integers(low, low + 128, (5, 40, 40, 3), "uint8") for low in (0, 128))  # dark ones, bright ones
    monkeypatch.setattr(tool.kg, "load_domains", lambda name, size: (domains, None))
    made, seen, rates = {}, [], {}

    def kept(define):
        def define_and_keep(name):
            made[name] = define(name, width=4), []
            made[name][1].append(made[name][0].get_weights())
            return made[name][0]

        return define_and_keep

    monkeypatch.setattr(tool, "define_translator", kept(partial(tool.define_translator, n_blocks=1)))
    monkeypatch.setattr(tool, "define_patch_discriminator", kept(tool.define_patch_discriminator))

    def spied(network, networks, model, x, labels):
        logs = train_only(network, networks, model, x, labels)
        seen.append((getattr(network, "name", "both"), model, x, labels))
        rates.setdefault(model.name, []).append(float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))
        if seen[-1][0] == "both":
            for one in network:
                made[one.name][1].append(one.get_weights())
        return logs

    monkeypatch.setattr(tool.kg, "train_only", spied)
    monkeypatch.chdir(tmp_path)
    tool.train_translators()
    for network, (before, *_) in made.values():
        moved = [np.abs(now - was).max() for now, was in zip(network.get_weights(), before, strict=True)]
        assert max(moved) > 1e-4
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    for file, name in (("horse2zebra", "AtoB"), ("zebra2horse", "BtoA")):
        steps = made[name][1][1:]
        assert len(steps) == 6
        averages = steps[0]
        for weights in steps[1:]:
            averages = [0.998 * average + 0.002 * now for average, now in zip(averages, weights, strict=True)]
        for latest, weight in zip(steps[-1], made[name][0].get_weights(), strict=True):
            np.testing.assert_array_equal(latest, weight)  # the training went on from here, and not from the averages
        for ours, average in zip(load_pretrained(file).get_weights(), averages, strict=True):
            np.testing.assert_allclose(ours, average, atol=1e-5, rtol=1e-3)
    # A discriminator's batch: six real ones, two translated now, two earlier, two photographs of the other domain.
    for name, own in (("d_A", 0), ("d_B", 1)):
        batches = [given for given in seen if given[0] == name]
        earlier, remembered = [], 0
        for _, model, x, labels in batches:
            assert model is made[name][0] and labels[:6].min() == 1 and labels[6:].max() == 0 and len(x) == 12
            for images, domain in ((x[:6], own), (x[-2:], 1 - own)):
                assert (images < 0).all() if domain == 0 else (images > 0).all()
            from_before = [any(np.array_equal(old, one) for one in earlier) for old in x[8:10]]
            from_now = [any(np.array_equal(old, one) for one in x[6:8]) for old in x[8:10]]
            assert all(before or now for before, now in zip(from_before, from_now, strict=True))
            remembered += sum(from_before)
            earlier += list(x[6:8])
        assert remembered > 0
    for name in ("joint", "d_A", "d_B"):  # three epochs of two steps, the last one past the middle
        np.testing.assert_allclose(rates[name], tool.HORSE_RATE * np.array([1, 1, 1, 1, 2 / 3, 2 / 3]), rtol=1e-5)
    assert (tmp_path / "runs" / "horse2zebra").is_dir()

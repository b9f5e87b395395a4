from functools import partial

import keras
import models
import numpy as np
import pytest
from short_trainings import assert_same_saves, is_kept, moved, set_all, stop_and_go_on

import keras_gen as kg
from keras_gen.judge import Judge
from trainings import horse2zebra as training


@pytest.fixture
def short(monkeypatch):
    """Two epochs of two steps on dark horses and bright zebras, by translators of two layers."""
    rng = np.random.default_rng(0)
    domains = tuple(rng.integers(low, low + 128, (5, 40, 40, 3), "uint8") for low in (0, 128))
    monkeypatch.setattr(kg, "load_domains", lambda name, size: (domains, None))
    set_all(monkeypatch, training, CROP=16, MARGIN=4, STEPS=2, EPOCHS=2, REMEMBERED=3)
    monkeypatch.setattr(training, "define_translator", partial(models.define_translator, shape=(None, None, 3)))
    return domains


def test_all_networks_move_averages_are_kept_and_a_stopped_run_ends_alike(folder, short, begun, tmp_path, monkeypatch):
    latest, fakes, original = [], {}, kg.train_only

    def spied(network, networks, model, x, y):
        if model.name == "joint":
            a, b = x
            assert (a < 0.01).all() and (b > -0.01).all() and y["cycle_A"] is a and y["cycle_B"] is b
            assert (y["adversarial_A"] == 1).all() and (y["adversarial_B"] == 1).all()
            fakes["d_A"], fakes["d_B"] = networks[1].predict_on_batch(b), networks[0].predict_on_batch(a)
        else:
            assert (x[:8] < 0.01).all() if model.name == "d_A" else (x[:8] > -0.01).all()
            np.testing.assert_array_equal(x[8:10], fakes[model.name])
            assert (y[:8] == 1).all() and (y[8:] == 0).all()
        logs = original(network, networks, model, x, y)
        if model.name == "joint":
            latest.append([one.get_weights() for one in network])
        return logs

    with monkeypatch.context() as patch:
        patch.setattr(kg, "train_only", spied)
        patch.setattr(training, "RUNS", tmp_path / "whole")
        training.train()
    networks = begun[0]
    for name in ("AtoB", "BtoA", "d_A", "d_B"):
        assert moved(*networks[name]) > 1e-4

    for i, (name, file) in enumerate((("AtoB", "horse2zebra"), ("BtoA", "zebra2horse"))):
        averages = latest[0][i]
        for step in latest[1:]:
            averages = [0.998 * average + 0.002 * now for average, now in zip(averages, step[i], strict=True)]
        kept = kg.load_pretrained(file).get_weights()
        for ours, average in zip(kept, averages, strict=True):
            np.testing.assert_allclose(ours, average, atol=1e-5, rtol=1e-3)
        assert not is_kept(file, latest[-1][i])
        for weight, now in zip(networks[name][0].get_weights(), latest[-1][i], strict=True):
            np.testing.assert_array_equal(weight, now)  # the training would go on from here

    stop_and_go_on(training, tmp_path / "in_two", monkeypatch, at_call=8)  # three calls a step
    assert_same_saves(tmp_path / "whole", tmp_path / "in_two")


def test_a_discriminators_batch(short, monkeypatch):
    """Eight real ones; of this step, of earlier ones, of the other domain."""
    horses, zebras = short
    pool = kg.ImagePool(3)
    seen = []
    for step in range(8):
        fakes = np.stack([np.full((16, 16, 3), step / 8 + i / 16, "float32") for i in range(2)])
        x = training.discriminator_batch(horses, zebras, fakes, pool)
        assert x.shape == (16, 16, 16, 3)
        assert (x[:8] < 0.01).all() and (x[-2:] > -0.01).all()  # dark, bright
        np.testing.assert_array_equal(x[8:10], fakes)
        seen.append(x[10:14, 0, 0, 0])
        assert np.isin(x[10:14].min(axis=(1, 2, 3)), [*np.arange(2 * step + 2) / 16]).all()
        assert len(pool.images) == min(3, 2 * step + 2) and np.isin(
            fakes[-1, 0, 0, 0], [y[0, 0, 0] for y in pool.images]
        )
    assert any((old < step / 8).any() for step, old in enumerate(seen))
    assert len(np.unique(seen)) > 5


def test_rates_fall_from_the_middle_on(folder, short, tmp_path, monkeypatch):
    found = []
    set_all(monkeypatch, training, EPOCHS=3, STEPS=1, RUNS=tmp_path / "runs")

    def step_of(network, networks, model, x, y):
        found.append((model.name, float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))))
        model.optimizer.build(model.trainable_variables)
        return {"loss": 0.0}

    monkeypatch.setattr(kg, "train_only", step_of)
    training.train()
    for name in ("joint", "d_A", "d_B"):
        rates = [rate for who, rate in found if who == name]
        np.testing.assert_allclose(rates, [4e-4, 4e-4, 4e-4 * 2 / 3], rtol=1e-5)


def test_a_crop_is_a_piece_of_a_photograph_or_its_mirror_image(monkeypatch):
    set_all(monkeypatch, training, CROP=8, MARGIN=2)
    photographs = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), "uint8")
    windows = np.lib.stride_tricks.sliding_window_view(photographs, (8, 8), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)
    np.random.seed(0)
    found = []
    for piece in training.crop(photographs, 200):
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
    layer = training.FadedColours()
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
    # The means of grey and of colour differ a bit.
    assert -0.4 < brightness.min() < -0.15 and 0.15 < brightness.max() < 0.4
    assert np.abs(np.corrcoef([saturation, contrast, brightness]) - np.eye(3)).max() < 0.3  # each on its own
    again = keras.ops.convert_to_numpy(layer(x, training=True))
    assert np.abs(again - y).max() > 0.1


@pytest.mark.every_backend
def test_the_joint_model_gives_the_gradients_of_the_lectures_two_composites(monkeypatch):
    """A step of plain gradient descent is the gradient."""
    monkeypatch.setattr(training, "CROP", 16)
    monkeypatch.setattr(keras.optimizers, "Adam", lambda *args, **kwargs: keras.optimizers.SGD(1.0))
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(-1, 1, (2, 16, 16, 3)).astype("float32") for _ in "ab")
    ones = np.ones((2, 8, 8, 1), "float32")
    steps = []
    for joint in (True, False):
        keras.utils.set_random_seed(1)
        g_1, g_2 = (models.define_translator(name, (16, 16, 3)) for name in ("AtoB", "BtoA"))
        d_A, d_B = (models.define_patch_discriminator(name, (16, 16, 3)) for name in ("d_A", "d_B"))
        networks = g_1, g_2, d_A, d_B
        before = [network.get_weights() for network in networks]
        if joint:
            model = training.define_joint_model(*networks)
            wanted = {"adversarial_A": ones, "adversarial_B": ones, "cycle_A": a, "cycle_B": b}
            kg.train_only([g_1, g_2], networks, model, [a, b], wanted)
            after = [network.get_weights() for network in networks]
        else:
            after = [None, None, *before[2:]]
            for i, (network, d_model, other, x_1, x_2) in enumerate(((g_1, d_B, g_2, a, b), (g_2, d_A, g_1, b, a))):
                losses = (1, 0, training.CYCLE, training.CYCLE)
                model = kg.define_composite_model(network, d_model, other, (16, 16, 3), losses)
                wanted = {"adversarial": ones, "identity": x_2, "forward_cycle": x_1, "backward_cycle": x_2}
                kg.train_only(network, networks, model, [x_1, x_2], wanted)
                after[i] = network.get_weights()
                network.set_weights(before[i])  # the other one's step starts from the same place
        steps.append([now - was for pair in zip(after, before, strict=True) for now, was in zip(*pair, strict=True)])
    for ours, theirs in zip(*steps, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * max(1, np.abs(theirs).max()))
    assert max(np.abs(difference).max() for difference in steps[0]) > 1e-2


class Translator:
    """A translator whose pictures are known: dark becomes bright and bright dark, but for a black edge."""

    def __init__(self, factor):
        self.factor = factor

    def predict(self, x, batch_size, verbose):
        y = self.factor * x
        y[:, :, 0] = -1
        return y


def test_the_score_of_known_translators(monkeypatch, capsys):
    """Dark horses, bright zebras; two judges look at the brightness, the third sees zebras everywhere."""
    horses, zebras = np.full((8, 16, 16, 3), 51, "uint8"), np.full((5, 16, 16, 3), 178, "uint8")  # -0.6, 0.4
    zebras[0] = 102  # -0.2: one in five looks like a horse
    horses[:, :, 0] = zebras[:, :, 0] = 0
    sets = (horses[:2], zebras[1:]), (horses, zebras)
    monkeypatch.setattr(kg, "load_domains", lambda name, size: sets)
    monkeypatch.setattr(kg, "load_pretrained", {"horse2zebra": Translator(-0.5), "zebra2horse": Translator(-1.0)}.get)
    image = keras.Input((8, 8, 3), dtype="uint8")
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 127.5, offset=-1)(image))
    kernel = np.zeros((3, 2))
    kernel[0, 1] = 1.0
    learnt = []

    def train_judge(parts):
        learnt.append(parts)
        model = keras.Model(image, [features, keras.layers.Dense(2)(features)])
        model.layers[-1].set_weights([kernel, np.float32([0, 9 if len(learnt) == 3 else 0])])
        return Judge(model, "animals", 1.0)

    monkeypatch.setattr(kg, "train_judge", train_judge)
    training.score()
    assert capsys.readouterr().out.splitlines() == [
        "horses: taken for the other 33% (0% to 100%), translated 100% (100% to 100%); "
        "L1 of the translation 0.844, there and back 0.281",
        "zebras: taken for the other 13% (0% to 20%), translated 53% (0% to 80%); "
        "L1 of the translation 0.669, there and back 0.167",
    ]
    for (x_train, y_train), (x_test, y_test) in learnt:
        assert sorted(y_train) == [0] * 2 + [1] * 4 and list(y_test) == [0] * 8 + [1] * 5
        assert x_train.shape == (6, 8, 8, 3)
        assert (x_train[y_train == 0] < 0).all() and (x_train[y_train == 1, :, 1:] > 0).all()
        np.testing.assert_allclose(x_test[:, 0, 3, 0], [-0.6] * 8 + [-0.2] + [0.396] * 4, atol=1e-3)
    orders = {tuple(y_train) for (_, y_train), _ in learnt}
    assert len(learnt) == 3 and len(orders) > 1


def test_halved_is_the_mean_of_four_pixels():
    x = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3), "uint8")
    expected = [[x[1, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(axis=(0, 1)) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(training.halved(x)[1], np.array(expected) / 127.5 - 1, atol=1e-6)

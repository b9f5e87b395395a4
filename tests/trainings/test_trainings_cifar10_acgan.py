import keras
import numpy as np
import pytest
from scipy.special import softmax
from short_trainings import (
    assert_same_saves,
    is_kept,
    moved,
    random_photographs,
    set_all,
    stop_and_go_on,
    train_watched,
)

import keras_gen as kg
from keras_gen.judge import Judge
from trainings import cifar10_acgan as training


@pytest.fixture
def short(monkeypatch):
    """Two epochs of two steps on random photographs."""
    photographs = random_photographs()
    monkeypatch.setattr(kg, "load_dataset", lambda name: photographs)
    set_all(monkeypatch, training, IMAGES=16, BATCH=8, EPOCHS=2)
    return photographs


def test_both_networks_move_averages_are_kept_and_a_stopped_run_ends_alike(
    folder, short, begun, tmp_path, monkeypatch, capsys
):
    latest, given, rates = train_watched(training, tmp_path / "whole", monkeypatch)
    out = capsys.readouterr().out
    assert "epoch 2: feature distance to 80 test images" in out and "variety of each class" in out
    (networks,) = begun
    assert networks["n_steps"] == 2
    for name in ("generator", "discriminator"):
        assert moved(*networks[name]) > 1e-4
    # Both rates have gone four steps of the generator's 100 epochs.
    for rate in rates.values():
        np.testing.assert_allclose(rate, 2e-4 * (1 + np.cos(np.pi * 4 / 200)) / 2, rtol=1e-6)

    averages = latest[0]
    for step in latest[1:]:
        averages = [0.999 * average + 0.001 * now for average, now in zip(averages, step, strict=True)]
    generator = kg.load_pretrained("cifar10_acgan")
    assert {layer.compute_dtype for layer in generator.layers} <= {"float32", "int32"}
    for ours, average in zip(generator.trainable_variables, averages, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(ours), average, atol=1e-5, rtol=1e-3)
    assert not is_kept("cifar10_acgan", networks["generator"][0].get_weights())
    # Its moving statistics are those of its own batches: with them it draws as it does while it trains.
    points = kg.generate_latent_points(100, 500, 10)
    ours, as_it_trains = generator(points), generator(points, training=True)
    assert np.abs(keras.ops.convert_to_numpy(ours - as_it_trains)).mean() < 0.01

    # In each step: real ones with their class, fakes of which none is asked, and for G the classes that it was told.
    x, labels = short[0]
    mirrored = []
    for i in range(0, len(given), 3):
        (_, real, y_real), (_, _, y_fake), (who, (_, told), y) = given[i : i + 3]
        assert who == "gan" and (y_real["real"] == 1).all() and (y_fake["real"] == 0).all() and (y["real"] == 1).all()
        assert (y_fake["class"] == training.NOT_ASKED).all()
        np.testing.assert_array_equal(y["class"], told)
        for image, label in zip(real, y_real["class"], strict=True):
            both = [(ix, way) for ix in range(16) for way in (1, -1)]
            ((ix, way),) = [(ix, way) for ix, way in both if np.array_equal(image, kg.to_tanh(x[ix][:, ::way]))]
            assert labels[ix] == label
            mirrored.append(way == -1)
    assert len(mirrored) == 16 and 3 < sum(mirrored) < 13

    stop_and_go_on(training, tmp_path / "in_two", monkeypatch, at_call=8)  # three calls a step
    assert_same_saves(tmp_path / "whole", tmp_path / "in_two")


@pytest.mark.every_backend
def test_a_class_that_is_not_asked_for_does_not_pull():
    """The slope of cross-entropy at the logits is the softmax less the right class's one."""
    logits = np.array([[2, 1, 0], [0, 3, 1]], "float32")
    labels = np.array([[training.NOT_ASKED], [2]])
    slope = keras.ops.convert_to_numpy(kg.gradient(lambda x: training.CLASS_LOSS(labels, x), logits))
    np.testing.assert_array_equal(slope[0], 0)
    np.testing.assert_allclose(slope[1], softmax(logits[1]) - [0, 0, 1], rtol=1e-5)


def test_the_class_counts_half_for_the_generator():
    g_model, d_model = training.define_generator(), training.define_discriminator(1e-3)
    gan_model = training.define_gan(g_model, d_model, 1e-3)
    points = kg.generate_latent_points(100, 4, 10)
    logs = kg.train_only(g_model, (g_model, d_model), gan_model, points, {"real": np.ones((4, 1)), "class": points[1]})
    np.testing.assert_allclose(logs["loss"], logs["real_loss"] + 0.5 * logs["class_loss"], rtol=1e-5)


def grey(classes, spread):
    """Even pictures, ten shades for ten classes, half of them lighter and half darker by `spread`."""
    shades = 25 * classes + 14 + spread * (-1) ** np.arange(len(classes))
    return np.broadcast_to(shades[:, None, None, None], (len(classes), 32, 32, 3)).astype("uint8")


def test_the_score_of_a_known_generator(monkeypatch, capsys):
    """It draws half as varied pictures as the real ones are, and the second class where the first is asked for."""
    y = np.repeat(np.arange(10), 20)
    x = grey(y, spread=8)
    labels = y.copy()
    labels[y == 8], labels[y == 9] = 9, 8  # a fifth of the labels is wrong
    monkeypatch.setattr(kg, "load_dataset", lambda name: ((x, y), (x, labels)))
    monkeypatch.setattr(training, "print_scores", lambda *given: None)
    asked = []

    class Generator:
        def predict(self, inputs, batch_size, verbose):
            asked.append(np.sort(inputs[1][:, 0]))
            inputs[1][:, 0] = asked[0]
            return kg.to_tanh(grey(np.where(asked[0] == 0, 1, asked[0]), spread=4))

    monkeypatch.setattr(kg, "load_pretrained", {"cifar10_acgan": Generator()}.get)
    image = keras.Input((32, 32, 3), dtype="uint8")
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1.0)(image))
    shades = 25 * np.arange(10) + 14
    dense = keras.layers.Dense(10)
    judge = Judge(keras.Model(image, [features, dense(features)]), "cifar10", 1.0)
    dense.set_weights([np.outer([2, 0, 0], shades), -(shades**2.0)])  # the nearest shade
    monkeypatch.setattr(kg, "train_judge", lambda name: judge)
    training.score()
    first, second = capsys.readouterr().out.splitlines()
    obeyed = np.mean(asked[0] != 0)
    assert obeyed < 0.96
    assert first == f"taken for the class asked for {obeyed:.0%}, test images for theirs 80%"
    text, _, numbers = second.partition(": ")
    variety = np.array(numbers.split(), float)
    assert text == "variety of each class, real ones 1" and variety.shape == (10,)
    np.testing.assert_allclose(variety, 0.5, atol=0.05)

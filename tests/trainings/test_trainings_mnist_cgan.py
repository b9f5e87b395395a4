import keras
import numpy as np
import pytest
from short_trainings import assert_same_saves, is_kept, moved, set_all, stop_and_go_on, train_watched

import keras_gen as kg
from keras_gen.judge import Judge
from trainings import mnist_cgan as training


@pytest.fixture
def short(monkeypatch):
    """Two epochs of two steps on random images."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (180, 28, 28, 1), "uint8")
    digits = (x[:100], np.arange(100) % 10), (x[100:], np.arange(80) % 10)
    monkeypatch.setattr(kg, "load_dataset", lambda name: digits)
    set_all(monkeypatch, training, IMAGES=16, HELD_OUT=70, BATCH=8, WRONG=1, EPOCHS=2)
    return digits


def test_both_networks_move_averages_are_kept_and_a_stopped_run_ends_alike(
    folder, short, begun, tmp_path, monkeypatch, capsys
):
    latest, given, rates = train_watched(training, tmp_path / "whole", monkeypatch)
    assert "as asked, feature distance to 70 held-out training images" in capsys.readouterr().out
    (networks,) = begun
    assert networks["n_steps"] == 2
    for name in ("generator", "discriminator"):
        assert moved(*networks[name]) > 1e-4
    assert max(rates.values()) < 1e-9  # both cosines have come to their end

    averages = latest[0]
    for step in latest[1:]:
        averages = [0.999 * average + 0.001 * now for average, now in zip(averages, step, strict=True)]
    generator = kg.load_pretrained("mnist_cgan")
    assert {layer.compute_dtype for layer in generator.layers} <= {"float32", "int32"}
    for ours, average in zip(generator.trainable_variables, averages, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(ours), average, atol=1e-5, rtol=1e-3)
    assert not is_kept("mnist_cgan", networks["generator"][0].get_weights())

    # In each step: real ones with their label, fakes of which one is a real image with a wrong label, and for G ones.
    x, labels = short[0]

    def true_label(image):
        (ix,) = [ix for ix in range(16) if np.array_equal(image, kg.to_tanh(x[ix]))]
        return labels[ix]

    for i in range(0, len(given), 3):
        (_, (real, own), y_real), (_, (fakes, told), y_fake), (who, _, y) = given[i : i + 3]
        assert who == "gan" and (y_real == 1).all() and (y_fake == 0).all() and (y == 1).all()
        assert len(real) == len(fakes) == len(told) == 4 and len(y) == 8
        assert [true_label(image) for image in real] == own[:, 0].tolist()
        assert true_label(fakes[0]) != told[0, 0] and 0 <= told.min() and told.max() < 10

    stop_and_go_on(training, tmp_path / "in_two", monkeypatch, at_call=8)  # three calls a step
    assert_same_saves(tmp_path / "whole", tmp_path / "in_two")


def test_the_score_of_a_known_generator(monkeypatch, capsys):
    """It draws even greys, half as varied as the real ones are, and a one where a nought is asked for."""
    shades = 25 * np.arange(10) + 14

    def grey(classes, spread):
        tones = shades[classes] + spread * (-1) ** np.arange(len(classes))
        return np.broadcast_to(tones[:, None, None, None], (len(classes), 28, 28, 1)).astype("uint8")

    y = np.repeat(np.arange(10), 20)
    monkeypatch.setattr(kg, "load_dataset", lambda name: ((grey(y, 8), y), (grey(y, 8), y)))
    monkeypatch.setattr(training, "print_scores", lambda *given: None)
    asked = []

    class Generator:
        def predict(self, inputs, batch_size, verbose):
            asked.append(np.sort(inputs[1][:, 0]))
            inputs[1][:, 0] = asked[0]
            return kg.to_tanh(grey(np.maximum(asked[0], 1), spread=4))

    monkeypatch.setattr(kg, "load_pretrained", {"mnist_cgan": Generator()}.get)
    image = keras.Input((28, 28, 1), dtype="uint8")
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1.0)(image))
    dense = keras.layers.Dense(10)
    judge = Judge(keras.Model(image, [features, dense(features)]), "mnist", 1.0)
    dense.set_weights([2.0 * shades[None], -(shades**2.0)])  # the nearest shade
    monkeypatch.setattr(kg, "train_judge", lambda name: judge)
    training.score()
    first, second = capsys.readouterr().out.splitlines()
    obeyed = np.mean(asked[0] != 0)
    assert obeyed < 0.96
    assert first == f"taken for the digit asked for {obeyed:.2%}, test images for theirs 100.00%"
    text, _, numbers = second.partition(": ")
    assert text == "variety of each digit, real ones 1"
    np.testing.assert_allclose(np.array(numbers.split(), float), 0.5, atol=0.05)

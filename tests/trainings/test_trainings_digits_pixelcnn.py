import keras
import numpy as np
import pytest
from short_trainings import assert_same_saves, is_kept, moved, set_all, stop_and_go_on, train_watched

import keras_gen as kg
from keras_gen.judge import Judge
from trainings import digits_pixelcnn as training


@pytest.fixture
def short(monkeypatch):
    """Two epochs of two steps of a narrow network, on random digits."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 28, 28, 1), "uint8")
    digits = (x[:40], np.arange(40) % 10), (x[40:], np.arange(20) % 10)
    monkeypatch.setattr(kg, "load_dataset", {"mnist": digits}.get)
    set_all(monkeypatch, training, IMAGES=16, HELD_OUT=10, BATCH=8, EPOCHS=2, WIDTH=4, LAYERS=2, HEAD=3, SAMPLES=3)
    return digits


def randomised(model):
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.3, weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.every_backend
def test_no_answer_sees_a_later_pixel_and_each_sees_all_that_are_near(short):
    seen = kg.sees(training.define_pixelcnn())
    order = training.pixel_order()
    assert not np.triu(seen[order][:, order]).any()
    assert np.triu(seen, 1).any()  # row by row is another order
    first = seen[15 * 28 + 14].reshape(28, 28)  # the lower left of a block
    known = np.zeros((6, 6), bool)
    known[:4] = True  # the rows of blocks above
    known[4, :4] = known[5, :2] = True  # in its own block what stands above it, and to its left
    known[4:, :2] = True
    np.testing.assert_array_equal(first[10:16, 12:18], known)
    assert first[12, 18], "a blind spot to the right"


@pytest.mark.every_backend
def test_blocks_are_of_two_by_two_pixels_and_come_apart_again():
    image = keras.Input((28, 28, 1))
    blocks = training.to_blocks(image)
    x = np.arange(784, dtype="float32").reshape(1, 28, 28, 1)
    made, back = keras.Model(image, [blocks, training.from_blocks(blocks)]).predict(x, verbose=0)
    np.testing.assert_array_equal(made[0, 1, 3], [2 * 28 + 6, 2 * 28 + 7, 3 * 28 + 6, 3 * 28 + 7])
    np.testing.assert_array_equal(made.reshape(-1), training.pixel_order())
    np.testing.assert_array_equal(back, x)


def test_averages_are_kept_and_a_stopped_run_ends_alike(folder, short, begun, tmp_path, monkeypatch, capsys):
    latest, given, rates = train_watched(training, tmp_path / "whole", monkeypatch)
    assert "nats on 10 held-out training images" in capsys.readouterr().out
    (networks,) = begun
    assert networks["n_steps"] == 2
    model, before = networks["pixelcnn"]
    assert moved(model, before) > 1e-4
    assert rates == {"pixelcnn": pytest.approx(0, abs=1e-9)}  # at the end of its cosine

    # It begins at the mean image of those it learns from.
    (x, _), _ = short
    images = kg.to_unit(x[:16])
    model.set_weights(before)
    p = 1 / (1 + np.exp(-model.predict(np.zeros((1, 28, 28, 1)), verbose=0)))
    np.testing.assert_allclose(p[0], images.mean(axis=0), atol=1e-4)

    averages = latest[0]
    for step in latest[1:]:
        averages = [0.999 * average + 0.001 * now for average, now in zip(averages, step, strict=True)]
    kept = kg.load_pretrained("digits_pixelcnn")
    for ours, average in zip(kept.trainable_variables, averages, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(ours), average, atol=1e-4, rtol=1e-3)
    assert not is_kept("digits_pixelcnn", latest[-1])

    # A batch is of 0 and 1, and as bright as the images.
    for _, batch, target in given:
        assert batch is target and set(np.unique(batch)) == {0, 1} and batch.shape == (8, 28, 28, 1)
    assert np.mean([batch for _, batch, _ in given]) == pytest.approx(images.mean(), abs=0.02)
    assert len({batch.tobytes() for _, batch, _ in given}) == 4

    stop_and_go_on(training, tmp_path / "in_two", monkeypatch, at_call=4)
    assert_same_saves(tmp_path / "whole", tmp_path / "in_two")


def test_the_cost_of_images_whose_pixels_are_known(short):
    """An untrained network answers with the mean image: each pixel by itself."""
    (x, _), _ = short
    images = kg.to_unit(x)
    model = training.define_pixelcnn()
    training.begin_at_mean(model, images)
    binary = kg.binarize(images, seed=1)
    mean = images.mean(axis=0, dtype="float64").clip(0.0001, 0.9999)
    by_hand = -np.log(np.where(binary == 1, mean, 1 - mean)).sum(axis=(1, 2, 3)).mean()
    assert training.mean_nats(model, binary) == pytest.approx(by_hand, rel=1e-5)


def test_the_score_is_of_the_kept_model(short, monkeypatch, capsys):
    model = randomised(training.define_pixelcnn())
    monkeypatch.setattr(kg, "load_pretrained", {"digits_pixelcnn": model}.get)
    image = keras.Input((28, 28, 1), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    logits = keras.layers.Dense(10, kernel_initializer="zeros")(x)
    judge = Judge(keras.Model(image, [x, logits]), "mnist", 1.0)
    monkeypatch.setattr(kg, "train_judge", {"mnist": judge}.get)
    drawn, original = [], kg.sample_pixels

    def sample_pixels(model, n, order):
        drawn.append((n, order))
        return original(model, n, order=order)

    monkeypatch.setattr(kg, "sample_pixels", sample_pixels)
    training.score()
    (x_train, _), (x_test, _) = short
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "later pixels that an answer sees: 0"
    for line, name, x in ((lines[1], "test", x_test), (lines[2], "training", x_train[:20])):
        cost = training.mean_nats(model, kg.binarize(kg.to_unit(x), seed=0))
        assert line == f"20 {name} images: {cost:.2f} nats"
    ((n, order),) = drawn
    assert n == 3 and (order == training.pixel_order()).all()
    assert lines[3] == "the judge is sure of 0.0% of 3 samples, of 0.0% of binary test images"

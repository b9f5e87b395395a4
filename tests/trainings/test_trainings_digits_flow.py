from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats
from short_trainings import assert_same_saves, is_kept, moved, set_all, stop_and_go_on, train_watched

import keras_gen as kg
from keras_gen.judge import Judge
from trainings import digits_flow as training


@pytest.fixture
def short(monkeypatch):
    """Two epochs of two steps of a small flow, on random digits that are mostly black."""
    rng = np.random.default_rng(0)
    x = np.where(rng.random((60, 28, 28, 1)) < 0.8, 0, rng.integers(0, 256, (60, 28, 28, 1))).astype("uint8")
    digits = (x[:40], np.arange(40) % 10), (x[40:], np.arange(20) % 10)
    monkeypatch.setattr(kg, "load_dataset", {"mnist": digits}.get)
    small = {
        "IMAGES": 16,
        "HELD_OUT": 10,
        "BATCH": 8,
        "EPOCHS": 2,
        "WIDTH": 2,
        "AT_14": 6,
        "COUPLINGS": 8,
        "AT_ONCE": 7,
    }
    set_all(monkeypatch, training, SAMPLES=15, **small)
    return digits


def randomised():
    networks = training.define_networks()
    rng = np.random.default_rng(1)
    networks.set_weights([rng.normal(0, 0.3, weight.shape) for weight in networks.get_weights()])
    return networks


def shares(images):
    """How often each pixel has each level, by hand."""
    counts = np.stack([np.bincount(pixel, minlength=256) for pixel in images.reshape(len(images), -1).T]) + 0.01
    return counts / counts.sum(axis=1, keepdims=True)


def test_each_pixel_becomes_normal_and_comes_back(short):
    (x, _), _ = short
    levels, share, rng = training.Levels(x), shares(x), np.random.default_rng(0)
    images = np.stack([rng.choice(256, 1000, p=p) for p in share], axis=1).astype("uint8").reshape(-1, 28, 28, 1)
    z, log_det = levels.to_noise(images, seed=1)
    assert z.shape == images.shape and z.dtype == "float32"
    assert stats.kstest(z.reshape(-1)[::5], "norm").pvalue > 0.001
    assert np.abs(z.std(axis=0) - 1).max() < 0.15  # each pixel by itself
    assert np.mean(levels.to_images(z) == images) > 0.9999
    # With N(0, I) for z, an image costs what its levels' shares say.
    by_hand = np.log(share[np.arange(784), images.reshape(-1, 784)]).sum(axis=1)
    np.testing.assert_allclose(stats.norm.logpdf(z).sum(axis=(1, 2, 3)) + log_det, by_hand, rtol=1e-4)


@pytest.mark.every_backend
def test_a_coupling_and_its_way_back(short):
    networks, rng = randomised(), np.random.default_rng(2)
    # The pixels of a block that stay, as they lie in its channels: upper left, upper right, lower left, lower right.
    cuts = [[0, 3], [1, 2], [0, 1], [2, 3], [0, 2], [1, 3], [0, 3], [1, 2]]
    for i, cut in enumerate(cuts):
        side, size = (14, 1) if i < 6 else (7, 4)
        z = rng.normal(size=(2, side, side, 4 * size)).astype("float32")
        moved_z, log_det = training.couple(networks, i, z)
        back, _ = training.couple(networks, i, moved_z, back=True)
        np.testing.assert_allclose(ops.convert_to_numpy(back), z, atol=1e-4)
        same = (ops.convert_to_numpy(moved_z) == z).all(axis=(0, 1, 2))
        assert np.flatnonzero(same).tolist() == [size * pixel + j for pixel in cut for j in range(size)]
        assert np.abs(ops.convert_to_numpy(log_det)).max() > 0.1


def encode(networks, z):
    """Images to noise by the trainings' couplings, by hand: six at 14x14, the others at 7x7."""
    code = kg.squeeze(z)
    for i in range(8):
        code, _ = training.couple(networks, i, kg.squeeze(code) if i == 6 else code)
    return ops.convert_to_numpy(code)


def test_the_density_is_that_of_a_numerical_jacobian(short):
    networks = randomised()
    z = np.random.default_rng(3).normal(size=(1, 28, 28, 1)).astype("float32")
    small = 1e-2
    moves = small * np.eye(784, dtype="float32").reshape(784, 28, 28, 1)
    columns = (encode(networks, z + moves) - encode(networks, z - moves)).reshape(784, 784) / (2 * small)
    _, log_det = np.linalg.slogdet(columns)
    assert abs(log_det) > 5
    log_p = training.define_flow(networks).predict(z, verbose=0)[0]
    assert log_p == pytest.approx(stats.norm.logpdf(encode(networks, z)).sum() + log_det, abs=0.5)


def test_samples_are_noise_that_went_backwards(short):
    networks, levels = randomised(), SimpleNamespace(to_images=lambda z: z)
    samples = training.sample(networks, levels, 9, 0.5, seed=3)  # seven at once
    noise = np.random.default_rng(3).standard_normal((9, 7, 7, 16))
    np.testing.assert_allclose(encode(networks, samples), 0.5 * noise, atol=1e-3)


def test_averages_are_kept_and_a_stopped_run_ends_alike(folder, short, begun, tmp_path, monkeypatch, capsys):
    latest, given, rates = train_watched(training, tmp_path / "whole", monkeypatch)
    assert "bits/dim on 10 held-out training images" in capsys.readouterr().out
    (networks,) = begun
    assert networks["n_steps"] == 2
    model, before = networks["networks"]
    assert moved(model, before) > 1e-4
    (rate,) = rates.values()
    assert rate == pytest.approx(0, abs=1e-9)  # at the end of its cosine

    averages = latest[0]
    for step in latest[1:]:
        averages = [0.999 * average + 0.001 * now for average, now in zip(averages, step, strict=True)]
    kept = kg.load_pretrained("digits_flow")
    for ours, average in zip(kept.trainable_variables, averages, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(ours), average, atol=1e-4, rtol=1e-3)
    assert not is_kept("digits_flow", latest[-1])

    # Noise is drawn anew, and what it adds to log p comes along.
    assert len({z.tobytes() for _, z, _ in given}) == 4
    for _, z, log_det in given:
        assert z.shape == (8, 28, 28, 1) and log_det.shape == (8,) and np.all(log_det > 0)

    stop_and_go_on(training, tmp_path / "in_two", monkeypatch, at_call=4)
    assert_same_saves(tmp_path / "whole", tmp_path / "in_two")


def test_before_the_first_step_an_image_costs_what_its_pixels_cost(short):
    (x, _), _ = short
    levels = training.Levels(x)
    by_hand = -np.log2(shares(x)[np.arange(784), x.reshape(40, 784)]).mean()
    assert training.mean_bits(training.define_networks(), levels, x) == pytest.approx(by_hand, rel=1e-4)


def test_the_score_is_of_the_kept_model(short, monkeypatch, capsys):
    networks = randomised()
    monkeypatch.setattr(kg, "load_pretrained", {"digits_flow": networks}.get)
    image = keras.Input((28, 28, 1), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    logits = keras.layers.Dense(10, kernel_initializer="zeros")(x)
    judge = Judge(keras.Model(image, [x, logits]), "mnist", 1.0)
    monkeypatch.setattr(kg, "train_judge", {"mnist": judge}.get)
    scored = []
    monkeypatch.setattr(training, "print_scores", lambda *given: scored.append(given))
    training.score()
    (x_train, _), (x_test, _) = short
    levels = training.Levels(x_train[:16])
    lines = capsys.readouterr().out.splitlines()
    for line, name, x in ((lines[0], "test", x_test), (lines[1], "training", x_train[:20])):
        assert line == f"20 {name} images: {training.mean_bits(networks, levels, x):.3f} bits/dim"
    assert lines[2:] == ["15 samples, temperature 1", "15 samples, temperature 0.7"]
    for (given, samples, *_, real), temperature in zip(scored, (1, 0.7), strict=True):
        assert given is judge and len(real) == 15
        np.testing.assert_array_equal(samples, training.sample(networks, levels, 15, temperature, seed=1))
        assert samples.shape == (15, 28, 28, 1) and samples.dtype == "uint8"

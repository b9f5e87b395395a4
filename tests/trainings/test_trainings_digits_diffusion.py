import keras
import numpy as np
import pytest
from short_trainings import assert_same_saves, is_kept, moved, set_all, stop_and_go_on, train_watched

import keras_gen as kg
from trainings import digits_diffusion as training


@pytest.fixture
def short(monkeypatch):
    """Two epochs of two steps of a narrow network, on random digits."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (96, 28, 28, 1), "uint8")
    y = np.arange(96) % 10
    digits = (x[:16], y[:16]), (x[16:], y[16:])
    monkeypatch.setattr(kg, "load_dataset", {"mnist": digits}.get)
    set_all(monkeypatch, training, BATCH=8, EPOCHS=2, WIDTH=4, CODE=6, SAMPLES=70)
    return digits


def test_averages_are_kept_and_a_stopped_run_ends_alike(folder, short, begun, tmp_path, monkeypatch, capsys):
    latest, given, rates = train_watched(training, tmp_path / "whole", monkeypatch)
    assert "epoch 2: feature distance to 80 test images" in capsys.readouterr().out
    (networks,) = begun
    assert networks["n_steps"] == 2
    model, before = networks["unet"]
    assert moved(model, before) > 1e-4
    assert rates == {"unet": pytest.approx(0, abs=1e-9)}  # at the end of its cosine

    averages = latest[0]
    for step in latest[1:]:
        averages = [0.999 * average + 0.001 * now for average, now in zip(averages, step, strict=True)]
    kept = kg.load_pretrained("digits_diffusion")
    for ours, average in zip(kept.trainable_variables, averages, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(ours), average, atol=1e-5, rtol=1e-3)
    assert not is_kept("digits_diffusion", model.get_weights())

    # What is learnt from: x and noise, mixed, with the label of x or none.
    (x, y), _ = short
    for _, (x_t, t, told), v in given:
        alpha, sigma = kg.noise_levels(t.reshape(-1, 1, 1, 1))
        for image, label in zip(alpha * x_t - sigma * v, told[:, 0], strict=True):
            (ix,) = np.flatnonzero(np.abs(kg.to_tanh(x) - image).max(axis=(1, 2, 3)) < 1e-4)
            assert label in (0, y[ix] + 1)

    stop_and_go_on(training, tmp_path / "in_two", monkeypatch, at_call=4)
    assert_same_saves(tmp_path / "whole", tmp_path / "in_two")


def test_the_score_is_of_the_kept_model_asked_for_digits(short, monkeypatch, capsys):
    (x_train, y_train), (x_test, _) = short[1], short[1]
    monkeypatch.setattr(kg, "load_dataset", {"mnist": ((x_train, y_train), (x_test, y_train))}.get)
    scored, asked = [], []

    def sample_diffusion(model, n, labels, guidance):
        assert model == "the kept one"
        asked.append((n, labels.tolist(), guidance))
        return kg.to_tanh(x_test[:n])

    monkeypatch.setattr(kg, "sample_diffusion", sample_diffusion)
    monkeypatch.setattr(kg, "load_pretrained", {"digits_diffusion": "the kept one"}.get)
    monkeypatch.setattr(kg, "train_judge", {"mnist": "a judge"}.get)
    monkeypatch.setattr(kg, "label_accuracy", lambda judge, images, labels: float(len(images) == len(labels) == 70))
    monkeypatch.setattr(
        kg, "feature_distance", lambda judge, images, real: float(np.abs(images - kg.to_tanh(real)).max())
    )
    monkeypatch.setattr(training, "print_scores", lambda *given: scored.append(given))
    training.score()
    assert asked == [(70, y_train[:70].tolist(), guidance) for guidance in (0.0, 1.0)]
    for judge, samples, x, y, held_out in scored:
        assert judge == "a judge" and x is x_train and y is y_train
        np.testing.assert_array_equal(kg.to_uint8(samples), held_out)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "guidance 0, 20 steps, 70 digits asked for" and lines[3].startswith("guidance 1,")
    assert lines[1:3] == ["taken for the digit asked for 100.00%", "the first 70: feature distance 0.0"]

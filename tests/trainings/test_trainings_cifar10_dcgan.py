import keras
import numpy as np
import pytest
from short_trainings import assert_same_saves, is_kept, moved, random_photographs, set_all, stop_and_go_on

import keras_gen as kg
from trainings import cifar10_dcgan as training


@pytest.fixture
def short(monkeypatch):
    """Two epochs of two steps on random photographs."""
    photographs = random_photographs()
    monkeypatch.setattr(kg, "load_dataset", lambda name: photographs)
    set_all(monkeypatch, training, IMAGES=16, BATCH=8, EPOCHS=2)
    return photographs


def test_both_networks_move_as_by_the_lectures_train_and_a_stopped_run_ends_alike(
    folder, short, begun, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(training, "RUNS", tmp_path / "whole")
    training.train()
    assert "epoch 2: feature distance to 80 test images" in capsys.readouterr().out
    (networks,) = begun
    assert networks["n_steps"] == 2
    for name in ("generator", "discriminator"):
        assert moved(*networks[name]) > 1e-4
    g_model, _ = networks["generator"]
    assert is_kept("cifar10_dcgan", g_model.get_weights())

    keras.utils.set_random_seed(1)  # in mixed bfloat16 still, which the training has set
    lectures, d_model = training.define_generator(), training.define_discriminator()
    gan_model = kg.define_gan(lectures, d_model)
    kg.train(lectures, d_model, gan_model, short[0][0][:16], 100, n_epochs=2, n_batch=8, verbose=0)
    for ours, theirs in zip(g_model.get_weights(), lectures.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)

    stop_and_go_on(training, tmp_path / "in_two", monkeypatch, at_call=8)  # three calls a step
    assert_same_saves(tmp_path / "whole", tmp_path / "in_two")


def test_the_score_is_of_the_kept_generator_beside_its_own_training_images(folder, short, monkeypatch):
    scored = []
    monkeypatch.setattr(training, "print_scores", lambda *given: scored.append(given))
    (_, _), (x_test, _) = short

    class Generator:
        def predict(self, points, batch_size, verbose):
            assert points.shape == (80, 100)
            return kg.to_tanh(x_test)

    monkeypatch.setattr(kg, "load_pretrained", {"cifar10_dcgan": Generator()}.get)
    monkeypatch.setattr(kg, "train_judge", lambda name: f"judge of {name}")
    training.score()
    ((judge, samples, x, y, x_held_out),) = scored
    assert judge == "judge of cifar10"
    for given, expected in ((samples, kg.to_tanh(x_test)), (x, short[0][0][:16]), (y, short[0][1][:16])):
        np.testing.assert_array_equal(given, expected)
    np.testing.assert_array_equal(x_held_out, x_test)

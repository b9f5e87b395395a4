import keras
import numpy as np
import pytest
from short_trainings import is_kept, moved, set_all

import keras_gen as kg
from trainings import faces_generator as training


def test_both_networks_move_and_the_generator_is_kept(folder, begun, monkeypatch, capsys):
    set_all(monkeypatch, training, IMAGES=32, BATCH=8, STEPS=2, LOOKS=1)
    given, rates, original = [], {}, kg.train_only

    def spied(network, networks, model, x, y):
        given.append((model.name, x, y))
        logs = original(network, networks, model, x, y)
        rates[model.name] = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        return logs

    monkeypatch.setattr(kg, "train_only", spied)
    training.train()
    assert "epoch 1: feature distance to 2,000 test images" in capsys.readouterr().out
    (networks,) = begun
    assert networks["n_steps"] == 2
    for name in ("generator", "discriminator"):
        assert moved(*networks[name]) > 1e-4
    assert is_kept("faces_generator", networks["generator"][0].get_weights())
    assert [who for who, *_ in given] == ["discriminator", "discriminator", "gan"] * 2
    assert [float(y.mean()) for _, _, y in given] == [1, 0, 1] * 2 and {len(x) for _, x, _ in given} == {8}
    real = kg.to_tanh(training.training_faces())
    assert all(any(np.array_equal(image, one) for one in real) for image in given[0][1])
    assert max(rates.values()) < 1e-9  # both cosines have come to their end


@pytest.mark.every_backend
def test_the_spread_of_a_batch_has_a_slope_where_all_images_are_alike():
    x = np.random.default_rng(0).normal(size=(8, 4, 4, 3)).astype("float32")
    layer = training.BatchSpread()
    widened = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_array_equal(widened[..., :3], x)
    np.testing.assert_allclose(widened[..., 3], x.std(axis=0).mean(), rtol=1e-5)
    assert np.isfinite(keras.ops.convert_to_numpy(kg.gradient(layer, np.ones((8, 4, 4, 3), "float32")))).all()


def test_the_score_of_known_faces(monkeypatch, capsys):
    """Two draws: faces of one class, then the test faces themselves."""
    set_all(monkeypatch, training, DRAWS=2, IMAGES=500)
    _, (x_test, y_test) = kg.load_dataset("faces")
    draws = [x_test[np.resize(np.flatnonzero(y_test == 0), 2000)], x_test]

    class Generator:
        def predict(self, points, verbose):
            assert points.shape == (2000, 100)
            return draws.pop(0)

    monkeypatch.setattr(kg, "load_pretrained", {"faces_generator": Generator()}.get)
    judge = kg.train_judge("faces")
    other = kg.feature_distance(judge, draws[0], real=x_test)
    monkeypatch.setattr(kg, "train_judge", {"faces": judge}.get)
    capsys.readouterr()
    training.score()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and lines[0] == f"feature distance to the test images {other:.1f}"
    assert lines[-1] == f"feature distance of 2 draws of points: 0 {other:.0f}" and other > 100

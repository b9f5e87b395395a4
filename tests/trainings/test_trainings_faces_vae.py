import keras
import numpy as np
import pytest
from short_trainings import set_all

import keras_gen as kg
from trainings import faces_vae as training


def test_both_networks_move_and_the_vae_is_kept(folder, monkeypatch):
    set_all(monkeypatch, training, IMAGES=100, BATCH=50, EPOCHS=1)
    made, original = [], kg.define_vae

    def define_vae(encoder, decoder):
        vae = original(encoder, decoder)
        made.append((vae, [weight.numpy() for weight in vae.trainable_variables]))
        return vae

    monkeypatch.setattr(kg, "define_vae", define_vae)
    training.train()
    ((vae, before),) = made
    assert int(vae.optimizer.iterations) == 2
    for now, was in zip(vae.trainable_variables, before, strict=True):
        assert (now.numpy() != was).any()
    kept = kg.load_pretrained("faces_vae")
    for ours, weight in zip(kept.get_weights(), vae.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, weight.astype("float16"))


@pytest.mark.every_backend
def test_the_error_is_the_gaussians():
    """Its negative log density, less that of a perfect answer; the width is a tenth."""
    rng = np.random.default_rng(0)
    x, x_hat = rng.random((2, 3, 4, 4, 3)).astype("float32")
    error = keras.ops.convert_to_numpy(training.squared_error(x, x_hat))
    np.testing.assert_allclose(error, [np.sum((a - b) ** 2) / 2 / 0.1**2 for a, b in zip(x, x_hat, strict=True)], 1e-5)


def test_the_score_of_known_answers(monkeypatch, capsys):
    """A VAE that finds each image, but for every fourth, which is grey, and whose samples are the test images."""
    _, (x_test, _) = kg.load_dataset("faces")
    judge = kg.train_judge("faces")

    class Known:
        decoder = property(lambda self: self)

        def predict(self, x, verbose):
            if x.ndim == 2:
                assert x.shape == (2000, 32)
                return kg.to_unit(x_test)
            found = x.copy()
            found[::4] = 0.5
            return found

    monkeypatch.setattr(kg, "load_pretrained", {"faces_vae": Known()}.get)
    monkeypatch.setattr(kg, "train_judge", {"faces": judge}.get)
    capsys.readouterr()
    training.score()
    lines = capsys.readouterr().out.splitlines()
    error = np.mean((x_test[::4] / 255 - 0.5) ** 2) / 4
    assert lines[0] == f"mean squared error of test images {error:.5f}, of pixels in [0, 1]" and error > 0.01
    accuracy = float(lines[1].removeprefix("label accuracy of their reconstructions ").removesuffix("%"))
    assert 75 < accuracy < 85  # a grey picture is called one class of sixteen
    assert lines[2] == "feature distance of samples to the test images 0"

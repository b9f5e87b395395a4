"""The variants that `run.py bench` times are the same training."""

import keras
import numpy as np
import pytest

from keras_gen.loop import RESETS_ITSELF

pytest.importorskip("tensorflow")
loops = pytest.importorskip("loops")  # of benchmarks/, which know TensorFlow


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the rivals are written for TensorFlow")
@pytest.mark.parametrize("define, shape", [(loops.define_dcgan, (32, 32, 3)), (loops.define_dense_gan, (28, 28, 1))])
def test_variants_learn_the_same(define, shape, capfd):
    """From the same weights, images and noise, and without dropout: weights and curves after three steps."""
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).uniform(-1, 1, (3 * 8, *shape)).astype("float32")
    start, results = None, []
    for variant in (loops.module_loop, loops.fused_loop, loops.lecture_loop, loops.plain_loop):
        models = define(loops.LATENT_DIM, width=8)
        for layer in models[1].layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0
        start = start or [model.get_weights() for model in models]
        for model, weights in zip(models, start, strict=True):
            model.set_weights(weights)
        logs = []
        loop = variant(*models, images, 8)
        np.random.seed(0)
        loop(logs.append)
        results.append([*(weight for model in models for weight in model.get_weights()), np.array(logs)])
    n_compared = len(results[0]) - (not RESETS_ITSELF)  # then the lecture's loop reports means over all steps so far
    for module, *rivals in list(zip(*results, strict=True))[:n_compared]:
        for rival in rivals:
            np.testing.assert_allclose(module, rival, atol=1e-4)
    moved = [np.abs(after - before).max() for after, before in zip(results[0], start[0] + start[1], strict=False)]
    assert min(moved) > 1e-4

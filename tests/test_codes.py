"""Discrete codes against NumPy, SciPy, closed forms and steps reckoned by hand."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy import stats

from keras_gen import GumbelSoftmax, VectorQuantizer, codes, gradient, straight_through


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(3)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def to_numpy(x):
    return ops.convert_to_numpy(x)


def quantizer(codebook, commitment=0.25):
    layer = VectorQuantizer(len(codebook), commitment)
    layer.build((None, codebook.shape[1]))
    layer.codebook.assign(codebook)
    return layer


def nearest(z, codebook):
    """By all differences."""
    return np.square(z[..., None, :] - codebook).sum(axis=-1).argmin(axis=-1)


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


def zero(y, y_hat):
    """A loss without a slope: what moves is moved by the layer's own."""
    return 0 * ops.sum(y_hat)


# ---- straight through ----


@pytest.mark.every_backend
def test_value_of_the_one_gradient_of_the_other():
    hard, soft, weight = numbers(4, 3), 1e4 * numbers(4, 3, seed=1), numbers(4, 3, seed=2)
    np.testing.assert_array_equal(to_numpy(straight_through(hard, soft)), hard)
    slope = gradient(lambda x: ops.sum(ops.multiply(weight, straight_through(ops.multiply(hard, x), x**2))), soft)
    np.testing.assert_allclose(to_numpy(slope), 2 * soft * weight, rtol=1e-5)


@pytest.mark.every_backend
def test_whole_numbers_take_the_type_of_the_soft_ones():
    y = straight_through(np.arange(3), np.float32([0.5, 0.5, 0.5]))
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    np.testing.assert_array_equal(to_numpy(y), [0, 1, 2])


def test_shapes_that_only_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"one shape; given: \(3, 1\) and \(3, 3\)"):
        straight_through(np.ones((3, 1)), np.ones((3, 3)))


# ---- Gumbel-softmax ----


@pytest.mark.every_backend
@pytest.mark.parametrize("temperature", [0.1, 1, 5])
@pytest.mark.parametrize("hard", [False, True])
def test_the_largest_entry_is_a_draw_from_the_softmax(temperature, hard):
    n, logits = 20_000, np.float64([0, 1, -1, 2, 0.5])
    layer = GumbelSoftmax(5, temperature, hard)
    z = to_numpy(layer(np.tile(logits, (n, 1)).astype("float32"), training=True))
    assert z.shape == (n, 5) and z.dtype == "float32" and z.min() >= 0
    np.testing.assert_allclose(z.sum(axis=1), 1, rtol=1e-5)
    counts = np.bincount(z.argmax(axis=1), minlength=5)
    assert stats.chisquare(counts, n * softmax(logits)).pvalue > 1e-3
    if hard:
        np.testing.assert_array_equal(np.sort(z, axis=1), np.tile([0, 0, 0, 0, 1], (n, 1)))


@pytest.mark.every_backend
@pytest.mark.parametrize("temperature", [0.5, 2])
def test_of_two_codes_z_is_known(temperature):
    """The difference of two Gumbel draws is logistic, so that temperature * logit(z) is logistic around l_1 - l_0."""
    logits = np.tile(np.float32([0.3, 1]), (4_000, 1))
    z = to_numpy(GumbelSoftmax(2, temperature)(logits, training=True)).astype("float64")
    noise = temperature * np.log(z[:, 1] / z[:, 0]) - 0.7
    assert stats.kstest(noise, "logistic").pvalue > 1e-3


@pytest.mark.every_backend
def test_hard_draws_have_the_gradient_of_soft_ones():
    logits, weight = numbers(6, 4), numbers(6, 4, seed=1)
    slopes = []
    for hard in (False, True):
        layer = GumbelSoftmax(4, 0.7, hard)
        layer.seed_generator = keras.random.SeedGenerator(5)
        slopes.append(
            to_numpy(gradient(lambda x, layer=layer: ops.sum(ops.multiply(weight, layer(x, training=True))), logits))
        )
    np.testing.assert_allclose(*slopes, rtol=1e-4, atol=1e-6)
    assert np.median(np.abs(slopes[0])) > 1e-3


@pytest.mark.every_backend
def test_outside_training_it_is_the_most_likely_code():
    logits = numbers(8, 3, 4)
    layer = GumbelSoftmax(4)
    np.testing.assert_array_equal(to_numpy(layer(logits)), np.eye(4)[logits.argmax(axis=-1)])
    assert (to_numpy(layer(logits, training=True)) != to_numpy(layer(logits, training=True))).all()


@pytest.mark.every_backend
@pytest.mark.parametrize("training", [False, True])
def test_the_kl_is_scipys_summed_over_codes_and_averaged_over_images(training):
    logits = 3 * numbers(8, 5, 4)
    layer = GumbelSoftmax(4)
    layer(logits, training=training)
    known = stats.entropy(softmax(logits.astype("float64")), np.full(4, 0.25), axis=-1).sum(axis=1).mean()
    (loss,) = layer.losses
    assert float(to_numpy(loss)) == pytest.approx(known, rel=1e-5) and float(layer.kl) == pytest.approx(known, rel=1e-5)


def test_a_certain_choice_among_ten_costs_ln_10():
    layer = GumbelSoftmax(10)
    layer(np.float32([[1000] + [0] * 9]))
    assert float(layer.kl) == pytest.approx(np.log(10), rel=1e-6)
    layer(np.zeros((2, 10), "float32"))
    assert float(layer.kl) == pytest.approx(0, abs=1e-6)


@pytest.mark.every_backend
def test_the_kl_is_trained_on_and_a_changed_temperature_is_seen():
    layer = GumbelSoftmax(3, 50.0)
    logits = keras.Input((2, 3))
    model = keras.Model(logits, layer(layers.Dense(3)(logits)))
    model.compile(keras.optimizers.SGD(0.5), loss=zero)
    x = 3 * numbers(32, 2, 3)
    losses = [model.train_on_batch(x, x) for _ in range(30)]
    assert losses[-1] < losses[0] / 3
    assert [v.path for v in model.trainable_variables if "gumbel" in v.path] == []
    flat = to_numpy(model(x, training=True)).max()
    layer.temperature.assign(0.01)
    sharp = to_numpy(model(x, training=True))
    assert flat < 0.5 and np.median(sharp.max(axis=-1)) > 0.999


# ---- the vector quantizer ----


@pytest.mark.every_backend
def test_indices_are_the_nearest_codes_also_in_parts(monkeypatch):
    codebook, z = numbers(7, 3), 2 * numbers(5, 2, 3, 3, seed=1)
    layer = quantizer(codebook)
    known = nearest(z, codebook)
    indices = layer.indices(z)
    np.testing.assert_array_equal(indices, known)
    assert indices.dtype == "int32" and len(np.unique(known)) == 7
    np.testing.assert_array_equal(layer.look_up(indices), codebook[known])
    np.testing.assert_allclose(to_numpy(layer(z)), codebook[known], rtol=1e-5)
    monkeypatch.setattr(codes, "VECTORS_AT_ONCE", 7)
    np.testing.assert_array_equal(layer.indices(ops.convert_to_tensor(z)), known)


def test_of_two_equal_codes_the_first():
    layer = quantizer(np.float32([[5, 5], [1, 1], [1, 1]]))
    np.testing.assert_array_equal(layer.indices(np.float32([[0, 0], [9, 9]])), [1, 0])


@pytest.mark.every_backend
def test_the_gradient_is_copied_and_the_commitment_pulls():
    """The copy brings `weight` to z unchanged; 0.4 mean (z - sg(e))^2 adds 0.8 (z - e) / size."""
    codebook, z, weight = numbers(5, 3), numbers(4, 2, 3, seed=1), numbers(4, 2, 3, seed=2)
    layer = quantizer(codebook, 0.4)
    e = codebook[nearest(z, codebook)]
    copied = gradient(lambda x: ops.sum(ops.multiply(weight, layer(x))), z)
    np.testing.assert_allclose(to_numpy(copied), weight, rtol=1e-5)

    x = keras.Input((2, 3))
    model = keras.Model(x, layer(x))

    def loss(x):
        model(x)
        return sum(model.losses)

    pulled = gradient(loss, z)
    np.testing.assert_allclose(to_numpy(pulled), 0.8 * (z - e) / z.size, rtol=1e-4, atol=1e-7)
    model(z)
    assert float(to_numpy(sum(model.losses))) == pytest.approx(1.4 * np.square(z - e).mean(), rel=1e-5)


@pytest.mark.every_backend
@pytest.mark.parametrize("loss", [zero, "mse"])
def test_a_step_moves_the_codes_to_their_vectors_whatever_the_decoder_wants(loss):
    codebook, z = numbers(6, 3), numbers(8, 3, seed=1)
    z[nearest(z, codebook) == 2] = codebook[0]  # the third code is never used
    layer = quantizer(codebook)
    x = keras.Input((3,))
    model = keras.Model(x, layer(x))
    model.compile(keras.optimizers.SGD(1.0), loss=loss)
    model.train_on_batch(z, 100 + z)
    chosen = np.eye(6)[nearest(z, codebook)]
    slope = chosen.T @ (chosen @ codebook - z) * 2 / z.size
    np.testing.assert_allclose(to_numpy(layer.codebook), codebook - slope, rtol=1e-4, atol=1e-6)
    assert not slope[2].any() and np.abs(slope).max() > 0.01


@pytest.mark.every_backend
def test_reseed_moves_the_unused_codes_onto_vectors_and_no_other():
    codebook = np.concatenate([numbers(2, 3), 100 + numbers(4, 3)])
    z = numbers(6, 5, 3, seed=1)
    moved = []
    for seed in (0, 0, 1):
        layer = quantizer(codebook)
        assert layer.reseed(z, seed) == 4
        moved.append(to_numpy(layer.codebook))
        np.testing.assert_array_equal(moved[-1][:2], codebook[:2])
        places = [np.flatnonzero((z.reshape(-1, 3) == code).all(axis=1)) for code in moved[-1][2:]]
        assert sorted(map(len, places)) == [1] * 4 and len(np.unique(np.concatenate(places))) == 4
        assert set(range(2, 6)) <= set(layer.indices(z).ravel())
    np.testing.assert_array_equal(moved[0], moved[1])
    assert (moved[0] != moved[2]).any()
    assert layer.reseed(codebook) in range(5) and layer.reseed(to_numpy(layer.codebook)) == 0


@pytest.mark.every_backend
def test_a_new_codebook_lies_within_one_nth_of_0_and_reseeding_builds_it():
    layer = VectorQuantizer(50)
    assert layer.indices(numbers(100, 8)).max() < 50
    start = to_numpy(layer.codebook)
    assert start.shape == (50, 8) and 0.019 < np.abs(start).max() <= 0.02
    z = 10 * numbers(400, 8, seed=1)
    assert layer.reseed(z) > 0
    layer.reseed(z)
    assert np.abs(to_numpy(layer.codebook)).max() > 5


@pytest.mark.every_backend
def test_a_vq_vae_learns_four_images_by_heart(tmp_path):
    """Of four images each gets a code of its own, and the decoder its image; saved and loaded it draws the same."""
    x = np.repeat(numbers(4, 6), 8, axis=0)
    layer = VectorQuantizer(4)
    image = keras.Input((6,))
    encoder = keras.Model(image, layers.Dense(3)(image))
    code = keras.Input((3,))
    decoder = keras.Model(code, layers.Dense(6)(layers.Dense(32, activation="relu")(code)))
    model = keras.Model(image, decoder(layer(encoder(image))))
    model.compile(keras.optimizers.Adam(0.02), loss="mse")
    for _ in range(4):
        layer.reseed(encoder.predict_on_batch(x))
        model.fit(x, x, epochs=40, verbose=0)
    words = layer.indices(encoder.predict_on_batch(x))
    assert len(np.unique(words)) == 4 and (words.reshape(4, 8) == words[::8, None]).all()
    np.testing.assert_allclose(decoder.predict_on_batch(layer.look_up(words)), x, atol=0.1)
    model.save(tmp_path / "vqvae.keras")
    loaded = keras.models.load_model(tmp_path / "vqvae.keras")
    np.testing.assert_allclose(loaded.predict_on_batch(x), model.predict_on_batch(x), rtol=1e-5)


# ---- of both ----


@pytest.mark.every_backend
def test_saved_and_cloned_they_keep_their_settings(tmp_path):
    x = keras.Input((2, 4))
    gumbel, vectors = GumbelSoftmax(4, 0.3, hard=True), VectorQuantizer(5, 0.75)
    model = keras.Model(x, vectors(gumbel(x)))
    gumbel.temperature.assign(0.125)
    model.save(tmp_path / "model.keras")
    for other in (keras.models.load_model(tmp_path / "model.keras"), keras.models.clone_model(model)):
        (g,) = (layer for layer in other.layers if isinstance(layer, GumbelSoftmax))
        (v,) = (layer for layer in other.layers if isinstance(layer, VectorQuantizer))
        assert (g.n_codes, g.hard, float(g.temperature)) == (4, True, 0.125)
        assert (v.n_codes, v.commitment, tuple(v.codebook.shape)) == (5, 0.75, (5, 4))


@pytest.mark.every_backend
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_both_count_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    try:
        x = keras.Input((2, 4))
        h = layers.Dense(4)(x)
        model = keras.Model(x, layers.Dense(1, dtype="float32")(VectorQuantizer(5)(GumbelSoftmax(4)(h))))
        assert [layer.compute_dtype for layer in model.layers[2:4]] == ["float32"] * 2
        model.compile("adam", "mse")
        assert np.isfinite(model.train_on_batch(numbers(8, 2, 4), np.zeros((8, 2, 1))))
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="XLA is an option of TensorFlow's alone")
def test_a_step_under_xla_is_the_step_without():
    z, logits = numbers(16, 3, 4), numbers(16, 3, 4, seed=1)
    after = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        x, y = keras.Input((3, 4)), keras.Input((3, 4))
        kernel = keras.initializers.Constant(np.eye(4))
        draws = GumbelSoftmax(4, 0.5, hard=True)
        draws.seed_generator = keras.random.SeedGenerator(5)
        layer = quantizer(numbers(6, 4, seed=2))
        outputs = [layer(layers.Dense(4, kernel_initializer=kernel)(x)), draws(y)]
        model = keras.Model([x, y], outputs)
        model.compile(keras.optimizers.SGD(1.0), loss=["mse", "mse"], jit_compile=jit_compile)
        model.train_on_batch([z, logits], [z, logits])
        after.append(model.get_weights()[0])
    np.testing.assert_allclose(*after, rtol=1e-4, atol=1e-6)
    assert np.abs(after[0] - np.eye(4)).max() > 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GumbelSoftmax(1), "n_codes is 1"),
        (lambda: GumbelSoftmax(2.0), "n_codes is 2.0"),
        (lambda: GumbelSoftmax(3, 0), "temperature is 0"),
        (lambda: GumbelSoftmax(3, -1.0), "temperature is -1.0"),
        (lambda: GumbelSoftmax(3, np.nan), "temperature is nan"),
        (lambda: GumbelSoftmax(3, np.inf), "temperature is inf"),
        (lambda: GumbelSoftmax(3)(np.ones((2, 4))), r"\(n, ..., 3\), one for each code; given: \(2, 4\)"),
        (lambda: GumbelSoftmax(3)(np.ones(3)), "one for each code"),
        (lambda: VectorQuantizer(1), "n_codes is 1"),
        (lambda: VectorQuantizer("8"), "n_codes is '8'"),
        (lambda: VectorQuantizer(8, -0.1), "commitment is -0.1"),
        (lambda: VectorQuantizer(8, np.nan), "commitment is nan"),
        (lambda: VectorQuantizer(8, np.inf), "commitment is inf"),
        (lambda: VectorQuantizer(8)(np.ones(3)), r"\(n, ..., width\); given: \(3,\)"),
        (lambda: quantizer(np.ones((3, 2)))(np.ones((4, 3))), "vectors of 3 numbers, the codes have 2"),
        (lambda: quantizer(np.ones((3, 2))).indices(np.ones((4, 3))), "vectors of 3 numbers"),
        (lambda: quantizer(np.ones((3, 2))).reseed(np.ones((4, 1))), "vectors of 1 numbers"),
        (lambda: quantizer(np.ones((3, 2))).indices(np.full((4, 2), np.nan)), "nan or infinity"),
        (lambda: quantizer(np.ones((3, 2))).reseed(np.full((4, 2), np.inf)), "nan or infinity"),
        (lambda: quantizer(np.ones((3, 2))).reseed(np.ones((1, 2))), "2 codes are to be moved, but z has only 1"),
        (lambda: quantizer(np.ones((3, 2))).look_up(np.ones((2, 2))), "must be integers; given: float64"),
        (lambda: quantizer(np.ones((3, 2))).look_up(np.array([True])), "must be integers; given: bool"),
        (lambda: quantizer(np.ones((3, 2))).look_up([0, 3]), "run from 0 to 3; the codes are 0 to 2"),
        (lambda: quantizer(np.ones((3, 2))).look_up([-1, 2]), "run from -1 to 2"),
        (lambda: VectorQuantizer(3).look_up([0]), "no codebook yet"),
    ],
)
def test_they_refuse(make, message):
    with pytest.raises(ValueError, match=message):
        make()

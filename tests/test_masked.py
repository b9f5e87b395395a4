import itertools

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_gen import MaskedDense, made_masks, masked, sample_pixels, sees


def made(n, widths=(20,), order=None, shape=None, seed=3):
    """A MADE with direct links and random weights, biases too."""
    image = keras.Input(shape or (n,))
    x = flat = layers.Flatten()(image)
    *hidden, output = made_masks(n, widths, order)
    for width, mask in zip(widths, hidden, strict=True):
        x = MaskedDense(width, mask, activation="tanh")(x)
    direct = MaskedDense(n, made_masks(n, (), order)[0])(flat)
    logits = layers.Add()([MaskedDense(n, output)(x), direct])
    model = keras.Model(image, layers.Reshape(shape)(logits) if shape else logits)
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 1.5, weight.shape) for weight in model.get_weights()])
    return model


def all_images(n):
    return np.array(list(itertools.product((0, 1), repeat=n)), "float32")


def probabilities(model, x):
    """exp of the sum of log p(x_i | what i sees), by NumPy."""
    logits = np.asarray(model.predict_on_batch(x), "float64").reshape(len(x), -1)
    x = x.reshape(len(x), -1)
    return np.exp(-np.logaddexp(0, np.where(x == 1, -logits, logits)).sum(axis=1))


class MaskedConv(layers.Layer):
    """A convolution that sees rows above and, of its own row, what lies to the left, and `itself` or not."""

    def __init__(self, filters, size, itself):
        super().__init__()
        self.filters, self.size, self.itself = filters, size, itself

    def build(self, shape):
        self.kernel = self.add_weight(shape=(self.size, self.size, shape[-1], self.filters), initializer="zeros")
        self.mask = np.ones((self.size, self.size, 1, 1), "float32")
        self.mask[self.size // 2, self.size // 2 + self.itself :] = 0
        self.mask[self.size // 2 + 1 :] = 0

    def call(self, x):
        return ops.conv(x, self.kernel * self.mask, padding="same")


def convolutions(*kinds, side=7):
    """Of all kernels 0; `kinds` are (size, itself)."""
    x = image = keras.Input((side, side, 1))
    for size, itself in kinds:
        x = layers.Activation("relu")(MaskedConv(6, size, itself)(x))
    return keras.Model(image, layers.Conv2D(1, 1, kernel_initializer="zeros")(x))


# ---- the layer ----


@pytest.mark.every_backend
def test_layer_against_numpy():
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (5, 3))
    layer = MaskedDense(3, mask, activation="relu", bias_initializer="ones")
    x = rng.normal(size=(8, 5)).astype("float32")
    y = ops.convert_to_numpy(layer(x))
    kernel = ops.convert_to_numpy(layer.kernel)
    assert np.abs(kernel).min() > 0 and y.shape == layer.compute_output_shape(x.shape)
    np.testing.assert_allclose(y, np.maximum(x @ (kernel * mask) + 1, 0), rtol=1e-5, atol=1e-6)


@pytest.mark.every_backend
def test_no_step_brings_a_masked_weight_back():
    """Momentum and weight decay move the number that is stored; what is calculated with stays 0."""
    keras.utils.set_random_seed(0)
    mask = np.array([[1, 0], [0, 1]])
    model = keras.Sequential([keras.Input((2,)), MaskedDense(2, mask)])
    model.compile(keras.optimizers.AdamW(0.1, weight_decay=0.1), "mse")
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    kernel = model.get_weights()[0]
    model.fit(x, x[:, ::-1].copy(), epochs=3, verbose=0)
    assert (np.abs(model.get_weights()[0] - kernel) > 1e-4).all()
    answers = model.predict_on_batch(np.float32([[1, 0], [1, 5]]))
    assert answers[0, 0] == answers[1, 0] and answers[0, 1] != answers[1, 1]


@pytest.mark.every_backend
def test_saved_and_cloned_it_keeps_its_mask(tmp_path):
    model = made(7, (5,))
    model.save(tmp_path / "made.keras")
    loaded = keras.models.load_model(tmp_path / "made.keras")
    cloned = keras.models.clone_model(model)
    for other in (loaded, cloned):
        for ours, its in zip(model.layers, other.layers, strict=True):
            if isinstance(ours, MaskedDense):
                np.testing.assert_array_equal(ours.mask, its.mask)
                assert ours.activation is its.activation
    x = all_images(7)
    np.testing.assert_allclose(loaded.predict_on_batch(x), model.predict_on_batch(x), rtol=1e-5)


def test_the_config_names_the_initializers():
    config = MaskedDense(1, [[1]], kernel_initializer="ones", bias_initializer="ones", name="mine").get_config()
    layer = MaskedDense.from_config(config)
    assert layer.name == "mine" and layer(np.float32([[2]]))[0, 0] == 3


@pytest.mark.every_backend
def test_under_mixed_precision():
    mask = np.tri(4)
    layer = MaskedDense(4, mask, dtype="mixed_bfloat16")
    x = np.float32([[1, 2, -1, 1]])
    y = layer(x)
    assert layer.kernel.dtype == "float32" and keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    y = ops.convert_to_numpy(ops.cast(y, "float32"))
    np.testing.assert_allclose(y, x @ (ops.convert_to_numpy(layer.kernel) * mask), atol=0.05)


@pytest.mark.parametrize("mask", [np.ones((3, 3)), np.ones(2), np.ones((3, 2, 1)), np.full((3, 2), 0.5)])
def test_a_mask_of_another_shape_or_of_halves_is_refused(mask):
    with pytest.raises(ValueError, match=r"mask must hold 0 or 1 .* \(n_inputs, 2\)"):
        MaskedDense(2, mask)


def test_a_mask_for_another_number_of_inputs_is_refused():
    with pytest.raises(ValueError, match="gets 4 inputs, but its mask is for 3"):
        MaskedDense(2, np.ones((3, 2)))(np.ones((1, 4)))


# ---- the masks ----


def test_without_a_hidden_layer_an_output_sees_all_before_it():
    (mask,) = made_masks(4, ())
    np.testing.assert_array_equal(mask, [[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]])
    (mask,) = made_masks(3, (), order=[2, 0, 1])  # the third input first, then the first one
    np.testing.assert_array_equal(mask, [[0, 1, 0], [0, 0, 0], [1, 1, 0]])
    assert mask.dtype == "float32"


@pytest.mark.parametrize("order", [None, [3, 0, 4, 1, 2]])
def test_ways_through_hidden_layers_lead_from_every_earlier_input_and_no_other(order):
    masks = made_masks(5, [40, 30], order)
    assert [mask.shape for mask in masks] == [(5, 40), (40, 30), (30, 5)]
    np.testing.assert_array_equal(np.linalg.multi_dot(masks) > 0, made_masks(5, (), order)[0])
    assert all(mask.any(axis=0).all() for mask in masks[:-1]), "a hidden unit that sees nothing"


def test_below_a_narrow_layer_no_unit_is_left_without_inputs():
    """Its lowest degree is far above 1; the next layer's units have that one or a higher one."""
    first, second, _ = made_masks(100, [2, 60])
    assert first.sum(axis=0).min() > 5 and second.any(axis=0).all()


def test_the_seed_draws_the_degrees():
    one, same, other = (made_masks(9, [200], seed=seed)[0] for seed in (0, 0, 1))
    assert (one == same).all() and (one != other).any()
    assert set(one.sum(axis=0)) == set(range(1, 9))  # a unit sees from one input to all but the last


def test_a_single_input_sees_nothing():
    assert not np.linalg.multi_dot(made_masks(1, [3, 2])).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, [3]), "n_inputs is 0"),
        ((2.0, [3]), "n_inputs is 2.0"),
        ((4, [3, 0]), r"widths are \[3, 0\]"),
        ((4, 3), "widths is 3; give a list"),
        ((4, [2.5]), "whole numbers"),
        ((3, [3], [0, 1]), "each of 0 to 2 once"),
        ((3, [3], [0, 1, 1]), "permutation"),
        ((3, [3], [1, 2, 3]), "permutation"),
        ((3, [3], [0.0, 1.0, 2.0]), "permutation"),
        ((4, [3], [[0, 1], [2, 3]]), "permutation"),
    ],
)
def test_masks_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        made_masks(*arguments)


# ---- a probability of every image ----


@pytest.mark.every_backend
@pytest.mark.parametrize("order", [None, [4, 2, 0, 6, 1, 5, 3]])
def test_the_probabilities_of_all_images_sum_to_one(order):
    p = probabilities(made(7, (20, 15), order), all_images(7))
    assert p.sum() == pytest.approx(1, abs=1e-5) and p.max() > 0.02


def test_with_an_output_that_sees_itself_they_do_not():
    model = made(7)
    mask = model.layers[-2].mask
    mask[np.arange(7), np.arange(7)] = 1  # of the direct links
    model.layers[-2].kernel.assign(np.full((7, 7), 2.0))
    assert not sees(model)[0].tolist() == [False] * 7
    assert abs(probabilities(model, all_images(7)).sum() - 1) > 0.1


# ---- who sees whom ----


@pytest.mark.every_backend
def test_who_sees_whom_is_what_the_masks_say():
    order = np.random.default_rng(0).permutation(9)
    model = made(9, (60, 60), order, shape=(3, 3, 1))
    before = model.get_weights()
    seen = sees(model)
    np.testing.assert_array_equal(seen, made_masks(9, (), order)[0].T)
    for ours, weight in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, weight)
    np.testing.assert_array_equal(sees(model, (1, 2)), seen[5].reshape(3, 3, 1))
    np.testing.assert_array_equal(sees(model, (1, 2, 0)), seen[5].reshape(3, 3, 1))


@pytest.mark.every_backend
def test_convolutions_whose_kernels_are_still_zero():
    """Three layers reach three rows up, and a column further to the right in each: the blind spot is beyond."""
    seen = sees(convolutions((3, 0), (3, 1), (3, 1)), (4, 3))[..., 0]
    known = np.zeros((7, 7), bool)
    for row, width in ((1, 7), (2, 6), (3, 5), (4, 3)):
        known[row, :width] = True
    np.testing.assert_array_equal(seen, known)
    wrong = sees(convolutions((3, 1), (3, 1)))
    assert wrong.diagonal().all() and not np.triu(wrong, 1).any()
    assert not np.triu(sees(convolutions((3, 0), (3, 1)))).any()


def test_weights_are_put_back_where_looking_fails(monkeypatch):
    model = made(4)
    before = model.get_weights()
    monkeypatch.setattr(model, "predict_on_batch", lambda x: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sees(model)
    for ours, weight in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, weight)


@pytest.mark.every_backend
def test_inputs_that_act_only_together_and_a_faint_one_are_seen():
    """By a product nothing comes of either alone where the other is 0; a thousandth is no rounding."""
    image = keras.Input((3,))
    a, b, faint = ops.split(image, 3, axis=1)
    model = keras.Model(image, ops.concatenate([a * b, faint / 1000 + b, faint], axis=1))
    np.testing.assert_array_equal(sees(model), [[1, 1, 0], [0, 1, 1], [0, 0, 1]])


def test_of_a_pixel_of_several_channels_the_channel_is_named():
    image = keras.Input((1, 2, 3))
    with pytest.raises(ValueError, match="no such pixel"):
        sees(keras.Model(image, image + 0), (0, 1))


@pytest.mark.parametrize("pixel", [(7, 0), (0, -1), (0, 0, 1), 3, (1.5, 2), (0, 0, 0, 0), "first"])
def test_a_pixel_outside_is_refused(pixel):
    with pytest.raises(ValueError, match="no such pixel"):
        sees(convolutions((3, 0)), pixel)


def test_half_precision_is_refused():
    image = keras.Input((4,))
    model = keras.Model(image, MaskedDense(4, np.tri(4), dtype="mixed_float16")(image))
    with pytest.raises(ValueError, match="float32"):
        sees(model)


# ---- drawing ----


@pytest.mark.every_backend
@pytest.mark.parametrize("order", [None, [2, 0, 3, 1]])
def test_images_come_as_often_as_is_likely(order):
    n = 8000
    model = made(4, (20,), order, shape=(2, 2, 1))
    images = all_images(4)
    p = probabilities(model, images.reshape(-1, 2, 2, 1))
    x = sample_pixels(model, n, order=order)
    assert x.shape == (n, 2, 2, 1) and x.dtype == "float32"
    share = np.array([(x.reshape(n, 4) == image).all(axis=1).mean() for image in images])
    np.testing.assert_allclose(share, p, atol=5 * np.sqrt(0.25 / n))
    assert share.sum() == pytest.approx(1) and p.max() > 0.1


@pytest.mark.every_backend
def test_known_pixels_stay_and_the_later_ones_follow_from_them(monkeypatch):
    n = 4000
    model = made(4)
    known = np.full((n, 4), np.nan)
    known[:, 0] = np.arange(n) % 2
    known[:, 1] = 1
    known[: n // 2, 2] = 0
    calls, original = [], model.predict_on_batch
    monkeypatch.setattr(masked, "ROWS_AT_ONCE", n)
    monkeypatch.setattr(model, "predict_on_batch", lambda x: calls.append(len(x)) or original(x))
    x = sample_pixels(model, n, known)
    assert calls == [n, n]  # for the third and the last pixel
    np.testing.assert_array_equal(np.where(np.isnan(known), x, known), x)
    images = all_images(4)
    p = probabilities(model, images)
    for first in (0, 1):
        rows = x[n // 2 + first :: 2]
        given = (images[:, 0] == first) & (images[:, 1] == 1)
        for pixel in (2, 3):
            wanted = p[given & (images[:, pixel] == 1)].sum() / p[given].sum()
            assert rows[:, pixel].mean() == pytest.approx(wanted, abs=5 * np.sqrt(0.25 / len(rows)))


def test_the_temperature_divides_the_logits():
    image = keras.Input((2,))
    bias = keras.initializers.Constant(1.2)
    model = keras.Model(image, MaskedDense(2, np.zeros((2, 2)), bias_initializer=bias)(image))
    for temperature in (0.5, 1, 4):
        share = sample_pixels(model, 4000, temperature=temperature).mean()
        assert share == pytest.approx(1 / (1 + np.exp(-1.2 / temperature)), abs=0.03)
    assert (sample_pixels(model, 50, temperature=1e-3) == 1).all()


@pytest.mark.every_backend
def test_many_images_are_asked_for_in_batches_of_one_shape(monkeypatch):
    model = made(4)
    at_once = sample_pixels(model, 7)
    sizes, original = [], model.predict_on_batch
    monkeypatch.setattr(masked, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(model, "predict_on_batch", lambda x: sizes.append(len(x)) or original(x))
    np.testing.assert_array_equal(sample_pixels(model, 7), at_once)
    assert sizes == [3] * 12
    assert len(np.unique(at_once, axis=0)) > 2


def test_the_seed_decides_and_numpys_global_generator_stays():
    model = made(6)
    np.random.seed(1)
    one, same, other = (sample_pixels(model, 20, seed=seed) for seed in (1, 1, 2))
    after = np.random.random()
    np.random.seed(1)
    assert after == np.random.random()
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def takes_and_makes(*inputs, out):
    inputs = [keras.Input(shape) for shape in inputs]
    return keras.Model(inputs, out(*inputs))


KNOWN = np.full((2, 4), np.nan)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"n": 2.0}, "n is 2.0"),
        ({"temperature": 0}, "temperature is 0"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"temperature": np.nan}, "temperature is nan"),
        ({"temperature": np.inf}, "temperature is inf"),
        ({"known": KNOWN[:1]}, r"known pixels have the shape \(1, 4\)"),
        ({"known": np.where(np.isnan(KNOWN), 0.5, 0)}, "0 or 1"),
        ({"known": np.where(np.isnan(KNOWN), 2, 0)}, "0 or 1"),
        ({"order": [0, 1, 2]}, "each of 0 to 3 once"),
        ({"order": [0, 1, 2, 2]}, "permutation"),
        ({"model": "made"}, "no known inputs"),
        ({"model": takes_and_makes((4,), out=lambda x: x[:, :3])}, "of the images' shape"),
        ({"model": takes_and_makes((4,), (4,), out=lambda x, y: x + y)}, "of the images' shape"),
        ({"model": takes_and_makes((2, 2, 1), out=layers.Flatten())}, "of the images' shape"),
        ({"model": takes_and_makes((None, 2, 1), out=lambda x: x + 0)}, "of the images' shape"),
    ],
)
def test_drawing_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        sample_pixels(**{"model": made(4), "n": 2} | options)

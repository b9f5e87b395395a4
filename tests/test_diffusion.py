from itertools import pairwise

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_gen import averaged_generator, diffusion, noise_levels, noised, sample_diffusion, train_step

SHAPE = (2, 3, 1)


def denoiser(v_of, shape=SHAPE, n_classes=None):
    """A model [x_t, t] or [x_t, t, label + 1] -> v_of(x_t, alpha, sigma, label) without a weight."""
    image, t = keras.Input(shape), keras.Input((1,))
    angle = np.pi / 2 * ops.reshape(t, (-1, *[1] * len(shape)))
    inputs, label = [image, t], []
    if n_classes:
        inputs.append(keras.Input((1,), dtype="int32"))
        values = layers.Embedding(n_classes + 1, 1, embeddings_initializer=lambda shape, dtype: VALUES[: shape[0]])
        label = [ops.reshape(values(inputs[-1]), (-1, *[1] * len(shape)))]
    return keras.Model(inputs, v_of(image, ops.cos(angle), ops.sin(angle), *label))


VALUES = np.array([[0.1], [-0.6], [0.7], [0.2]], "float32")  # of no label, and of three classes


def gaussian(mean, std, shape=SHAPE):
    """The exact denoiser of pixels from N(mean, std^2): E[noise | x_t] = sigma (x_t - alpha mean) / var(x_t)."""

    def v(x, alpha, sigma):
        off = (x - alpha * mean) / (alpha**2 * std**2 + sigma**2)
        return alpha * (sigma * off) - sigma * (mean + alpha * std**2 * off)

    return denoiser(v, shape)


def two_points(point):
    """The exact denoiser of images that are `point` or -`point`, each half of the time."""

    def v(x, alpha, sigma):
        towards = ops.sum(x * point, axis=(1, 2, 3), keepdims=True)
        x_hat = ops.tanh(alpha / ops.maximum(sigma, 1e-3) ** 2 * towards) * point
        return (alpha * x - x_hat) / ops.maximum(sigma, 1e-3)

    return denoiser(v)


def labelled(n_classes=3):
    """x_hat of the first step is minus the value of the label."""
    return denoiser(lambda x, alpha, sigma, label: label + 0 * x, n_classes=n_classes)


def network(scale=3.0):
    """Any function of x_t and t, large enough that many answers are clipped."""
    keras.utils.set_random_seed(1)
    image, t = keras.Input(SHAPE), keras.Input((1,))
    x = layers.Concatenate()([layers.Flatten()(image), t])
    x = layers.Dense(6, kernel_initializer="random_normal")(layers.Dense(8, activation="tanh")(x))
    return keras.Model([image, t], scale * 20 * layers.Reshape(SHAPE)(x))


# ---- noise levels ----


def test_levels_of_known_times():
    alpha, sigma = noise_levels(np.array([[0, 1 / 3], [0.5, 1]]))
    np.testing.assert_allclose(alpha, [[1, np.sqrt(3) / 2], [np.sqrt(0.5), 0]], atol=1e-15)
    np.testing.assert_allclose(sigma, [[0, 0.5], [np.sqrt(0.5), 1]], atol=1e-15)
    assert [float(level) for level in noise_levels(0)] == [1, 0]


@pytest.mark.parametrize("t", [-0.1, 1.1, np.nan, [0.5, 2]])
def test_a_time_beyond_the_ends_is_none(t):
    with pytest.raises(ValueError, match=r"out of \[0, 1\]"):
        noise_levels(t)


# ---- noised ----


def test_mean_and_variance_of_noised_images():
    """x_t is N(alpha x, sigma^2), the noise that v holds is the noise that x_t holds, and times are even in [0, 1]."""
    x = np.repeat(np.float32([-0.5, 0.5]), 5000).reshape(2, 5000).T.reshape(5000, 2, 1, 1)
    (x_t, t), v = noised(x, np.random.default_rng(0))
    assert x_t.dtype == t.dtype == v.dtype == "float32" and t.shape == (5000, 1) and v.shape == x_t.shape == x.shape
    alpha, sigma = noise_levels(t.reshape(-1, 1, 1, 1))
    noise = (x_t - alpha * x) / sigma
    for pixel in range(2):
        near = t[:, 0] < 0.5
        for part in (noise[near, pixel], noise[~near, pixel]):
            assert abs(part.mean()) < 0.08 and part.var() == pytest.approx(1, abs=0.1)
    assert abs(np.corrcoef(noise[:, 0, 0, 0], noise[:, 1, 0, 0])[0, 1]) < 0.05
    np.testing.assert_allclose(alpha * x_t - sigma * v, x, atol=1e-6)
    np.testing.assert_allclose(sigma * x_t + alpha * v, noise, atol=1e-2)
    assert 0 <= t.min() < 0.01 and 0.99 < t.max() <= 1
    assert t.mean() == pytest.approx(0.5, abs=0.02) and t.var() == pytest.approx(1 / 12, abs=0.004)


@pytest.mark.parametrize("shape", [(4000,), (4000, 1)])
def test_labels_are_counted_from_one_and_some_are_taken_away(shape):
    labels = np.arange(4000) % 4
    x = np.linspace(-1, 1, 4000).reshape(-1, 1, 1, 1)
    for drop in (0.15, 0, 1):
        (_, t, told), _ = noised(
            x, np.random.default_rng(0), labels.reshape(shape), **{"drop": drop} if drop - 0.15 else {}
        )
        assert told.shape == (4000, 1) and told.dtype == "int32"
        gone = told[:, 0] == 0
        np.testing.assert_array_equal(told[~gone, 0], labels[~gone] + 1)
        assert gone.mean() == pytest.approx(drop, abs=0.02)
        assert drop in (0, 1) or abs(np.corrcoef(gone, t[:, 0])[0, 1]) < 0.05


def test_numpys_global_generator_serves_too():
    x = np.linspace(-1, 1, 8).reshape(2, 2, 2, 1)
    drawn = []
    for _ in range(2):
        np.random.seed(3)
        inputs, v = noised(x, np.random, [0, 1])
        drawn.append([*inputs, v])
    for one, other in zip(*drawn, strict=True):
        np.testing.assert_array_equal(one, other)


GREY = np.linspace(-1, 1, 12).reshape(2, *SHAPE)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((2, *SHAPE), "uint8"), {}, r"uint8.*to_tanh"),
        (np.zeros((2, *SHAPE), "int64"), {}, "int64"),
        (GREY * 255, {}, "run from"),
        (GREY / 2 + 0.5, {}, "no value below 0"),
        (GREY * np.nan, {}, "nan"),
        (GREY, {"drop": 1.5}, "drop is 1.5"),
        (GREY, {"labels": [1]}, "2 integers"),
        (GREY, {"labels": [0.0, 1.0]}, "2 integers"),
        (GREY, {"labels": [-1, 1]}, "counted from 0"),
    ],
)
def test_noised_refuses(images, options, message):
    with pytest.raises(ValueError, match=message):
        noised(images, np.random.default_rng(0), **options)


# ---- drawing ----


@pytest.mark.every_backend
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_the_exact_denoiser_of_a_gaussian_draws_that_gaussian(eta):
    x = sample_diffusion(gaussian(0.3, 0.2, (8, 8, 1)), 500, n_steps=200, eta=eta)
    assert x.shape == (500, 8, 8, 1) and x.dtype == "float32"
    assert x.mean() == pytest.approx(0.3, abs=0.005)
    assert x.std() == pytest.approx(0.2, rel=0.05)  # what a step errs by falls with their number
    across = np.corrcoef(x.reshape(500, 64).T) - np.eye(64)
    assert np.abs(across).mean() < 0.05  # pixels are drawn independently


@pytest.mark.every_backend
def test_a_step_of_ddim_is_a_turn():
    """With an exact Gaussian a step from angle a to b keeps (cos a cos b s^2 + sin a sin b) / var of what is off."""
    n_steps, mean, std = 5, -0.1, 0.3
    x = sample_diffusion(gaussian(mean, std), 3, n_steps=n_steps, seed=7)
    angles = np.pi / 2 * (1 - np.arange(n_steps + 1) / n_steps)
    kept = 1.0
    for a, b in pairwise(angles):
        up = np.cos(a) * np.cos(b) * std**2 + np.sin(a) * np.sin(b)
        kept *= up / (np.cos(a) ** 2 * std**2 + np.sin(a) ** 2)
    noise = np.random.default_rng(7).standard_normal((3, *SHAPE))
    np.testing.assert_allclose(x, mean + kept * noise, atol=1e-5)


@pytest.mark.every_backend
def test_a_step_of_ddpm_is_a_draw_from_the_posterior():
    """Ho et al. 2020, equations 6 and 7, in the levels' own terms, with the answer clipped to [-1, 1]."""
    model, rng, times = network(), np.random.default_rng(5), np.linspace(1, 0, 5)
    x = rng.standard_normal((4, *SHAPE))
    clipped = 0
    for t, s in pairwise(times):
        alpha_t, sigma_t, alpha_s, sigma_s = (
            np.cos(np.pi * t / 2),
            np.sin(np.pi * t / 2),
            np.cos(np.pi * s / 2),
            np.sin(np.pi * s / 2),
        )
        v = model.predict_on_batch([x.astype("float32"), np.full((4, 1), t, "float32")])
        x_hat = alpha_t * x - sigma_t * v
        clipped += np.mean(np.abs(x_hat) > 1) / 4
        x_hat = np.clip(x_hat, -1, 1)
        step, var_step = alpha_t / alpha_s, sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2
        mean = step * sigma_s**2 / sigma_t**2 * x + alpha_s * var_step / sigma_t**2 * x_hat
        x = mean + np.sqrt(var_step) * sigma_s / sigma_t * rng.standard_normal(x.shape) if s else mean
    assert 0.2 < clipped < 0.95
    ours = sample_diffusion(model, 4, n_steps=4, eta=1.0, seed=5)
    np.testing.assert_allclose(ours, x, atol=1e-5)
    assert np.abs(ours).max() <= 1 + 1e-6 and np.abs(ours).min() < 0.99


@pytest.mark.every_backend
@pytest.mark.parametrize(("n_steps", "eta"), [(1, 0.0), (3, 0.0), (8, 1.0), (3, 0.4)])
def test_the_exact_denoiser_of_one_point_lands_on_it(n_steps, eta):
    x = sample_diffusion(gaussian(0.25, 0.0), 5, n_steps=n_steps, eta=eta)
    np.testing.assert_allclose(x, 0.25, atol=1e-5)


@pytest.mark.every_backend
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_known_pixels_stay_and_the_others_follow_them(eta):
    point = np.array([0.5, 0.4, 0.6, -0.5, 0.3, -0.6], "float32").reshape(SHAPE)
    model = two_points(point)
    free = sample_diffusion(model, 40, n_steps=10, eta=eta)
    signs = np.sign(free[:, 0, 0, 0])
    assert 8 < np.sum(signs > 0) < 32
    np.testing.assert_allclose(free, signs.reshape(-1, 1, 1, 1) * point, atol=0.02)
    known = np.full((40, *SHAPE), np.nan)
    known[:20, 0], known[20:, 0] = point[0], -point[0]
    drawn = sample_diffusion(model, 40, n_steps=10, eta=eta, known=known)
    np.testing.assert_array_equal(drawn[:, 0], known[:, 0].astype("float32"))
    right = np.isclose(drawn[:, 1], np.repeat([1, -1], 20).reshape(-1, 1, 1) * point[1], atol=0.02)
    assert right.mean() > (0.95 if eta else 0.7)  # by fresh noise they are convinced, by their first one mostly
    nothing = sample_diffusion(model, 40, n_steps=10, eta=eta, known=np.full((40, *SHAPE), np.nan))
    np.testing.assert_array_equal(nothing, free)


def pair(correlation, std=0.2):
    """The exact denoiser of two pixels that vary together, with mean 0."""
    covariance = std**2 * np.array([[1, correlation], [correlation, 1]])
    values, axes = np.linalg.eigh(covariance)
    axes = axes.astype("float32")

    def v(x, alpha, sigma):
        along = ops.matmul(ops.reshape(x, (-1, 2)), axes)
        alpha, sigma = ops.reshape(alpha, (-1, 1)), ops.reshape(sigma, (-1, 1))
        of_axes = along * alpha * sigma * (1 - values.astype("float32")) / (alpha**2 * values + sigma**2)
        return ops.reshape(ops.matmul(of_axes, axes.T), (-1, 1, 2, 1))

    return denoiser(v, (1, 2, 1))


@pytest.mark.every_backend
def test_by_repeats_hidden_pixels_are_drawn_from_the_posterior_of_the_known():
    """Of a Gaussian pair with correlation r: N(r x, (1 - r^2) std^2)."""
    model, r, std = pair(0.9), 0.9, 0.2
    known = np.full((3000, 1, 2, 1), np.nan)
    known[:, 0, 0] = 0.3
    hidden = {}
    for repeats in (1, 10):
        drawn = sample_diffusion(model, 3000, n_steps=100, eta=1.0, known=known, repeats=repeats)
        np.testing.assert_array_equal(drawn[:, 0, 0], known[:, 0, 0].astype("float32"))
        hidden[repeats] = drawn[:, 0, 1]
    means = {repeats: pixels.mean() for repeats, pixels in hidden.items()}
    assert means[10] == pytest.approx(r * 0.3, rel=0.05)
    assert means[1] < 0.75 * r * 0.3  # without, they follow by half
    assert hidden[10].std() == pytest.approx(np.sqrt(1 - r**2) * std, rel=0.25)  # steps of a finite length


@pytest.mark.every_backend
def test_repeats_without_known_pixels_draw_from_the_same_density():
    x = sample_diffusion(gaussian(0.3, 0.2, (8, 8, 1)), 500, n_steps=200, eta=1.0, repeats=3)
    assert x.mean() == pytest.approx(0.3, abs=0.005) and x.std() == pytest.approx(0.2, rel=0.1)


@pytest.mark.every_backend
def test_a_repeat_begins_where_noise_has_taken_the_image_back():
    """From angle b up to a the image is cos a / cos b of what it was; the noise makes up the variance."""
    mean, std = 0.2, 0.3
    x = sample_diffusion(gaussian(mean, std), 3, n_steps=3, seed=7, repeats=2)
    a, b = np.pi / 3, np.pi / 6

    def turned(off, a, b):
        up = np.cos(a) * np.cos(b) * std**2 + np.sin(a) * np.sin(b)
        return off * up / (np.cos(a) ** 2 * std**2 + np.sin(a) ** 2)

    first, fresh = np.random.default_rng(7).standard_normal((2, 3, *SHAPE))
    off = turned(turned(first, np.pi / 2, a), a, b)
    off = np.cos(a) / np.cos(b) * off + np.sqrt(1 - (np.cos(a) / np.cos(b)) ** 2) * fresh
    np.testing.assert_allclose(x, mean + turned(turned(off, a, b), b, 0), atol=1e-5)


@pytest.mark.every_backend
def test_the_first_and_the_last_step_are_made_once():
    calls = []
    model = network()
    asked = model.predict_on_batch
    model.predict_on_batch = lambda inputs: (calls.append(float(np.max(inputs[1]))), asked(inputs))[1]
    sample_diffusion(model, 2, n_steps=4, repeats=3)
    np.testing.assert_allclose(calls, [1, *[0.75] * 3, *[0.5] * 3, 0.25])


def test_known_pixels_may_be_a_list_and_light_all_over():
    known = np.full((2, *SHAPE), 0.25)
    np.testing.assert_array_equal(sample_diffusion(gaussian(0, 0.2), 2, n_steps=2, known=known.tolist()), known)


@pytest.mark.every_backend
def test_each_image_is_of_its_label_and_guidance_goes_beyond():
    model, labels = labelled(), np.array([2, 0, 1, 1])
    of_label, of_none = -VALUES[labels + 1, 0], -VALUES[0, 0]

    def drawn(**options):
        x = sample_diffusion(model, 4, n_steps=1, **options)
        assert x.shape == (4, *SHAPE)
        assert np.ptp(x, axis=(1, 2, 3)).max() < 1e-6
        return x[:, 0, 0, 0]

    np.testing.assert_allclose(drawn(), of_none, atol=1e-6)
    np.testing.assert_allclose(drawn(labels=labels), of_label, atol=1e-6)
    np.testing.assert_allclose(drawn(labels=labels[:, None], guidance=0.0), of_label, atol=1e-6)
    np.testing.assert_allclose(drawn(labels=labels, guidance=-1), of_none, atol=1e-6)
    beyond = of_label + 0.5 * (of_label - of_none)
    np.testing.assert_allclose(drawn(labels=labels, guidance=0.5), beyond.clip(-1, 1), atol=1e-6)
    assert beyond.max() < 1 and np.abs(beyond - of_label).min() > 0.04


@pytest.mark.every_backend
def test_many_images_are_asked_for_in_batches_of_one_shape(monkeypatch):
    """And come out as they would at once; every image has its own noise and label."""
    model = denoiser(lambda x, alpha, sigma, label: 0.3 * x + 0.3 * label, n_classes=3)
    labels = np.arange(7) % 3
    options = {"n_steps": 3, "eta": 0.5, "labels": labels, "guidance": 0.5}
    sizes, original = [], model.predict_on_batch

    def predict_on_batch(x):
        sizes.append({len(part) for part in x})
        return original(x)

    monkeypatch.setattr(model, "predict_on_batch", predict_on_batch)
    at_once = sample_diffusion(model, 7, **options)
    assert sizes == [{14}] * 3  # both answers of guidance in one call, and not a row more
    sizes.clear()
    monkeypatch.setattr(diffusion, "ROWS_AT_ONCE", 4)
    np.testing.assert_allclose(sample_diffusion(model, 7, **options), at_once, atol=1e-6)
    assert sizes == [{4}] * 12
    assert len({round(float(x), 4) for x in at_once[:, 0, 0, 0]}) == 7


def test_a_model_without_an_embedding_is_told_labels_too():
    """Which classes it knows is then not known: any whole number from 0 on."""
    image, t, label = keras.Input(SHAPE), keras.Input((1,)), keras.Input((1,))
    model = keras.Model([image, t, label], 0 * (image + ops.sum(t)) - 0.1 * ops.reshape(label, (-1, 1, 1, 1)))
    x = sample_diffusion(model, 2, n_steps=1, labels=[0, 7])
    np.testing.assert_allclose(x[:, 0, 0, 0], [0.1, 0.8], atol=1e-6)


def test_the_seed_decides_and_numpys_global_generator_stays():
    model = gaussian(0, 0.3)
    np.random.seed(1)
    one, same, other = (sample_diffusion(model, 2, 3, eta=1.0, seed=seed) for seed in (1, 1, 2))
    after = np.random.random()
    np.random.seed(1)
    assert after == np.random.random()
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).min() > 1e-4
    np.testing.assert_array_equal(sample_diffusion(model, 2), sample_diffusion(model, 2, seed=0, n_steps=20, eta=0))


@pytest.mark.every_backend
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_under_mixed_precision(policy):
    before = keras.config.dtype_policy()
    labels = np.arange(6) % 3

    def make():
        keras.utils.set_random_seed(2)
        image, t, label = keras.Input(SHAPE), keras.Input((1,)), keras.Input((1,), dtype="int32")
        told = layers.Flatten()(layers.Embedding(4, 3)(label))
        x = layers.Concatenate()([layers.Flatten()(image), t, told])
        x = layers.Dense(6)(layers.Dense(8, activation="tanh")(x))
        return keras.Model([image, t, label], layers.Reshape(SHAPE)(x))

    full = sample_diffusion(make(), 6, n_steps=4, labels=labels, guidance=1.0)
    try:
        keras.config.set_dtype_policy(policy)
        mixed = sample_diffusion(make(), 6, n_steps=4, labels=labels, guidance=1.0)
    finally:
        keras.config.set_dtype_policy(before)
    assert mixed.dtype == "float32"
    np.testing.assert_allclose(mixed, full, atol=0.05)


@pytest.mark.every_backend
def test_a_network_that_is_trained_draws_what_it_saw():
    """Two pictures, each with its label; averaged weights, as the lesson's."""
    keras.utils.set_random_seed(0)
    image, t, label = keras.Input(SHAPE), keras.Input((1,)), keras.Input((1,), dtype="int32")
    told = layers.Flatten()(layers.Embedding(3, 8)(label))
    x = layers.Concatenate()([layers.Flatten()(image), t, told])
    for _ in range(2):
        x = layers.Dense(64, activation="silu")(x)
    model = keras.Model([image, t, label], layers.Reshape(SHAPE)(layers.Dense(6)(x)))
    model.compile(keras.optimizers.Adam(3e-3, use_ema=True, ema_momentum=0.98), "mse")
    pictures = np.array([[0.8, -0.8, 0.8, -0.8, 0.8, -0.8], [-0.5, -0.5, 0.5, 0.5, 0, 0]]).reshape(2, *SHAPE)
    labels = np.arange(64) % 2
    rng = np.random.default_rng(0)
    for _ in range(300):
        train_step(model, *noised(pictures[labels], rng, labels))
    averages = averaged_generator(model, model)
    x = sample_diffusion(averages, 10, labels=np.arange(10) % 2)
    assert np.abs(x - pictures[np.arange(10) % 2]).mean() < 0.25


def takes_and_makes(*inputs, out=None):
    """A model that hands on its first input, or what `out` makes of all."""
    inputs = [keras.Input(shape) for shape in inputs]
    first = inputs[0] + sum(0 * ops.sum(part) for part in inputs)  # Keras 3.12 refuses an input without a use
    return keras.Model(inputs, out(first, *inputs[1:]) if out else first)


KNOWN = np.full((2, *SHAPE), np.nan)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"n": 2.5}, "n is 2.5"),
        ({"n_steps": 0}, "n_steps is 0"),
        ({"n_steps": 1.0}, "n_steps is 1.0"),
        ({"repeats": 0}, "repeats is 0"),
        ({"repeats": 2.0}, "repeats is 2.0"),
        ({"eta": -0.1}, "eta is -0.1"),
        ({"eta": 1.1}, "eta is 1.1"),
        ({"eta": np.nan}, "eta is nan"),
        ({"guidance": 1.0}, "give labels"),
        ({"labels": [0, 1], "guidance": np.inf}, "guidance is inf"),
        ({"labels": [0, 1], "model": gaussian(0, 1)}, "takes no labels"),
        ({"labels": [0, 3]}, "classes are 0 to 2"),
        ({"labels": [0, -1]}, "0 to 2"),
        ({"labels": [0]}, "2 integers"),
        ({"known": KNOWN[:1]}, r"known pixels have the shape \(1, 2, 3, 1\)"),
        ({"known": KNOWN[0]}, "known pixels have the shape"),
        ({"known": np.zeros((2, *SHAPE), "uint8")}, r"known pixels are uint8.*to_tanh"),
        ({"known": np.where(np.isnan(KNOWN), 2.0, 0)}, "known pixels must lie in"),
        ({"model": "unet"}, "no known inputs"),
        ({"model": takes_and_makes(SHAPE)}, r"\[images, times\]"),
        ({"model": takes_and_makes(SHAPE, (1,), (1,), (1,))}, r"\[images, times\]"),
        ({"model": takes_and_makes(SHAPE, (1,), (2,))}, r"\[images, times\]"),
        ({"model": takes_and_makes((None, 3, 1), (1,))}, "answers of the images' shape"),
        ({"model": takes_and_makes(SHAPE, (1,), out=lambda x, t: layers.Flatten()(x))}, "answers of the images' shape"),
        ({"model": takes_and_makes(SHAPE, (1,), out=lambda x, t: [x + 0, t + 0])}, "answers of the images' shape"),
    ],
)
def test_drawing_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        sample_diffusion(**{"model": labelled(), "n": 2} | options)

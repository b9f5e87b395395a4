"""Flows against NumPy and SciPy: densities by numerical Jacobians and by quadrature, draws by their moments."""

import keras
import numpy as np
import pytest
from keras import ops
from models import build_couplings
from scipy import integrate, stats

from keras_gen import Couplings, bits_per_dim, dequantize, squeeze, unsqueeze


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(7)


def draw(n, d, seed=1):
    return np.random.default_rng(seed).normal(size=(n, d)).astype("float32")


# ---- couplings ----


@pytest.mark.every_backend
@pytest.mark.parametrize("d", [2, 5])
def test_untrained_couplings_are_normal(d):
    flow, x = Couplings(width=8), draw(64, d)
    np.testing.assert_allclose(ops.convert_to_numpy(flow(x)), stats.norm.logpdf(x).sum(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(np.sort(flow.inverse(x), axis=1), np.sort(x, axis=1))  # another order, no more


def test_eight_of_width_128_are_usual():
    flow = Couplings()
    flow.build((None, 3))  # the second part is the larger one
    assert [w.shape for w in flow.get_weights()] == [(1, 128), (128,), (128, 128), (128,), (128, 4), (4,)] * 8


@pytest.mark.every_backend
@pytest.mark.parametrize(("d", "n_couplings"), [(2, 1), (3, 4), (6, 3)])
def test_couplings_obey_the_change_of_variables(d, n_couplings):
    """log p(x) = log N(z; 0, I) - log |det dx/dz|, with the Jacobian of `inverse` by central differences."""
    flow = build_couplings(d, n_couplings=n_couplings, width=5)
    z, small = draw(40, d), 2e-3
    moves = small * np.eye(d, dtype="float32")
    columns = [(flow.inverse(z + move) - flow.inverse(z - move)) / (2 * small) for move in moves]
    _, log_det = np.linalg.slogdet(np.stack(columns, axis=-1))
    assert np.abs(log_det).max() > 0.5
    expected = stats.norm.logpdf(z).sum(axis=1) - log_det
    errors = np.abs(ops.convert_to_numpy(flow(flow.inverse(z))) - expected)
    assert np.median(errors) < 0.01 and np.mean(errors < 0.05) > 0.9  # float32 differences


def test_density_of_couplings_integrates_to_one():
    axis = np.linspace(-14, 14, 561)
    x = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype("float32")
    flow = build_couplings(2, scale=0.4, n_couplings=3, width=8)
    density = np.exp(ops.convert_to_numpy(flow(x)).astype("float64"))
    assert density.sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=0.01)
    draws = flow.inverse(np.random.default_rng(0).standard_normal((20_000, 2)))
    for power in (1, 2):  # and `inverse` draws from it
        moment = (density[:, None] * x**power).sum(axis=0) * (axis[1] - axis[0]) ** 2
        np.testing.assert_allclose((draws**power).mean(axis=0), moment, atol=0.15 * power)


@pytest.mark.parametrize(("given", "log_scale"), [(1e3, 2), (1.0, 2 * np.tanh(0.5)), (-1e3, -2)])
def test_a_coupling_scales_by_e_squared_at_most(given, log_scale):
    flow = build_couplings(2, scale=0.0, n_couplings=1)
    bias = np.array([0.0, given], "float32")  # shift and log scale before the bound
    flow.networks[0].layers[-1].bias.assign(bias)
    x = np.array([[0.3, 0.7]], "float32")
    z = np.array([0.7 * np.exp(log_scale), 0.3])
    expected = -0.5 * np.sum(z**2) - np.log(2 * np.pi) + log_scale
    assert ops.convert_to_numpy(flow(x))[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.every_backend
def test_couplings_learn_where_the_points_are():
    """Points in two heaps: N(0, I) costs 6.7 nats, the truth, ln 2 and two narrow Gaussians, 1.4."""
    rng = np.random.default_rng(8)
    points = np.repeat(np.sign(rng.normal(size=(512, 1))) * 2, 2, axis=1) + 0.3 * rng.normal(size=(512, 2))
    x = keras.Input((2,))
    flow = Couplings(n_couplings=4, width=32)
    model = keras.Model(x, flow(x))
    model.compile(keras.optimizers.Adam(0.01), loss=lambda y, log_p: -log_p)
    before = -float(ops.mean(flow(points)))
    model.fit(points, np.zeros(512), batch_size=128, epochs=60, verbose=0)
    assert before > 5.5 and 0.5 < -float(ops.mean(flow(points))) < 3


@pytest.mark.every_backend
def test_saved_and_loaded_couplings_are_the_same(tmp_path):
    flow, x = build_couplings(3, scale=0.3, n_couplings=2, width=4), keras.Input((3,))
    model = keras.Model(x, flow(x))
    model.save(tmp_path / "flow.keras")
    loaded = keras.models.load_model(tmp_path / "flow.keras")
    points = draw(9, 3)
    np.testing.assert_array_equal(loaded.predict(points, verbose=0), model.predict(points, verbose=0))
    np.testing.assert_array_equal(loaded.layers[-1].inverse(points), flow.inverse(points))


def test_couplings_that_were_saved_from_where_they_stood_before_load():
    config = keras.saving.serialize_keras_object(Couplings(3, 7))
    assert config["registered_name"] == "keras_gen>Couplings"
    loaded = keras.saving.deserialize_keras_object(config | {"module": "keras_gen.vae"})
    assert isinstance(loaded, Couplings) and (loaded.n_couplings, loaded.width) == (3, 7)


def test_misuse_of_couplings_is_named():
    with pytest.raises(ValueError, match="two latent dimensions"):
        Couplings().build((None, 1))
    with pytest.raises(ValueError, match="no networks yet"):
        Couplings().inverse(draw(2, 2))
    flow = build_couplings(3, n_couplings=1)
    for wrong in (draw(4, 2), draw(4, 4), draw(4, 3)[0], draw(4, 3)[None]):
        with pytest.raises(ValueError, match=r"noise \(n, 3\)"):
            flow.inverse(wrong)


# ---- squeeze ----


@pytest.mark.every_backend
def test_squeeze_puts_blocks_into_channels():
    x = np.random.default_rng(0).normal(size=(3, 4, 6, 5)).astype("float32")
    squeezed = ops.convert_to_numpy(squeeze(x))
    assert squeezed.shape == (3, 2, 3, 20)
    by_hand = np.concatenate([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=-1)
    np.testing.assert_array_equal(squeezed, by_hand)
    np.testing.assert_array_equal(ops.convert_to_numpy(unsqueeze(squeezed)), x)
    image = keras.Input((4, 6, 5))
    twice = keras.Model(image, [squeeze(image), unsqueeze(squeeze(image))])  # n is not known there
    for ours, wanted in zip(twice.predict(x, verbose=0), (squeezed, x), strict=True):
        np.testing.assert_array_equal(ours, wanted)


def test_squeeze_refuses():
    for shape in ((2, 3, 4, 1), (2, 4, 3, 1)):
        with pytest.raises(ValueError, match="both sides must be even"):
            squeeze(np.zeros(shape))
    with pytest.raises(ValueError, match=r"parts of the channels; given: \(2, 4, 4, 6\)"):
        unsqueeze(np.zeros((2, 4, 4, 6)))
    for function in (squeeze, unsqueeze):
        with pytest.raises(ValueError, match=rf"{function.__name__} takes images.*given: \(4, 4, 4\)"):
            function(np.zeros((4, 4, 4)))


# ---- grey levels ----


def test_noise_is_even_within_a_grey_level():
    images = np.repeat(np.array([0, 3, 255], "uint8"), 20_000).reshape(30, 2_000)
    x = dequantize(images, seed=1)
    assert x.shape == images.shape and x.dtype == "float32"
    np.testing.assert_array_equal(np.floor(x), images)
    for part in (x - images).reshape(3, -1):
        assert stats.kstest(part, "uniform").pvalue > 0.001
        assert 0 < part.min() < 1e-3 and 1 - 1e-3 < part.max() < 1


def test_noise_never_reaches_a_whole_number(monkeypatch):
    class Ends:
        def __init__(self, seed):
            pass

        def integers(self, low, high, shape, dtype):
            return np.resize(np.array([low, high - 1], dtype), shape)

    monkeypatch.setattr(np.random, "default_rng", Ends)
    low, high = dequantize(np.array([255, 255], "uint8"), seed=0)
    assert low - 255 == pytest.approx(256 - high) and 0 < low - 255 < 1e-4


def test_the_seed_decides_and_numpys_global_generator_stays():
    images = np.full((4, 50), 7, "uint8")
    np.random.seed(1)
    one, same, other = (dequantize(images, seed) for seed in (1, 1, 2))
    after = np.random.random()
    np.random.seed(1)
    assert after == np.random.random()
    np.testing.assert_array_equal(one, same)
    assert (one != other).all()


def test_the_noisy_density_is_a_lower_bound_of_the_levels_probability():
    """Of four levels under a bell around 1.5: by Jensen's inequality."""
    levels = np.repeat(np.arange(4, dtype="uint8"), 50_000)
    bell = stats.norm(1.5, 0.8)
    log_p = bell.logpdf(dequantize(levels, seed=0))
    for level in range(4):
        exact = np.log(integrate.quad(bell.pdf, level, level + 1)[0])
        bound = integrate.quad(bell.logpdf, level, level + 1)[0]
        assert log_p[levels == level].mean() == pytest.approx(bound, abs=0.02)
        assert bound < exact


@pytest.mark.parametrize("wrong", [np.zeros((2, 2), "float32"), np.zeros((2, 2), "int64"), [[0.5]]])
def test_what_is_no_grey_level_is_refused(wrong):
    with pytest.raises(ValueError, match=r"uint8; given.*to_uint8"):
        dequantize(wrong, seed=0)


@pytest.mark.every_backend
def test_bits_per_dim_of_known_densities():
    """Evenly over 256 levels an image costs 8 bits a pixel, over one level none; a Gaussian costs its entropy."""
    log_p = np.array([4 * np.log(1 / 256), 0.0], "float32")
    bits = bits_per_dim(ops.convert_to_tensor(log_p), (2, 2, 2, 1))
    assert bits.dtype == "float64"
    np.testing.assert_allclose(bits, [8, 0], atol=1e-6)
    x = np.random.default_rng(0).normal(0, 20, (5_000, 3))
    bits = bits_per_dim(stats.norm.logpdf(x, 0, 20).sum(axis=1), x.shape)
    assert bits.mean() == pytest.approx(stats.norm(0, 20).entropy() / np.log(2), abs=0.03)


@pytest.mark.parametrize("shape", [(4, 28, 28, 1), (3,), (), (3, 28, 28, 1)[::-1]])
def test_densities_of_another_number_than_the_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"for each image.*given: \(3,\)"):
        bits_per_dim(np.zeros(3), shape)


def test_a_density_for_each_pixel_is_refused():
    with pytest.raises(ValueError, match=r"given: \(3, 28\)"):
        bits_per_dim(np.zeros((3, 28)), (3, 28))

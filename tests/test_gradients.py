import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_gen import gradient

to_numpy = ops.convert_to_numpy


def network(*shape):
    keras.utils.set_random_seed(0)
    x = image = keras.Input(shape)
    x = layers.Conv2D(3, 3, activation="tanh")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(1)(x))


@pytest.mark.every_backend
def test_equal_to_finite_differences():
    """Of each image's own score, through a model: central differences in float64 are the outside truth."""
    model = network(5, 5, 2)
    x = np.random.default_rng(0).normal(size=(3, 5, 5, 2)).astype("float32")
    slopes = to_numpy(gradient(lambda x: model(x, training=False), x))
    assert slopes.shape == x.shape
    step = 1e-2
    pixels = np.random.default_rng(1).choice(x[0].size, 12, replace=False)
    for pixel in pixels:
        move = np.zeros(x[0].size, "float32")
        move[pixel] = step
        move = move.reshape(x[0].shape)
        by_difference = (model.predict_on_batch(x + move) - model.predict_on_batch(x - move))[:, 0] / (2 * step)
        np.testing.assert_allclose(slopes.reshape(3, -1)[:, pixel], by_difference, atol=2e-4)
    assert np.abs(slopes).max() > 0.1  # so that the tolerance means something


@pytest.mark.every_backend
@pytest.mark.parametrize("kind", [list, tuple])
def test_several_arguments_and_one_that_does_not_matter(kind):
    a, b, c = np.float32([1, 2]), np.float32([3, 5]), np.float32([7])
    slopes = gradient(lambda xs: ops.sum(xs[0] ** 2 * xs[1]), kind([a, b, c]))
    assert isinstance(slopes, list)
    for slope, truth in zip(slopes, (2 * a * b, a**2, 0 * c), strict=True):
        np.testing.assert_allclose(to_numpy(slope), truth)


@pytest.mark.every_backend
def test_it_can_be_differentiated_again_and_again():
    x = np.float32([0.5, -1.5])
    first = lambda x: gradient(lambda x: x**4, x)  # noqa: E731
    second = lambda x: gradient(first, x)  # noqa: E731
    np.testing.assert_allclose(to_numpy(first(x)), 4 * x**3, rtol=1e-5)
    np.testing.assert_allclose(to_numpy(second(x)), 12 * x**2, rtol=1e-5)
    np.testing.assert_allclose(to_numpy(gradient(second, x)), 24 * x, rtol=1e-5)


@pytest.mark.every_backend
def test_two_unrolled_steps_equal_the_derivation_by_hand():
    """The slope in g of a loss after two steps of d on (d - g)^2, as an unrolled GAN needs it (Metz et al. 2017).

    d' = d - 2 r (d - g), twice: d'' = (1 - 2 r)^2 d + (1 - (1 - 2 r)^2) g, and the loss is d''^2 g.
    """
    rate, d_0, g_0 = 0.1, 0.7, 1.3

    def unrolled(g):
        d = ops.convert_to_tensor(np.float32(d_0))
        for _ in range(2):
            d = d - rate * gradient(lambda d: ops.square(d - g), d)
        return ops.square(d) * g

    left = (1 - 2 * rate) ** 2
    d_2 = left * d_0 + (1 - left) * g_0
    by_hand = 2 * d_2 * (1 - left) * g_0 + d_2**2
    assert float(to_numpy(gradient(unrolled, np.float32(g_0)))) == pytest.approx(by_hand, rel=1e-5)
    assert abs(by_hand - d_2**2) > 0.1  # what a step that is not unrolled would miss


@pytest.mark.every_backend
def test_variables_are_not_changed_and_not_needed():
    model = network(4, 4, 1)
    before = [to_numpy(variable).copy() for variable in model.variables]
    gradient(lambda x: model(x, training=False), np.ones((2, 4, 4, 1), "float32"))
    assert all(np.array_equal(a, to_numpy(b)) for a, b in zip(before, model.variables, strict=True))


@pytest.mark.every_backend
def test_at_a_variable_which_an_optimizer_then_moves():
    """(x - 3)^2 has the slope 2 (x - 3); a step of gradient descent with rate 0.1 goes against it."""
    q = keras.Variable([1.0, 5.0])
    slope = gradient(lambda q: (q - 3) ** 2, q)
    np.testing.assert_allclose(to_numpy(slope), [-4, 4])
    keras.optimizers.SGD(learning_rate=0.1).apply([slope], [q])
    np.testing.assert_allclose(to_numpy(q.value), [1.4, 4.6], rtol=1e-6)

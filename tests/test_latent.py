import random

import keras
import numpy as np
import pytest
from scipy import stats

from keras_gen import attribute_directions, generate_latent_points, interpolate_points, invert_generator, to_uint8

LATENT_DIM = 4


def test_points_are_standard_normal_and_follow_the_seed():
    keras.utils.set_random_seed(3)
    points = generate_latent_points(100, 500)
    assert points.shape == (500, 100) and points.dtype == np.float32
    assert stats.kstest(points.ravel(), "norm").pvalue > 0.001
    keras.utils.set_random_seed(3)
    assert np.array_equal(points, generate_latent_points(100, 500))


def test_labels_are_uniform():
    keras.utils.set_random_seed(0)
    points, labels = generate_latent_points(2, 5000, n_classes=10)
    assert points.shape == (5000, 2) and labels.shape == (5000, 1)
    assert stats.chisquare(np.bincount(labels[:, 0], minlength=10)).pvalue > 0.001


def test_linear():
    walk = interpolate_points([0, 0], [4, 8], n_steps=5)
    assert np.allclose(walk, [[0, 0], [1, 2], [2, 4], [3, 6], [4, 8]])


def test_slerp_turns_at_a_steady_angle():
    walk = interpolate_points([1, 0, 0], [0, 1, 0], n_steps=4, method="slerp")
    angles = np.radians([0, 30, 60, 90])
    assert np.allclose(walk, np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1), atol=1e-6)


def test_slerp_changes_the_norm_steadily_and_ends_at_its_ends():
    rng = np.random.default_rng(0)
    p1, p2 = rng.normal(size=100), 3 * rng.normal(size=100)
    walk = interpolate_points(p1, p2, 7, "slerp")
    norms = np.linspace(np.linalg.norm(p1), np.linalg.norm(p2), 7)
    assert np.allclose(np.linalg.norm(walk, axis=1), norms, rtol=1e-5)
    assert np.array_equal(walk[0], p1.astype("float32")) and np.array_equal(walk[-1], p2.astype("float32"))


@pytest.mark.parametrize("turn", [0.0, 1e-12, 1e-8, 1e-5])
def test_slerp_of_parallel_vectors_is_the_straight_line(turn):
    p1 = np.array([1.0, 0.0])
    p2 = 2 * np.array([np.cos(turn), np.sin(turn)])
    walk = interpolate_points(p1, p2, 5, "slerp")
    assert np.allclose(walk, interpolate_points(p1, p2, 5), atol=1e-5)


@pytest.mark.parametrize(
    "p1, p2, options, message",
    [
        ([1, 2], [-1, -2], {"method": "slerp"}, "opposite"),
        ([0, 0], [1, 2], {"method": "slerp"}, "origin"),
        ([1, 2], [1, 2, 3], {}, r"\(2,\) and \(3,\)"),
        ([[1, 2]], [[3, 4]], {}, r"\(1, 2\)"),
        ([1, 2], [3, 4], {"n_steps": 1}, "at least 2"),
        ([1, 2], [3, 4], {"method": "cubic"}, "cubic"),
        ([1, np.nan], [3, 4], {}, "nan"),
        ([1, 2], [3, np.inf], {"method": "slerp"}, "infinity"),
    ],
)
def test_errors(p1, p2, options, message):
    with pytest.raises(ValueError, match=message):
        interpolate_points(p1, p2, **options)


# ---- directions, and the way back ----


@pytest.fixture
def linear_generator():
    """Images 3x2x1 that are a linear function of z: every answer is known."""
    rng = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input((LATENT_DIM,)),
            keras.layers.Dense(6),
            keras.layers.Dropout(0.9),  # must not act
            keras.layers.Reshape((3, 2, 1)),
        ]
    )
    matrix, offset = rng.normal(size=(LATENT_DIM, 6)), rng.normal(size=6)
    model.set_weights([matrix, offset])
    return model, matrix, offset


def test_directions_are_those_the_points_were_made_with():
    rng = np.random.default_rng(0)
    true = np.array([[1, 0, 0, 2], [0, 3, 0, 0]])
    smile = rng.integers(0, 2, 2000)
    woman = rng.random(2000) < 0.2 + 0.6 * smile  # women smile more often
    attributes = np.stack([smile, woman], 1)
    points = attributes @ true + 0.1 * rng.normal(size=(2000, 4)) + 5
    directions = attribute_directions(points, attributes)
    assert directions.dtype == np.float32 and np.allclose(directions, true, atol=0.03)
    by_means = points[smile == 1].mean(0) - points[smile == 0].mean(0)
    assert by_means[1] > 1, "the difference of means mixes both: here the regression is needed"


def test_directions_agree_with_the_normal_equations():
    rng = np.random.default_rng(1)
    points, attributes = rng.normal(size=(50, 7)), rng.normal(size=(50, 3))
    design = np.column_stack([attributes, np.ones(50)])
    expected = np.linalg.lstsq(design, points, rcond=None)[0][:3]
    assert np.allclose(attribute_directions(points, attributes), expected, atol=1e-6)


@pytest.mark.parametrize(
    "attributes, message",
    [
        (np.ones(5), r"\(5, 2\) and \(5,\)"),
        (np.ones((4, 1)), r"\(4, 1\)"),
        (np.ones((5, 1)), "only 0 change"),
        (np.arange(5)[:, None] * [1, 2], "only 1 change"),
    ],
)
def test_directions_that_cannot_be_had(attributes, message):
    with pytest.raises(ValueError, match=message):
        attribute_directions(np.random.default_rng(0).normal(size=(5, 2)), attributes)


@pytest.mark.every_backend
def test_inversion_finds_the_least_squares_solution(linear_generator):
    model, matrix, offset = linear_generator
    rng = np.random.default_rng(2)
    points = rng.normal(size=(3, LATENT_DIM)) * 0.5
    images = points @ matrix + offset + 0.1 * rng.normal(size=(3, 6))  # no point makes exactly these
    expected = np.linalg.lstsq(matrix.T, (images - offset).T, rcond=None)[0].T
    assert np.linalg.norm(expected, axis=1).max() < LATENT_DIM**0.5
    before = model.get_weights()
    found = invert_generator(model, images.reshape(3, 3, 2, 1), n_steps=400, value_range=(-99, 99))
    assert found.shape == (3, LATENT_DIM) and found.dtype == np.float32
    assert np.allclose(found, expected, atol=0.01)
    assert model.trainable and all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.every_backend
def test_inversion_stays_within_the_sphere(linear_generator):
    model, matrix, offset = linear_generator
    far = np.full((1, LATENT_DIM), 9.0)
    found = invert_generator(model, (far @ matrix + offset).reshape(1, 3, 2, 1), n_steps=100, value_range=(-99, 99))
    assert np.linalg.norm(found) == pytest.approx(LATENT_DIM**0.5, rel=1e-4)


def test_inversion_begins_where_it_is_told(linear_generator):
    model, _, _ = linear_generator
    start, images = np.array([[0.1, 0.2, 0.3, 0.4]]), np.zeros((1, 3, 2, 1))
    found = invert_generator(model, images, n_steps=1, learning_rate=1e-6, start=start, value_range=(-99, 99))
    assert np.allclose(found, start, atol=1e-5)


@pytest.mark.parametrize(
    "images, start, message",
    [
        (np.zeros((1, 3, 3, 1)), None, r"\(n, 3, 2, 1\); given: \(1, 3, 3, 1\)"),
        (np.zeros((0, 3, 2, 1)), None, r"given: \(0, 3, 2, 1\)"),
        (-np.ones((2, 3, 2, 1)), np.zeros((1, 4)), r"\(2, 4\) are wanted; given: \(1, 4\)"),
    ],
)
def test_inversion_says_what_is_wrong(linear_generator, images, start, message):
    with pytest.raises(ValueError, match=message):
        invert_generator(linear_generator[0], images, start=start)
    assert linear_generator[0].trainable


def test_inversion_wants_labels_fixed():
    point, label = keras.Input((4,)), keras.Input((1,))
    image = keras.layers.Reshape((2, 2, 1))(keras.layers.Add()([point, label]))
    conditional = keras.Model([point, label], image)
    with pytest.raises(ValueError, match="takes 2 inputs"):
        invert_generator(conditional, np.zeros((1, 2, 2, 1)))


def test_labels_of_given_classes():
    _, labels = generate_latent_points(3, 600, np.array([7, 2]))
    assert labels.shape == (600, 1) and set(labels[:, 0]) == {2, 7}
    assert abs(np.mean(labels == 2) - 0.5) < 4 * 0.5 / np.sqrt(600)
    np.random.seed(0)
    counted = generate_latent_points(3, 20, 4)[1]
    np.random.seed(0)
    assert np.array_equal(counted, generate_latent_points(3, 20, np.arange(4))[1])


def drawing_generator(activation):
    keras.utils.set_random_seed(1)
    wide = keras.initializers.RandomNormal(stddev=0.6)
    x = keras.layers.Dense(64, activation=activation, kernel_initializer=wide)(z := keras.Input((LATENT_DIM,)))
    return keras.Model(z, keras.layers.Reshape((8, 8, 1))(x))


def test_inversion_takes_uint8_and_refuses_other_ranges():
    model = drawing_generator("tanh")
    images = model.predict_on_batch(generate_latent_points(LATENT_DIM, 4))
    state = random.getstate()
    found = invert_generator(model, images, n_steps=60)
    assert random.getstate() == state  # a search must not change the run
    assert np.mean((model.predict_on_batch(found) - images) ** 2) < 0.02
    assert np.allclose(invert_generator(model, to_uint8(images), n_steps=60), found, atol=0.05)
    for wrong in (images / 2 + 0.5, images * 127.5 + 127.5, np.full_like(images, np.nan)):
        with pytest.raises(ValueError, match=r"no value below 0|must lie in \[-1, 1\]"):
            invert_generator(model, wrong)


def test_inversion_of_a_generator_of_another_range():
    model = drawing_generator("sigmoid")
    images = model.predict_on_batch(generate_latent_points(LATENT_DIM, 4))
    with pytest.raises(ValueError, match=r"value_range=\(0, 1\)"):
        invert_generator(model, images)
    for given in (images, to_uint8(images, (0, 1))):
        found = invert_generator(model, given, n_steps=100, value_range=(0, 1))
        assert np.mean((model.predict_on_batch(found) - images) ** 2) < 0.005


def test_the_rate_of_an_inversion_falls_to_0(monkeypatch):
    rates, compile_model = [], keras.Model.compile

    def spy(model, *args, optimizer, **options):
        rates.extend(float(optimizer._learning_rate(step)) for step in (0, 25, 50))
        return compile_model(model, *args, optimizer=optimizer, **options)

    monkeypatch.setattr(keras.Model, "compile", spy)
    model = drawing_generator("tanh")
    invert_generator(model, -np.ones((1, 8, 8, 1)), n_steps=50, learning_rate=0.2)
    assert rates == pytest.approx([0.2, 0.1, 0.0], abs=1e-6)

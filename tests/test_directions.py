import keras
import numpy as np
import pytest

from keras_gen.directions import attribute_directions, invert_generator

LATENT_DIM = 4


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
    found = invert_generator(model, images.reshape(3, 3, 2, 1), n_steps=400)
    assert found.shape == (3, LATENT_DIM) and found.dtype == np.float32
    assert np.allclose(found, expected, atol=0.01)
    assert model.trainable and all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.every_backend
def test_inversion_stays_within_the_sphere(linear_generator):
    model, matrix, offset = linear_generator
    far = np.full((1, LATENT_DIM), 9.0)
    found = invert_generator(model, (far @ matrix + offset).reshape(1, 3, 2, 1), n_steps=100)
    assert np.linalg.norm(found) == pytest.approx(LATENT_DIM**0.5, rel=1e-4)


def test_inversion_begins_where_it_is_told(linear_generator):
    model, _, _ = linear_generator
    start = np.array([[0.1, 0.2, 0.3, 0.4]])
    found = invert_generator(model, np.zeros((1, 3, 2, 1)), n_steps=1, learning_rate=1e-6, start=start)
    assert np.allclose(found, start, atol=1e-5)


@pytest.mark.parametrize(
    "images, start, message",
    [
        (np.zeros((1, 3, 3, 1)), None, r"\(n, 3, 2, 1\); given: \(1, 3, 3, 1\)"),
        (np.zeros((0, 3, 2, 1)), None, r"given: \(0, 3, 2, 1\)"),
        (np.zeros((2, 3, 2, 1)), np.zeros((1, 4)), r"\(2, 4\) are wanted; given: \(1, 4\)"),
    ],
)
def test_inversion_says_what_is_wrong(linear_generator, images, start, message):
    with pytest.raises(ValueError, match=message):
        invert_generator(linear_generator[0], images, start=start)
    assert linear_generator[0].trainable

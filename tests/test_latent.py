import keras
import numpy as np
import pytest
from scipy import stats

from keras_gen import generate_latent_points, interpolate_points


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
    ],
)
def test_errors(p1, p2, options, message):
    with pytest.raises(ValueError, match=message):
        interpolate_points(p1, p2, **options)

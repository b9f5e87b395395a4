import numpy as np
from scipy.stats import chisquare, kstest

from keras_gen import RING_MODES, sample_ring


def test_the_ring_is_eight_gaussians_on_a_circle():
    np.testing.assert_allclose(np.hypot(*RING_MODES.T), 1)
    np.testing.assert_allclose(
        np.linalg.norm(RING_MODES - np.roll(RING_MODES, 1, axis=0), axis=1), 2 * np.sin(np.pi / 8)
    )
    np.random.seed(0)
    points = sample_ring(8_000, std=0.1)
    assert points.shape == (8_000, 2) and points.dtype == np.float32
    offsets = points[:, None] - RING_MODES
    nearest = np.linalg.norm(offsets, axis=2).argmin(axis=1)
    assert chisquare(np.bincount(nearest, minlength=8)).pvalue > 0.001
    own = offsets[np.arange(len(points)), nearest]
    for axis in range(2):
        assert kstest(own[:, axis] / 0.1, "norm").pvalue > 0.001


def test_rings_side_by_side_are_drawn_apart():
    points = sample_ring(5, 3)
    assert points.shape == (5, 3, 2) and len(np.unique(points)) == 30

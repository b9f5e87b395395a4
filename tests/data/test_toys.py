import functools

import numpy as np
import pytest
from scipy.stats import chisquare, kstest, multivariate_normal

from keras_gen import RING_MODES, sample_ring, sample_toy, toy_log_density

TOYS = ("ring", "moons", "wave", "checkerboard")
STEP = 1 / 40  # half of the ring's standard deviation, and a part of the board's squares
EDGES = np.arange(-240, 241) * STEP  # -6 to 6: of the wave's x 2e-9 lie outside
MIDDLES = EDGES[:-1] + STEP / 2
GRID = np.stack(np.meshgrid(MIDDLES, MIDDLES, indexing="ij"), axis=-1)


@functools.cache
def density(name):
    return np.exp(toy_log_density(name, GRID.reshape(-1, 2))).reshape(GRID.shape[:2])


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


@pytest.mark.parametrize("name", TOYS)
def test_a_toys_density_integrates_to_one(name):
    assert abs(density(name).sum() * STEP**2 - 1) < 1e-6


@pytest.mark.parametrize("name", TOYS)
def test_a_toy_is_drawn_as_often_as_its_density_says(name):
    """In 144 squares of side 1/2, none on the border of another; the rare ones are counted together."""
    points = sample_toy(name, 20_000, seed=1)
    assert points.shape == (20_000, 2) and points.dtype == np.float32 and np.isfinite(points).all()
    assert np.isfinite(toy_log_density(name, points)).all()
    squares = np.arange(-6, 6.5, 0.5)
    drawn = np.histogram2d(*points.T, bins=(squares, squares))[0].ravel()
    wanted = density(name).reshape(24, 20, 24, 20).sum(axis=(1, 3)).ravel() * STEP**2
    wanted *= len(points) / wanted.sum()
    often = wanted >= 5
    drawn, wanted = np.append(drawn[often], drawn[~often].sum()), np.append(wanted[often], wanted[~often].sum())
    assert chisquare(drawn[wanted > 0], wanted[wanted > 0]).pvalue > 0.001


@pytest.mark.parametrize("name", TOYS)
def test_a_toys_finest_grain_is_that_of_its_density(name):
    """The mean of -log p over samples is the entropy, by a sum over the grid."""
    p = density(name)
    entropy = -np.sum(p[p > 0] * np.log(p[p > 0])) * STEP**2
    each = -toy_log_density(name, sample_toy(name, 20_000, seed=2))
    # The grid's cells are half of the finest standard deviation: 1e-3 is far over its error.
    assert abs(each.mean() - entropy) < 4 * each.std() / np.sqrt(len(each)) + 1e-3


def test_densities_at_places_where_they_are_known():
    # One dot; the next is 15 standard deviations away.
    assert np.isclose(
        toy_log_density("ring", [[1, 0]])[0], multivariate_normal([1, 0], 0.05**2).logpdf([1, 0]) - np.log(8)
    )
    # Halfway between two dots, which both count.
    halfway = RING_MODES[:2].mean(axis=0)
    one = multivariate_normal(RING_MODES[0], 0.05**2).logpdf(halfway)
    assert np.isclose(toy_log_density("ring", [halfway])[0], one + np.log(2 / 8))
    # On the wave's crest: two normals of one dimension.
    crest = [[np.pi / 4, 1]]
    known = -np.log(2 * np.pi * 0.2) - (np.pi / 4) ** 2 / 2
    assert np.isclose(toy_log_density("wave", crest)[0], known)
    board = toy_log_density("checkerboard", [[0.5, 0.5], [-0.5, -0.5], [0.5, -0.5], [1.5, 0.5], [2.5, 0.5], [2.5, 2.5]])
    np.testing.assert_allclose(board, [-np.log(8), -np.log(8), -np.inf, -np.inf, -np.inf, -np.inf])
    # The moons change places when the plane is turned by half a turn.
    points = np.random.default_rng(0).uniform(-2, 2, (50, 2))
    np.testing.assert_allclose(toy_log_density("moons", points), toy_log_density("moons", -points))
    # Each arc ends at its two ends alike; the other one is five standard deviations away or more.
    ends = toy_log_density("moons", [[-1.5, -0.25], [0.5, -0.25], [-0.5, 0.25], [1.5, 0.25]])
    np.testing.assert_allclose(ends, ends[0], atol=1e-3)
    # Far away a mixture is its nearest part, and no log of 0.
    assert np.isclose(toy_log_density("moons", [[0, 100]])[0], -0.5 * (99.25 / 0.1) ** 2, rtol=1e-3)


def test_moons_have_the_shape_of_scikit_learns():
    from sklearn.datasets import make_moons

    moons, _ = make_moons(200, noise=None)
    at_them = toy_log_density("moons", moons - (0.5, 0.25))
    assert at_them.min() > toy_log_density("moons", [[0, 0], [-1, -0.75], [1.5, 0.75]]).max()


def test_a_seed_draws_the_same_points_and_leaves_the_global_generator_alone():
    np.random.seed(3)
    a, b, other = sample_toy("wave", 5, seed=7), sample_toy("wave", 5, seed=7), sample_toy("wave", 5, seed=8)
    after = np.random.random()
    np.random.seed(3)
    assert np.random.random() == after
    np.testing.assert_array_equal(a, b)
    assert not np.any(a == other)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: sample_toy("moon", 5),
            "no toy .moon.. Did you mean .moons.. The names are ring, moons, wave, checker",
        ),
        (lambda: toy_log_density(["ring"], np.zeros((1, 2))), "no toy"),
        (lambda: sample_toy("ring", 0), "n is 0"),
        (lambda: sample_toy("ring", 2.5), "n is 2.5"),
        (lambda: sample_toy("ring", True), "n is True"),
        (lambda: toy_log_density("ring", [1.0, 2.0]), r"\(n, 2\).*shape \(2,\)"),
        (lambda: toy_log_density("ring", np.zeros((4, 3))), r"shape \(4, 3\)"),
        (lambda: toy_log_density("ring", [["a", "b"]]), r"must be numbers"),
        (lambda: toy_log_density("ring", [[np.nan, 0]]), "nan or infinite"),
    ],
)
def test_what_is_no_toy_gets_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""Points of a plane whose density is known: what a GAN, a mixture or a flow does with them can be seen and counted."""

from numbers import Integral

import numpy as np
from scipy.special import logsumexp

from ..files import did_you_mean
from ..images import to_numpy

RING_MODES = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)
_RING_STD = 0.05
_T = np.linspace(0, np.pi, 200)
# Upper arc, lower arc: together they fill [-1.5, 1.5] x [-0.75, 0.75].
_MOONS = np.concatenate(
    [np.stack([np.cos(_T) - 0.5, np.sin(_T) - 0.25], axis=1), np.stack([0.5 - np.cos(_T), 0.25 - np.sin(_T)], axis=1)]
)
_MOONS_STD = 0.1
_WAVE_STD = 0.2
_SQUARES = np.array([(i, j) for i in range(-2, 2) for j in range(-2, 2) if (i + j) % 2 == 0])  # lower left corners
TOYS = ("ring", "moons", "wave", "checkerboard")


def sample_ring(*shape, std=_RING_STD):
    """Draw from eight dots on a circle of radius 1, all equally likely (Metz et al. 2017, with radius 2 and std 0.02).

    Args:
        shape: how many points, such as `sample_ring(100)` or, for networks side by side, `sample_ring(100, 3)`.
        std: the standard deviation of a dot, in either direction.

    Returns:
        float32 `(*shape, 2)`, drawn by NumPy's global generator. The dots' centres are `RING_MODES`, `(8, 2)`.
    """
    centres = RING_MODES[np.random.randint(0, len(RING_MODES), shape)]
    return (centres + std * np.random.standard_normal((*shape, 2))).astype("float32")


def sample_toy(name, n, seed=0):
    """Draw points of a toy distribution whose log density is known.

    ring          eight dots on a circle of radius 1, standard deviation 0.05, as `sample_ring` draws them
    moons         two half circles of radius 1 that reach into each other; each is 200 Gaussians, standard deviation 0.1
    wave          x is standard normal, y is Gaussian around sin(2x), standard deviation 0.2
    checkerboard  uniform on the eight dark squares of a board of 4x4 squares, in [-2, 2] x [-2, 2]

    Args:
        name: one of these.
        n: how many points, at least 1.
        seed: of the points; NumPy's global generator is not used.

    Returns:
        float32 `(n, 2)`.

    Raises:
        ValueError: an unknown name, or n is no number of points.
    """
    _check_name(name)
    if not isinstance(n, Integral) or isinstance(n, bool) or n < 1:
        raise ValueError(f"n is {n!r}; it must be a whole number, 1 or more: how many points to draw.")
    rng = np.random.default_rng(seed)
    if name == "wave":
        x = rng.standard_normal(n)
        points = np.stack([x, np.sin(2 * x) + _WAVE_STD * rng.standard_normal(n)], axis=1)
    elif name == "checkerboard":
        # In the middle of one of 2^20 cells a side: float32 holds it, and never rounds it over an edge.
        points = rng.choice(_SQUARES, n) + (rng.integers(0, 2**20, (n, 2)) + 0.5) / 2**20
    else:
        centres, std = (RING_MODES, _RING_STD) if name == "ring" else (_MOONS, _MOONS_STD)
        points = rng.choice(centres, n) + std * rng.standard_normal((n, 2))
    return points.astype("float32")


def toy_log_density(name, points):
    """Compute the exact log density of a toy distribution.

    A density may exceed 1, and its logarithm 0: on the ring's dots it is 2.07.

    Args:
        name: as in `sample_toy`.
        points: `(n, 2)`, finite.

    Returns:
        float64 `(n,)`, in nats. On the light squares of "checkerboard", and outside of it, -inf: such points are never
        drawn.

    Raises:
        ValueError: an unknown name; points of another shape, or not finite.
    """
    _check_name(name)
    points = to_numpy(points)
    if points.ndim != 2 or points.shape[1] != 2 or points.dtype.kind not in "fiu":
        raise ValueError(f"The points must be numbers (n, 2); given: {points.dtype} of shape {points.shape}.")
    points = points.astype(np.float64)
    if not np.isfinite(points).all():
        raise ValueError("Some points are nan or infinite.")
    x, y = points.T
    if name == "wave":
        return _normal(x, 1) + _normal(y - np.sin(2 * x), _WAVE_STD)
    if name == "checkerboard":
        column, row = np.floor(points).T
        dark = ((points >= -2) & (points < 2)).all(axis=1) & ((column + row) % 2 == 0)
        return np.where(dark, -np.log(len(_SQUARES)), -np.inf)
    centres, std = (RING_MODES, _RING_STD) if name == "ring" else (_MOONS, _MOONS_STD)
    log_p = []
    for part in np.array_split(points, len(points) // 10_000 + 1):  # with 400 centres each 32 MB
        each = _normal(part[:, None] - centres, std).sum(axis=2)
        log_p.append(logsumexp(each, axis=1) - np.log(len(centres)))
    return np.concatenate(log_p)


def _check_name(name):
    if name not in TOYS:
        raise ValueError(f"There is no toy {name!r}.{did_you_mean(name, TOYS)} The names are {', '.join(TOYS)}.")


def _normal(x, std):
    """The log density of N(0, std^2)."""
    return -0.5 * (x / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)

"""Points in latent space: drawing them and walking between them."""

import numpy as np


def generate_latent_points(latent_dim, n_samples, n_classes=None):
    """Draw the generator's input from a standard normal distribution.

    Args:
        latent_dim: size of the latent space.
        n_samples: how many points.
        n_classes: for a conditional generator, the number of classes; a label is then drawn for each point, all
            classes equally likely.

    Returns:
        Points, float32 `(n_samples, latent_dim)`; with `n_classes` the list `[points, labels]`, labels int64
        `(n_samples, 1)`. Drawn from NumPy's global generator, which `keras.utils.set_random_seed` seeds.
    """
    points = np.random.standard_normal((n_samples, latent_dim)).astype("float32")
    if n_classes is None:
        return points
    return [points, np.random.randint(0, n_classes, (n_samples, 1))]


def interpolate_points(p1, p2, n_steps=10, method="linear"):
    """Walk from one latent point to another.

    Args:
        p1, p2: the end points, `(latent_dim,)` each.
        n_steps: number of points on the way, both ends included; at least 2.
        method: "linear" is the straight line. "slerp" turns from the one direction to the other at a steady angle while
            the norm changes steadily, so that the walk stays where a Gaussian's points are (Shoemake 1985; for latent
            spaces White 2016, "Sampling Generative Networks"). Opposite directions have no shortest arc: an error.

    Returns:
        float32 `(n_steps, latent_dim)`; the first row is `p1`, the last is `p2`.
    """
    p1, p2 = np.asarray(p1, "float64"), np.asarray(p2, "float64")
    if p1.ndim != 1 or p1.shape != p2.shape:
        raise ValueError(f"Two points of shape (latent_dim,) are wanted; given: shapes {p1.shape} and {p2.shape}.")
    if n_steps < 2:
        raise ValueError(f"n_steps is {n_steps}; at least 2 are needed, the two ends.")
    t = np.linspace(0, 1, n_steps)[:, None]
    if method == "linear":
        return ((1 - t) * p1 + t * p2).astype("float32")
    if method != "slerp":
        raise ValueError(f'method is {method!r}; it must be "linear" or "slerp".')

    norm1, norm2 = np.linalg.norm(p1), np.linalg.norm(p2)
    if norm1 == 0 or norm2 == 0:
        raise ValueError('The origin has no direction to turn from: use method="linear".')
    u1, u2 = p1 / norm1, p2 / norm2
    # arctan2 keeps its precision for nearly parallel vectors, where arccos of the dot product loses half its digits
    angle = 2 * np.arctan2(np.linalg.norm(u1 - u2), np.linalg.norm(u1 + u2))
    if np.pi - angle < 1e-6:
        raise ValueError('The points lie in opposite directions, where every arc is as short: use method="linear".')
    if angle < 1e-9:
        directions = np.broadcast_to(u1, (n_steps, len(u1)))
    else:
        directions = (np.sin((1 - t) * angle) * u1 + np.sin(t * angle) * u2) / np.sin(angle)
    walk = ((1 - t) * norm1 + t * norm2) * directions
    walk[0], walk[-1] = p1, p2
    return walk.astype("float32")

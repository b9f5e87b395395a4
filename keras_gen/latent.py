"""Latent space: drawing points, walking between them, directions that mean something, the way back from an image."""

import keras
import numpy as np
from sklearn.linear_model import LinearRegression

from .checks import check_network, extremes, noise_points
from .images import checked_images, to_numpy


def generate_latent_points(latent_dim, n_samples, n_classes=None):
    """Draw the generator's input from a standard normal distribution.

    Args:
        latent_dim: size of the latent space.
        n_samples: how many points.
        n_classes: for a conditional generator, the number of classes, or an array of the classes themselves where they
            are not 0, 1, 2 and so on; a label is then drawn for each point, all classes equally likely.

    Returns:
        Points, float32 `(n_samples, latent_dim)`; with `n_classes` the list `[points, labels]`, labels int64
        `(n_samples, 1)`. Drawn from NumPy's global generator, which `keras.utils.set_random_seed` seeds.
    """
    points = np.random.standard_normal((n_samples, latent_dim)).astype("float32")
    if n_classes is None:
        return points
    classes = np.arange(n_classes) if np.ndim(n_classes) == 0 else np.asarray(n_classes)
    return [points, classes[np.random.randint(0, len(classes), (n_samples, 1))]]


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

    Raises:
        ValueError: points of another shape or not finite, too few steps, an unknown method, no single arc.
    """
    p1, p2 = np.asarray(p1, "float64"), np.asarray(p2, "float64")
    if p1.ndim != 1 or p1.shape != p2.shape:
        raise ValueError(f"Two points of shape (latent_dim,) are wanted; given: shapes {p1.shape} and {p2.shape}.")
    if not (np.isfinite(p1).all() and np.isfinite(p2).all()):
        raise ValueError("The points hold nan or infinity: there is no way between them.")
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


def attribute_directions(points, attributes):
    """The direction in latent space in which each attribute grows while the others stay.

    One linear regression from all attributes to the latent point: z = sum_k attribute_k * direction_k + constant.
    Fitting all at once is what separates them: if most women of a generator smile, the difference of means between
    women and men holds some smile, the regression's direction does not.

    Args:
        points: latent points, `(n, latent_dim)`.
        attributes: what the generator makes of them, as a classifier or regression reads it, `(n, n_attributes)`.

    Returns:
        float32 `(n_attributes, latent_dim)`: `z + directions[k]` has one unit more of attribute k.

    Raises:
        ValueError: other shapes, or attributes that cannot be told apart: one that never changes, or follows from
            others.
    """
    points, attributes = np.asarray(points, "float64"), np.asarray(attributes, "float64")
    if points.ndim != 2 or attributes.ndim != 2 or len(points) != len(attributes):
        raise ValueError(
            "Points (n, latent_dim) and attributes (n, n_attributes) are wanted, a row of each for one image; "
            f"given: {points.shape} and {attributes.shape}."
        )
    regression = LinearRegression().fit(attributes, points)
    if regression.rank_ < attributes.shape[1]:
        raise ValueError(
            f"Of {attributes.shape[1]} attributes only {regression.rank_} change independently in these {len(points)} "
            "rows: leave out what is constant or follows from the others, or take more samples."
        )
    return regression.coef_.T.astype("float32")


def invert_generator(g_model, images, n_steps=300, learning_rate=0.1, start=None, value_range=None):
    """Find the latent points whose images come nearest to the given ones (Zhu et al. 2016): gradient descent on z.

    The squared error of the pixels is minimised by Adam, for all images at once. A point stays within the sphere of
    radius sqrt(latent_dim), near which a Gaussian's points lie: much farther out the generator was never trained.

    Args:
        g_model: latent points `(n, latent_dim)` to images. It is not changed.
        images: of the generator's shape, `(n, height, width, channels)`: uint8, or floats in the generator's range.
        n_steps, learning_rate: of Adam; the rate falls to 0 along a cosine.
        start: where to begin, `(n, latent_dim)`; by default in the origin.
        value_range: `(low, high)` of a generator that makes images in another range than [-1, 1], such as (0, 1).

    Returns:
        float32 `(n, latent_dim)`. A local minimum: other starts can end better.

    Raises:
        ValueError: images or start points of another shape or range, or a generator that takes labels too.
    """
    check_network(g_model, "g_model")
    if len(g_model.inputs) != 1:
        raise ValueError(
            f"invert_generator descends on latent points alone; this generator takes {len(g_model.inputs)} inputs. Fix "
            "the labels first: keras.Model(points, g_model([points, labels])) with labels of your choice."
        )
    latent_dim, shape = g_model.input_shape[-1], g_model.output_shape[1:]
    lowest, highest = extremes(g_model, [noise_points(latent_dim)])
    if value_range is None and 0 <= lowest < highest:
        raise ValueError("The generator makes images without a value below 0: say in which range, value_range=(0, 1).")
    images = to_numpy(images)
    if images.shape[1:] != shape or len(images) == 0:
        raise ValueError(f"The generator makes images of shape (n, {str(shape)[1:-1]}); given: {images.shape}.")
    images, given = checked_images(images, value_range)
    if images.dtype == np.uint8:
        low, high = value_range or (-1, 1)
        images = low + images * np.float32((high - low) / given[1])
    images = images.astype("float32")
    start = np.zeros((len(images), latent_dim)) if start is None else np.asarray(start)
    if start.shape != (len(images), latent_dim):
        raise ValueError(f"Start points of shape {(len(images), latent_dim)} are wanted; given: {start.shape}.")

    # A table of points, one row an image, is the only thing that learns. Keras calls such a table an embedding.
    sphere = keras.constraints.MaxNorm(latent_dim**0.5, axis=1)
    points = keras.layers.Embedding(
        len(images),
        latent_dim,
        embeddings_initializer="zeros",  # a random one would draw its seed from Python's generator
        embeddings_constraint=sphere,
        dtype="float32",
    )
    # A Lambda's weights are not trained.
    generator = keras.layers.Lambda(lambda z: g_model(z, training=False), dtype="float32")
    index = keras.Input((), dtype="int32")
    model = keras.Model(index, generator(points(index)))
    points.set_weights([start])
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, n_steps)
    model.compile(loss="mean_squared_error", optimizer=keras.optimizers.Adam(rate))
    for _ in range(n_steps):
        model.train_on_batch(np.arange(len(images)), images)
    return points.get_weights()[0]

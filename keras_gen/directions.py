"""Directions in latent space that mean something, and the way back from an image to its latent point."""

import keras
import numpy as np
from sklearn.linear_model import LinearRegression


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


def invert_generator(g_model, images, n_steps=300, learning_rate=0.1, start=None):
    """Find the latent points whose images come nearest to the given ones (Zhu et al. 2016): gradient descent on z.

    The squared error of the pixels is minimised by Adam, for all images at once. A point stays within the sphere of
    radius sqrt(latent_dim), near which a Gaussian's points lie: farther out the generator was never trained.

    Args:
        g_model: latent points `(n, latent_dim)` to images. It is not changed.
        images: float, in the generator's range and shape `(n, height, width, channels)`.
        n_steps, learning_rate: of Adam; the rate falls to 0 along a cosine.
        start: where to begin, `(n, latent_dim)`; by default in the origin.

    Returns:
        float32 `(n, latent_dim)`. A local minimum: other starts can end better.

    Raises:
        ValueError: images or start points of another shape.
    """
    images = np.asarray(images, "float32")
    latent_dim, shape = g_model.input_shape[-1], g_model.output_shape[1:]
    if images.shape[1:] != shape or len(images) == 0:
        raise ValueError(f"The generator makes images of shape (n, {str(shape)[1:-1]}); given: {images.shape}.")
    start = np.zeros((len(images), latent_dim)) if start is None else np.asarray(start)
    if start.shape != (len(images), latent_dim):
        raise ValueError(f"Start points of shape {(len(images), latent_dim)} are wanted; given: {start.shape}.")

    # A table of points, one row an image, is the only thing that learns. Keras calls such a table an embedding.
    sphere = keras.constraints.MaxNorm(latent_dim**0.5, axis=1)
    points = keras.layers.Embedding(len(images), latent_dim, embeddings_constraint=sphere)
    generator = keras.layers.Lambda(lambda z: g_model(z, training=False))  # a Lambda's weights are not trained
    index = keras.Input((), dtype="int32")
    model = keras.Model(index, generator(points(index)))
    points.set_weights([start])
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, n_steps)
    model.compile(loss="mean_squared_error", optimizer=keras.optimizers.Adam(rate))
    for _ in range(n_steps):
        model.train_on_batch(np.arange(len(images)), images)
    return points.get_weights()[0]

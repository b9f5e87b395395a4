"""Pictures: grids of images, training curves, films, and a callback that takes one as a training goes on."""

import io
import math
from numbers import Integral

import keras
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from scipy.stats import norm

from .images import to_uint8


def tile_images(images, n_columns=None, gap=1, value_range=None):
    """Put images side by side into one.

    Args:
        images: uint8, or floats in [-1, 1], `(n, height, width, channels)` with 1 or 3 channels.
        n_columns: images a row, at least 1; by default as square as possible.
        gap: white pixels between two images, 0 or more.
        value_range: `(low, high)` of float images in another range, as in `to_uint8`.

    Returns:
        One picture, uint8 `(height, width, channels)`.

    Raises:
        ValueError: images of another shape or range, other numbers.
    """
    for name, value, least in (("n_columns", 1 if n_columns is None else n_columns, 1), ("gap", gap, 0)):
        if not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} is {value!r}; it must be a whole number, at least {least}.")
    images = to_uint8(images, value_range)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or len(images) == 0:
        raise ValueError(f"Images of shape (n, height, width, 1 or 3) are wanted; given: {images.shape}.")
    n, height, width, channels = images.shape
    n_columns = math.ceil(math.sqrt(n)) if n_columns is None else n_columns
    n_rows = math.ceil(n / n_columns)
    canvas = np.full((n_rows * (height + gap) - gap, n_columns * (width + gap) - gap, channels), 255, "uint8")
    for i, image in enumerate(images):
        top, left = i // n_columns * (height + gap), i % n_columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas


def show_pictures(figure):
    """Show a figure full of pixels; in a notebook as JPEG, which a saved notebook holds in a tenth of PNG's size."""
    if not plt.get_backend().endswith("inline"):
        return plt.show()
    from IPython.display import Image as Picture
    from IPython.display import display

    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpeg", dpi=72, pil_kwargs={"quality": 80, "subsampling": 0})
    plt.close(figure)
    display(Picture(buffer.getvalue()))


def show_grid(images, n_columns=None, title=None, row_titles=None, zoom=2, value_range=None):
    """Show images in a grid.

    Args:
        images: uint8, or floats in [-1, 1], `(n, height, width, 1 or 3)`.
        n_columns: images a row; by default as square as possible.
        title: text above the grid.
        row_titles: a text for each row; fewer leave the last rows without.
        zoom: screen pixels an image pixel, at 72 dots an inch.
        value_range: `(low, high)` of float images in another range, as in `to_uint8`.

    Raises:
        ValueError: images of another shape or range, more row titles than rows, other numbers.
    """
    _check_zoom(zoom)
    images = to_uint8(images, value_range)
    grid = tile_images(images, n_columns)
    n_rows = (grid.shape[0] + 1) // (images.shape[1] + 1)
    if row_titles is not None and len(row_titles) > n_rows:
        raise ValueError(f"row_titles are {len(row_titles)}, and the grid has {n_rows} rows: give a text for each.")
    figure = plt.figure(figsize=np.array(grid.shape[1::-1]) * zoom / 72, dpi=72)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(grid, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set(xticks=[], yticks=[], frame_on=False)
    if title:
        axes.set_title(title, fontsize=13)
    if row_titles is not None:
        cell = images.shape[1] + 1
        axes.set_yticks([i * cell + cell / 2 for i in range(len(row_titles))], row_titles, fontsize=12)
        axes.tick_params(axis="y", length=0)
    # The figure grows by what stands around the grid, whose pixels keep their size.
    outer, inner = axes.get_tightbbox(), axes.get_window_extent().frozen()  # else it would grow with the figure
    left, right = inner.x0 - outer.x0 + 4, outer.x1 - inner.x1 + 4
    below, above = inner.y0 - outer.y0, outer.y1 - inner.y1
    size = inner.width + left + right, inner.height + below + above
    figure.set_size_inches(np.array(size) / 72)
    axes.set_position((left / size[0], below / size[1], inner.width / size[0], inner.height / size[1]))
    show_pictures(figure)


def _check_zoom(zoom):
    if not zoom > 0:
        raise ValueError(f"zoom is {zoom!r}; it must be a number above 0.")


def plot_latent_grid(decoder, n=15, dims=(0, 1), center=None, title=None, zoom=1):
    """Show what a decoder draws over a plane of its latent space (Kingma and Welling 2014, figure 4).

    The points are quantiles of the Gaussian prior, so that each picture stands for an equal share of it. The first
    dimension grows to the right, the second upwards.

    Args:
        decoder: a model, latent points `(n, latent_dim)` -> images in [0, 1], `(n, height, width, 1 or 3)`.
        n: pictures a side; at least 2.
        dims: the two latent dimensions that vary.
        center: a latent point `(latent_dim,)` for the others; by default 0.
        title: text above the grid.
        zoom: screen pixels an image pixel, at 72 dots an inch.

    Raises:
        ValueError: numbers that make no such grid, or images out of [0, 1].
    """
    _check_zoom(zoom)
    latent_dim = decoder.input_shape[-1]
    if not isinstance(n, Integral) or n < 2:
        raise ValueError(f"n is {n!r}; a grid needs a whole number of at least 2 pictures a side.")
    if len(set(dims)) != 2 or not all(0 <= dim < latent_dim for dim in dims):
        raise ValueError(f"dims is {dims}; two different dimensions from 0 to {latent_dim - 1} are wanted.")
    center = np.zeros(latent_dim) if center is None else np.asarray(center)
    if center.shape != (latent_dim,):
        raise ValueError(f"center has shape {center.shape}; the decoder takes points of shape ({latent_dim},).")
    quantiles = norm.ppf((np.arange(n) + 0.5) / n)
    points = np.tile(center.astype("float32"), (n * n, 1))
    points[:, dims[0]] = np.tile(quantiles, n)
    points[:, dims[1]] = np.repeat(quantiles[::-1], n)
    images = np.concatenate([decoder.predict_on_batch(row) for row in np.split(points, n)])
    grid = tile_images(images, n, gap=0, value_range=(0, 1))
    figure, axes = plt.subplots(figsize=(grid.shape[1] * zoom / 72 + 0.6, grid.shape[0] * zoom / 72 + 0.6))
    figure.set_layout_engine("constrained")
    axes.imshow(grid, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    quarter = round((n - 1) / 4)
    shown = np.unique([0, quarter, n - 1 - quarter, n - 1] + [n // 2] * (n % 2))
    texts = [f"{quantiles[i]:.1f}" for i in shown]
    axes.set_xticks((shown + 0.5) * images.shape[2] - 0.5, texts)
    axes.set_yticks((n - shown - 0.5) * images.shape[1] - 0.5, texts)
    axes.set(xlabel=f"z[{dims[0]}]", ylabel=f"z[{dims[1]}]", title=title)
    show_pictures(figure)


def show_film_strip(frames, titles, zoom=1):
    """Show pictures in one row, each under its title.

    Args:
        frames: uint8, or floats in [-1, 1], `(height, width, 1 or 3)` each, all of one shape.
        titles: a text for each.
        zoom: screen pixels an image pixel, at 72 dots an inch.

    Raises:
        ValueError: no frame, frames of another shape or range, more or fewer titles than frames.
    """
    _check_zoom(zoom)
    frames = _checked_frames(frames)
    if len(titles) != len(frames):
        raise ValueError(f"Frames are {len(frames)} and titles {len(titles)}: give a title for each.")
    height, width = frames[0].shape[:2]
    figsize = (len(frames) * (width + 6) * zoom / 72, (height * zoom + 24) / 72)
    figure, strip = plt.subplots(1, len(frames), figsize=figsize, squeeze=False)
    figure.subplots_adjust(0, 0, 1, 1 - 22 / (72 * figsize[1]), wspace=0.03)
    for axes, frame, title in zip(strip[0], frames, titles, strict=True):
        axes.imshow(frame, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(title, fontsize=12)
        axes.set_axis_off()
    show_pictures(figure)


def _checked_frames(frames):
    """Frames as uint8 `(n, height, width, 1 or 3)`; all at once, for one frame may well be light all over."""
    if len(frames) == 0:
        raise ValueError("There is no frame to show.")
    frames = to_uint8(frames)
    if frames.ndim != 4 or frames.shape[-1] not in (1, 3):
        raise ValueError(f"Frames of shape (height, width, 1 or 3) are wanted; given: {frames.shape[1:]}.")
    return frames


def plot_history(history, *groups):
    """Draw training curves side by side. Where a curve has gaps (nan), a line joins the points that there are.

    Args:
        history: what a training loop or `fit` returns.
        groups: one list of names for each plot; by default losses in one, accuracies in another, the rest in a third.

    Returns:
        The plots' axes.

    Raises:
        ValueError: something else than a history, or one that holds no epoch; a name that it lacks; a curve with more
            or fewer values than epochs.
    """
    curves = getattr(history, "history", None)
    if not isinstance(curves, dict):
        raise ValueError(
            f"plot_history wants what a training loop or fit returns, a History; given: a {type(history).__name__}. "
            "After a training, model.history is one."
        )
    if not curves:
        raise ValueError("The history holds no epoch: there is nothing to draw.")
    if not groups:
        losses = [name for name in curves if "loss" in name]
        accuracies = [name for name in curves if "acc" in name and name not in losses]
        rest = [name for name in curves if name not in losses + accuracies]
        groups = [names for names in (losses, accuracies, rest) if names]
    epochs = np.array([epoch + 1 for epoch in history.epoch])
    for names in groups:
        if isinstance(names, str) or any(name not in list(curves) for name in names):
            raise ValueError(
                f"A plot is a list of names, such as {list(curves)[:2]}; given: {names!r}. There are: "
                f"{', '.join(curves)}."
            )
        for name in names:
            if len(curves[name]) != len(epochs):
                raise ValueError(
                    f"The curve {name!r} has {len(curves[name])} values, and there are {len(epochs)} epochs: fill it "
                    "up with nan where an epoch has none."
                )
    _, plots = plt.subplots(1, len(groups), figsize=(5.5 * len(groups), 3.2), squeeze=False, layout="constrained")
    for axes, names in zip(plots[0], groups, strict=True):
        for name in names:
            values = np.asarray(curves[name], np.float64)
            there = np.isfinite(values).reshape(len(values), -1).all(axis=1)  # a metric may have several numbers
            dots = there.sum() < 20 or not there.all()
            axes.plot(epochs[there], values[there], label=name, marker="." if dots else None)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    return plots[0]


def save_gif(frames, path, seconds=0.25, hold=2.0, zoom=2):
    """Write pictures as an endlessly repeating GIF.

    Args:
        frames: uint8, or floats in [-1, 1], `(height, width, 1 or 3)` each, all of one shape.
        path: where to.
        seconds: how long a frame is shown.
        hold: how long the last one is.
        zoom: enlarges every pixel to zoom x zoom.

    Raises:
        ValueError: no frame, frames of another shape or range, a zoom that is no whole number.
    """
    if not isinstance(zoom, Integral) or zoom < 1:
        raise ValueError(f"zoom is {zoom!r}; it must be a whole number, at least 1.")
    frames = _checked_frames(frames)
    pictures = [Image.fromarray(frame.squeeze(-1) if frame.shape[-1] == 1 else frame) for frame in frames]
    pictures = [p.resize((p.width * zoom, p.height * zoom), Image.Resampling.NEAREST) for p in pictures]
    durations = [int(1000 * seconds)] * (len(pictures) - 1) + [int(1000 * hold)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0)


class SampleGrid(keras.callbacks.Callback):
    """Keep a picture of what a generator makes of the same inputs, before training and as it goes on.

    What lies beyond the range is shown as its end; images that are not finite are not shown.

    Args:
        g_model: the generator.
        inputs: its fixed inputs: latent points `(n, latent_dim)`, or a list such as `[points, labels]`.
        every: epochs between two pictures; by default such that a training has about ten.
        n_columns: columns of the grid.
        value_range: `(low, high)` of the generator's images.

    Raises:
        ValueError: `every` is no whole number of epochs.

    Attributes:
        epochs: epochs finished at each picture; 0 is the untrained generator, where a run does not go on.
        frames: the pictures, uint8 `(height, width, channels)` each.
    """

    def __init__(self, g_model, inputs, every=None, n_columns=None, value_range=(-1, 1)):
        super().__init__()
        if every is not None and (not isinstance(every, Integral) or every < 1):
            raise ValueError(f"every is {every!r}; it must be a whole number of epochs, at least 1.")
        self.g_model, self.inputs, self.every, self.n_columns = g_model, inputs, every, n_columns
        self.value_range = value_range
        self.epochs, self.frames = [], []

    def _take(self, epoch):
        images = keras.ops.convert_to_numpy(keras.ops.cast(self.g_model.predict_on_batch(self.inputs), "float32"))
        if not np.isfinite(images).all():
            return  # a picture must not end a training, nor hide what ended it
        images = np.clip(images, *self.value_range)
        self.epochs.append(epoch)
        self.frames.append(tile_images(images, self.n_columns, value_range=self.value_range))

    def on_train_begin(self, logs=None):
        self.first = not self.frames
        if self.first:
            self._take(self.params["epochs"])  # of a run that is done, unless an epoch begins

    def on_epoch_begin(self, epoch, logs=None):
        if self.first and self.epochs:
            self.epochs[0], self.first = epoch, False

    def on_epoch_end(self, epoch, logs=None):
        n_epochs = self.params["epochs"]
        last = epoch + 1 == n_epochs or self.model.stop_training
        if (epoch + 1) % (self.every or math.ceil(n_epochs / 10)) == 0 or last:
            self._take(epoch + 1)

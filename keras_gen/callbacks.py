"""Keras callbacks that the notebooks share; those of every training are in loop.py, the saver in runs.py."""

import math
from numbers import Integral

import keras
import numpy as np

from .plots import tile_images


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

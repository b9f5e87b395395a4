"""Keras callbacks that the training loops and the notebooks share."""

import math

import keras
import numpy as np

from .plots import tile_images


class PrintProgress(keras.callbacks.Callback):
    """Print a line of the epoch's means about ten times a training, so that a saved notebook stays readable."""

    def on_epoch_end(self, epoch, logs=None):
        n_epochs = self.params["epochs"]
        if (epoch + 1) % math.ceil(n_epochs / 10) == 0 or epoch + 1 == n_epochs:
            values = "  ".join(f"{name}={value:.3f}" for name, value in (logs or {}).items())
            print(f">epoch {epoch + 1}/{n_epochs}  {values}")


class StopOnNonFinite(keras.callbacks.Callback):
    """Stop when a loss is nan or infinite, and say which one, when, and what to try."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        broken = [name for name, value in (logs or {}).items() if not math.isfinite(value)]
        if broken:
            self.model.stop_training = True
            print(
                f"Stopped in epoch {self.epoch + 1}, batch {batch + 1}: {', '.join(broken)} is not a finite number. "
                "The weights are of no use now; the last save is. Try a smaller learning rate."
            )


class SampleGrid(keras.callbacks.Callback):
    """Keep a picture of what a generator makes of the same inputs, before training and as it goes on.

    Args:
        g_model: the generator.
        inputs: its fixed inputs: latent points `(n, latent_dim)`, or a list such as `[points, labels]`.
        every: epochs between two pictures; by default such that a training has about ten.
        n_columns: columns of the grid.

    Attributes:
        epochs: epochs finished at each picture; 0 is the untrained generator.
        frames: the pictures, uint8 `(height, width, channels)` each.
    """

    def __init__(self, g_model, inputs, every=None, n_columns=None):
        super().__init__()
        self.g_model, self.inputs, self.every, self.n_columns = g_model, inputs, every, n_columns
        self.epochs, self.frames = [], []

    def _take(self, epoch):
        self.epochs.append(epoch)
        self.frames.append(tile_images(np.asarray(self.g_model.predict_on_batch(self.inputs)), self.n_columns))

    def on_train_begin(self, logs=None):
        if not self.frames:
            self._take(0)

    def on_epoch_end(self, epoch, logs=None):
        n_epochs = self.params["epochs"]
        if (epoch + 1) % (self.every or math.ceil(n_epochs / 10)) == 0 or epoch + 1 == n_epochs:
            self._take(epoch + 1)

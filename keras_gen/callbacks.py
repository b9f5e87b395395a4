"""Callbacks of every training: curves, progress, a stop on nan, falling rates. Pictures: plots.py; saves: runs.py."""

import math
import sys
import time

import keras


class Curves(keras.callbacks.History):
    """A `History` whose curves have one value for each epoch: nan where an epoch had none."""

    def __init__(self):
        super().__init__()
        self.epoch = []  # Keras sets it when the training begins, before which another callback may fail

    def go_on(self, earlier, initial_epoch):
        """Begin with what `earlier` holds of the epochs before `initial_epoch`."""
        self.epoch = [epoch for epoch in earlier.epoch if epoch < initial_epoch]
        for name, values in earlier.history.items():
            if len(values) == len(earlier.epoch):  # of a curve with gaps nobody knows which epochs are missing
                self.history[name] = list(values[: len(self.epoch)])

    def on_epoch_end(self, epoch, logs=None):
        known = set(self.history)
        super().on_epoch_end(epoch, logs)
        for name, values in self.history.items():
            gap = [math.nan] * (len(self.epoch) - len(values))
            values[:] = values + gap if name in known else gap + values


class PrintProgress(keras.callbacks.Callback):
    """Print how a training goes, as `loop`'s `verbose` says; about ten lines, so that a saved notebook stays readable.

    A line holds what fits into 120 columns, losses first; the curves hold the rest.
    """

    def __init__(self):
        super().__init__()
        self.columns = 0  # how many the line in place takes

    def on_train_begin(self, logs=None):
        verbose, stdout = self.params["verbose"], sys.stdout
        overwritten = stdout.isatty() or type(stdout).__module__.startswith("ipykernel")
        self.in_place = verbose == 1 or (verbose == "auto" and overwritten)
        self.every = 1 if verbose == 2 else math.ceil(self.params["epochs"] / 10)
        self.n_steps, self.shown = 0, time.perf_counter()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if self.n_steps == 0:
            self.start = now  # the first step compiles: it says nothing about the others
        elif self.in_place and now - self.shown >= 0.5 and self.params["steps"]:  # `fit` may not know how many
            self.shown = now
            seconds = (now - self.start) / self.n_steps
            left = self.params["steps"] - batch - 1
            in_all = left + self.params["steps"] * (self.params["epochs"] - self.epoch - 1)
            self.write(
                f"epoch {self.epoch + 1}/{self.params['epochs']}  step {batch + 1}/{self.params['steps']}"
                f"  {clock(left * seconds)} left, {clock(in_all * seconds)} in all"
            )
        self.n_steps += 1

    def on_epoch_end(self, epoch, logs=None):
        self.write("")
        n_epochs = self.params["epochs"]
        if (epoch + 1) % self.every == 0 or epoch + 1 == n_epochs or self.model.stop_training:
            names = sorted(logs or {}, key=lambda name: ("loss" not in name, len(name)))  # sums have the shortest names
            line = f">epoch {epoch + 1}/{n_epochs}"
            for text in (f"  {name}={logs[name]:.3f}" for name in names):
                if len(line + text) > 115:
                    line += "  ..."
                    break
                line += text
            print(line)

    def on_train_end(self, logs=None):
        self.write("")  # of an epoch that was interrupted

    def write(self, text):
        """Put `text` in the place of the line in place; an empty one takes it away."""
        if text or self.columns:
            print("\r" + text.ljust(self.columns), end="" if text else "\r", flush=True)
        self.columns = len(text)


def clock(seconds):
    """Minutes and seconds, 3:07, or hours too, 1:03:07."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


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


class LinearDecay(keras.callbacks.Callback):
    """Let learning rates fall on a line from the middle of a training on, to reach 0 at its end.

    Within an epoch the rates are scaled. After it the full ones are back, so that the next epoch's depend on nothing
    but its number, and a run goes on with the right ones.
    """

    def __init__(self, optimizers):
        super().__init__()
        self.optimizers, self.rates = optimizers, []

    def on_epoch_begin(self, epoch, logs=None):
        n_epochs = self.params["epochs"]
        self.rates = [float(keras.ops.convert_to_numpy(optimizer.learning_rate)) for optimizer in self.optimizers]
        for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
            optimizer.learning_rate = rate * min(1, 2 * (n_epochs - epoch) / n_epochs)

    def on_epoch_end(self, epoch, logs=None):
        self.restore()

    def on_train_end(self, logs=None):
        self.restore()  # of an epoch that was interrupted

    def restore(self):
        """Set the full rates again, where an epoch has scaled them."""
        for optimizer, rate in zip(self.optimizers, self.rates, strict=False):
            optimizer.learning_rate = rate
        self.rates = []

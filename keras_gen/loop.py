"""The ground floor of every training here: a step, and the loop around it.

A system of several networks is a function `step()` that trains each of them once and returns its losses. `loop` calls
it and does the rest: epochs, callbacks, curves, progress, a stop on nan or Ctrl-C, going on with a run.

    networks = g_model, d_model

    def step():
        d = train_only(d_model, networks, d_model, x, y)
        g = train_only(g_model, networks, gan_model, z, ones)
        return {"d_loss": d["loss"], "g_loss": g["loss"]}

    history = loop(step, gan_model, networks, n_epochs=10, n_steps=500)
"""

import math
import sys
import time

import keras
import numpy as np

from .checks import check_loop
from .runs import SaveRun

# Before Keras 3.15 train_on_batch returns the mean over all earlier calls; since then it resets its metrics itself.
RESETS_ITSELF = tuple(int(part) for part in keras.__version__.split(".")[:2]) >= (3, 15)


def train_step(model, x, y):
    """One `train_on_batch`; returns the logs of this batch alone as a dict of floats.

    A metric of several numbers, such as one a class, counts as their mean.
    """
    if keras.config.backend() == "tensorflow" and model.optimizer and not model.optimizer.built:
        create_variables(model, x, y)
    if not RESETS_ITSELF:  # twice would cost a small network a tenth of its step
        model.reset_metrics()
    logs = model.train_on_batch(x, y, return_dict=True)
    return {name: value if isinstance(value, float) else float(np.mean(value)) for name, value in logs.items()}


def create_variables(model, x, y):
    """Create the variables of `model`'s optimizer, losses and metrics, as its first `train_on_batch` would.

    TensorFlow traces a step that creates variables twice: with this, the first one takes half the time. Nothing is
    learnt or drawn here; what the metrics count is reset before the step.
    """
    model.optimizer.build(model.trainable_variables)
    with keras.StatelessScope():  # a layer that draws would go on with other numbers
        y_pred = model(x)
    model.compute_loss(x, y, y_pred)
    model.compute_metrics(x, y, y_pred)


def train_only(network, networks, model, x, y):
    """A step of `model` in which `network` learns and the other `networks` stand still.

    Keras 3 looks at the `trainable` flags whenever a step runs, and not when a model is compiled: they are set here,
    before each step. A network is one thing: a layer that was frozen within it thaws with it.

    Args:
        network: the network that learns, or a list of several.
        networks: all networks of the system.
        model: the compiled model whose step it is: the network itself, or a composite that holds it.
        x, y: the batch, as for `model.train_on_batch`.

    Returns:
        The losses and metrics of this batch, a dict of floats.

    Raises:
        ValueError: where `network` is not among `networks`, or `model` has trained another one before.
    """
    learning = network if isinstance(network, (list, tuple)) else [network]
    if missing := [one.name for one in learning if all(one is not other for other in networks)]:
        raise ValueError(
            f"{', '.join(missing)} is not among the networks: name it there, so that others' steps leave it."
        )
    # A network's own step holds no other one.
    still = [] if model is network else [other for other in networks if all(other is not one for one in learning)]
    learners = id(model.optimizer), tuple(map(id, learning))
    before = vars(model).get("learners")
    if before != learners:
        if before and before[0] == learners[0]:
            raise ValueError(
                f"{model.name} has trained other networks before, and TensorFlow would go on with those: what a step "
                "trains is fixed when it first runs. Make a model of its own for each, or compile it again."
            )
        own = {id(variable) for one in learning for variable in one.variables}
        model.learners = learners
        model.learners_share = any(id(variable) in own for other in still for variable in other.variables)
    for other in still:
        if other.trainable:  # a flag goes through all layers: it is set where it changes
            other.trainable = False
    for one in learning:
        if model.learners_share:
            one.trainable = False  # the shared layers stand still now: they thaw only where this flag changes too
        if not one.trainable:
            one.trainable = True
    return train_step(model, x, y)


def loop(step, model, networks, n_epochs, n_steps, callbacks=(), initial_epoch=0, verbose="auto"):
    """Call `step()` `n_steps` times an epoch; the means of what it returns become the curves.

    Whatever ends the training, Ctrl-C too, all networks are trainable again and every callback's `on_train_end` is
    called, whatever another one raises.

    Args:
        step: a function without arguments that trains each network once and returns a dict of losses, numbers each. A
            loss may be missing in some steps: its mean is over the others, and nan where an epoch had none.
        model: the model that callbacks know as theirs, and whose `stop_training` ends the training.
        networks: all networks of the system.
        n_epochs: the epoch to stop after, counted from 0.
        n_steps: steps an epoch.
        callbacks: Keras callbacks. A `SaveRun` among them comes last: it saves what the others add to the curves.
        initial_epoch: where to go on, as `SaveRun.restore` returns it. The curves of `model.history` up to there, which
            it restores too, are continued.
        verbose: 0 is silent; 2 prints a line an epoch; 1 about ten lines a training, and within an epoch a line that
            updates in place, with the time left; "auto" is 1, without that line where it would land in a file.

    Returns:
        A `keras.callbacks.History`. Each curve has a value an epoch.

    Raises:
        ValueError: before the first step where a number makes no sense, or for a `BackupAndRestore`; after it where
            `step` returns no dict.
    """
    check_loop(n_epochs, n_steps, initial_epoch, verbose)
    callbacks = keras.tree.flatten(callbacks or ())
    if any(isinstance(callback, keras.callbacks.BackupAndRestore) for callback in callbacks):
        raise ValueError(
            "BackupAndRestore keeps one model, and here several learn: SaveRun keeps them all, and "
            "initial_epoch=save.restore() goes on."
        )
    callbacks = sorted(callbacks, key=lambda callback: isinstance(callback, SaveRun))
    earlier, history = vars(model).get("history"), Curves()
    progress = [PrintProgress()] if verbose else []
    callbacks = [StopOnNonFinite(), *progress, *callbacks, history]
    callbacks = keras.callbacks.CallbackList(callbacks, model=model, epochs=n_epochs, steps=n_steps, verbose=verbose)
    model.stop_training = False
    errors = []
    try:
        callbacks.on_train_begin()
        if initial_epoch and earlier:
            history.go_on(earlier, initial_epoch)
        for epoch in range(initial_epoch, n_epochs):
            callbacks.on_epoch_begin(epoch)
            curves = {}
            for batch in range(n_steps):
                for callback in callbacks.callbacks:  # the list itself would look at each number for 10 microseconds
                    callback.on_train_batch_begin(batch, {})
                logs = step()
                if not isinstance(logs, dict):
                    raise ValueError(f"step() must return a dict of losses; it returned {type(logs).__name__}.")
                logs = {name: float(value) for name, value in logs.items()}
                for name, value in logs.items():
                    curves.setdefault(name, []).append(value)
                for callback in callbacks.callbacks:
                    callback.on_train_batch_end(batch, logs)
                if model.stop_training:
                    break
            callbacks.on_epoch_end(epoch, {name: float(np.mean(values)) for name, values in curves.items()})
            if model.stop_training:
                break
    except BaseException as error:
        errors.append(error)
    for network in networks:
        network.trainable = True  # a frozen model would be saved without its optimizer's state
    if not history.epoch:
        model.history = earlier  # as it was, where nothing came of it
    for callback in callbacks.callbacks:
        try:
            callback.on_train_end(None)  # a LambdaCallback's function wants its argument
        except BaseException as error:
            errors.append(error)
    if errors:
        raise errors[0]  # what ended the training, before what followed from it
    return history


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

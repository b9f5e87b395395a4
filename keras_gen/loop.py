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

import keras
import numpy as np

from .callbacks import Curves, PrintProgress, StopOnNonFinite
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

"""Save a training and go on with it later, as if it had never stopped."""

import contextlib
import json
import math
import os
import re
import tempfile
from numbers import Integral

import keras
import numpy as np

from .checks import layers_of, unwrapped
from .files import read_npz, write_npz


class SaveRun(keras.callbacks.Callback):
    """Save a training after every few epochs, whole or not at all, and restore it into models that are built as before.

        save = SaveRun("runs/mine", {g_model: gan_model, d_model: d_model})
        initial_epoch = save.restore()  # 0 where there is no save yet
        train(g_model, d_model, gan_model, dataset, latent_dim, callbacks=[save], initial_epoch=initial_epoch)

    A save is everything that the next epoch depends on: the variables of all models, of their optimizers and of random
    layers, NumPy's random state, the curves so far, and what hangs on a model as an attribute with `get_state` and
    `set_state`, such as the image pool of a CycleGAN's composite. It is one file, `epoch-00005.npz` after five epochs,
    written under another name and renamed when it is whole on the disk; only then does the previous one go. No other
    file is touched. Weights that are not finite are not saved. A disk that is full costs a save, not the training: the
    next epoch tries again. Losses are not part of a save, so they may be of any kind.

    A learning rate that a callback has changed is saved and comes back. One that the models are compiled with now, and
    were not compiled with then, stays: to go on with a smaller rate, compile with it and restore.

    Args:
        folder: where to; made if it is not there. One training at a time saves there.
        models: all networks of the system, each with the compiled model through which it learns:
            `{g_model: gan_model, d_model: d_model}` for a GAN. Their names differ.
        every: epochs between two saves. The last epoch is saved however the training ends, Ctrl-C included.

    Raises:
        OSError: at once, where the folder cannot be written to.
        ValueError: models or `every` of another kind. Before the first step of a training that begins at an epoch for
            which the folder holds a later save: it would be lost.
    """

    def __init__(self, folder, models, every=1):
        super().__init__()
        if not isinstance(models, dict) or not all(model.compiled for model in models.values()):
            raise ValueError(
                "SaveRun takes a dict of all networks, each with the compiled model through which it learns: "
                "SaveRun(folder, {g_model: gan_model, d_model: d_model})."
            )
        names = [network.name for network in models]
        if len(set(names)) < len(names):
            raise ValueError(
                f"Networks of one name could not be told apart in a save: {', '.join(sorted(names))}. Give each a name "
                "of its own when it is built, name=..."
            )
        if not isinstance(every, Integral) or every < 1:
            raise ValueError(f"every is {every!r}; it must be a whole number of epochs, at least 1.")
        self.folder, self.models, self.every = os.path.abspath(folder), dict(models), every
        self.path = None  # of the save that this object wrote or restored last: the only one that it may delete
        self.unsaved = None  # the last epoch's number and state, until they are written
        self.compiled_rates = None  # the learning rates before anything changed them
        for key, part in self._parts().items():
            state = part.get_state()
            if not isinstance(state, dict) or any(np.asarray(value).dtype.hasobject for value in state.values()):
                i, name, _ = key.split(".")
                raise ValueError(
                    f"{list(models.values())[int(i)].name}.{name} has a state that cannot be saved: its get_state must "
                    "return a dict of arrays, which its set_state takes."
                )
        os.makedirs(self.folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.folder):
            pass  # an error now, and not after the first epoch

    def restore(self):
        """Set the models to the latest save, the curves too, as `model.history`.

        The save is read and verified whole before the first weight is set.

        Returns:
            The number of epochs that the save has seen, the next training's `initial_epoch`; 0 where the folder holds
            no save.

        Raises:
            ValueError: where the save is of other models, or damaged.
        """
        saves = self._saves()
        if not saves:
            return 0
        path = saves[max(saves)]
        with read_npz(path, "Delete it, or put a copy in its place.") as arrays:
            state = checked_save(arrays)
        variables, names = self._variables(), [network.name for network in self.models]
        saved = [state.get(f"variable_{i}", np.empty(0)) for i in range(len(variables))]
        shapes, saved_shapes = [tuple(variable.shape) for variable in variables], [value.shape for value in saved]
        other_order = names != state["names"] and sorted(names) == sorted(state["names"])
        parts = self._parts()
        same_parts = all(set(part.get_state()) == set(own(state, key)) for key, part in parts.items())
        more = f"variable_{len(variables)}" in state
        if shapes != saved_shapes or more or other_order or state["layers"] != self._layers() or not same_parts:
            raise ValueError(
                f"{path} was saved with other models, or with these in another order: {', '.join(state['names'])}, in "
                f"all {sum(map(np.prod, saved_shapes)):,.0f} numbers; given are {', '.join(names)}, in all "
                f"{sum(map(np.prod, shapes)):,.0f}. Build the models as they were, or take another folder."
            )
        for key, part in parts.items():
            part.set_state(own(state, key))
        for variable, value in zip(variables, saved, strict=True):
            variable.assign(value)
        self._restore_rates(state["compiled_rates"], state["rates"])
        position, has_gauss, cached_gaussian = state["random_position"]
        np.random.set_state(("MT19937", state["random_keys"], int(position), int(has_gauss), float(cached_gaussian)))
        for model in self.models.values():
            model.history = keras.callbacks.History()
            model.history.epoch, model.history.history = state["curves"]
        self.path = path
        return max(saves)

    def _restore_rates(self, compiled_then, rates):
        """Set the learning rates to the saved ones, but for those that the models are compiled otherwise with now."""
        self.compiled_rates = self._rates()
        for optimizer, now, then, rate in zip(
            self._optimizers(), self.compiled_rates, compiled_then, rates, strict=True
        ):
            if now is None or then is None:  # of a schedule, which goes by the number of steps
                continue
            if np.isclose(now, then, rtol=1e-5):
                optimizer.learning_rate = rate
            else:
                print(f"Goes on with the learning rate {now:.3g}, as compiled now; the save has {rate:.3g}.")

    def on_train_begin(self, logs=None):
        if self.compiled_rates is None:
            self.compiled_rates = self._rates()

    def on_epoch_begin(self, epoch, logs=None):
        latest = max(self._saves(), default=0)
        if latest > epoch:
            raise ValueError(
                f"{self.folder} holds a save of {latest} epochs, which this training, from epoch {epoch} on, would "
                "replace. Go on with it: initial_epoch=save.restore(). Or take another folder, or delete the file."
            )

    def on_epoch_end(self, epoch, logs=None):
        state = self._state(epoch, logs or {})
        if broken := [name for name, value in state.items() if not is_finite(value)]:
            print(f"Epoch {epoch + 1} is not saved: {len(broken)} arrays hold numbers that are not finite.")
            return  # the last good save stays
        self.unsaved = epoch + 1, state
        last = epoch + 1 == (self.params or {}).get("epochs") or self.model.stop_training
        if (epoch + 1) % self.every == 0 or last:
            self._write()

    def on_train_end(self, logs=None):
        self._write()

    def _saves(self):
        """The saves in the folder: path by number of epochs."""
        found = (re.fullmatch(r"epoch-(\d+)\.npz", name) for name in os.listdir(self.folder))
        return {int(match[1]): os.path.join(self.folder, match[0]) for match in found if match}

    def _variables(self):
        """All variables once, those of the optimizers too, which are built where they are not."""
        variables = {}
        for model in self.models.values():
            if not model.optimizer.built:  # as its first step would: on what learns through it
                for network, through in sorted(self.models.items(), key=lambda pair: pair[1] is model):
                    network.trainable = through is model
                model.optimizer.build(model.trainable_variables)
                for network in self.models:
                    network.trainable = True
        rates = {id(optimizer.learning_rate) for optimizer in self._optimizers()}
        for network, model in self.models.items():
            for variable in (*network.variables, *model.variables, *model.optimizer.variables):
                if id(variable) not in rates:
                    variables[id(variable)] = variable
        return list(variables.values())

    def _optimizers(self):
        """The optimizers, each once."""
        optimizers = {id(model.optimizer): unwrapped(model.optimizer) for model in self.models.values()}
        return list(optimizers.values())

    def _rates(self):
        """The learning rate of each optimizer; None where a schedule sets it."""
        rates = [optimizer.learning_rate for optimizer in self._optimizers()]
        return [float(keras.ops.convert_to_numpy(rate)) if isinstance(rate, keras.Variable) else None for rate in rates]

    def _layers(self):
        """What each network is made of, in words: two of equal shapes may still compute another thing."""
        return [[kind(layer) for layer in layers_of(network)] for network in self.models]

    def _parts(self):
        """What hangs on the models and has a state of its own, by a key for its arrays."""
        parts = {}
        for i, model in enumerate(self.models.values()):
            for name, value in vars(model).items():
                if hasattr(value, "get_state") and hasattr(value, "set_state"):
                    parts[f"{i}.{name}."] = value
        return parts

    def _state(self, epoch, logs):
        state = {f"variable_{i}": as_saved(variable) for i, variable in enumerate(self._variables())}
        for key, part in self._parts().items():
            state |= {key + name: as_saved(value) for name, value in part.get_state().items()}
        _, state["random_keys"], *position = np.random.get_state()
        state["random_position"] = np.array(position)
        history = self.model.history  # without this epoch: it hears of it last
        curves = {}
        for name in {**history.history, **logs}:
            before = history.history.get(name, [])
            gap = [math.nan] * (len(history.epoch) - len(before))
            curves[name] = [*gap, *before, float(logs.get(name, math.nan))]
        about = {
            "curves": [[*history.epoch, epoch], curves],
            "names": [network.name for network in self.models],
            "layers": self._layers(),
            "rates": self._rates(),
            "compiled_rates": self.compiled_rates or self._rates(),
        }
        return state | {name: np.array(json.dumps(value)) for name, value in about.items()}

    def _write(self):
        if self.unsaved is None:
            return
        epoch, state = self.unsaved
        path = os.path.join(self.folder, f"epoch-{epoch:05d}.npz")
        try:
            write_npz(path, **state)
        except OSError as error:  # a full disk, most of all
            print(f"Epoch {epoch} is not saved ({error}). The last save stays; the next epoch tries again.")
            return
        previous, self.path, self.unsaved = self.path, path, None
        if previous and previous != path:
            with contextlib.suppress(OSError):
                os.remove(previous)


def checked_save(arrays):
    """What a save says, from its arrays; raises whatever is wrong with it."""
    state = dict(arrays)
    for name in ("curves", "names", "layers", "rates", "compiled_rates"):
        state[name] = json.loads(str(state[name]))
    epochs, curves = state["curves"]
    position, has_gauss, cached_gaussian = state["random_position"]
    sound = {
        "names": isinstance(state["names"], list) and all(isinstance(name, str) for name in state["names"]),
        "curves": all(isinstance(epoch, int) for epoch in epochs)
        and all(len(values) == len(epochs) and np.isreal(values).all() for values in curves.values()),
        "rates": len(state["rates"]) == len(state["compiled_rates"]),
        # NumPy draws from beyond its memory where these are others.
        "random_keys": state["random_keys"].dtype == np.uint32 and state["random_keys"].shape == (624,),
        "random_position": 0 <= position <= 624 and has_gauss in (0, 1) and math.isfinite(cached_gaussian),
        "the numbers": all(is_finite(v) for v in state.values() if isinstance(v, np.ndarray)),
        "variables": all(v.dtype.kind in "fiub" for name, v in state.items() if name.startswith("variable_")),
    }
    if wrong := [name for name, right in sound.items() if not right]:
        raise ValueError(f"{', '.join(wrong)} cannot be right")
    return state


def own(state, key):
    """The arrays of one part, by their own names."""
    return {name.removeprefix(key): state[name] for name in state if name.startswith(key)}


def as_saved(value):
    """A copy as an array that a file can hold: bfloat16 is no type of NumPy's."""
    value = keras.ops.convert_to_numpy(value)
    return value.astype("float32") if value.dtype.name == "bfloat16" else value.copy()


def is_finite(value):
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())


def kind(layer):
    """A layer's class and activation."""
    activation = getattr(layer, "activation", None)
    return f"{type(layer).__name__} {getattr(activation, '__name__', '')}".strip()

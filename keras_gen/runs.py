"""Save a training and go on with it later, as if it had never stopped."""

import json
import os
import re
import tempfile
from numbers import Integral

import keras
import numpy as np


class SaveRun(keras.callbacks.Callback):
    """Save a training after every few epochs, whole or not at all, and restore it into models that are built as before.

        save = SaveRun("runs/mine", {g_model: gan_model, d_model: d_model})
        initial_epoch = save.restore()  # 0 where there is no save yet
        train(g_model, d_model, gan_model, dataset, latent_dim, callbacks=[save], initial_epoch=initial_epoch)

    A save is everything that the next epoch depends on: the variables of all models, of their optimizers and of random
    layers, NumPy's random state, the curves so far, and what hangs on a model as an attribute with `get_state` and
    `set_state`, such as the image pool of a CycleGAN's composite. It is one file, `epoch-00005.npz` after five epochs,
    written under another name and renamed when complete; only then does the previous one go. No other file is touched.
    Weights that are not finite are not saved. Losses and layers are not part of a save, so they may be of any kind.

    Args:
        folder: where to; made if it is not there.
        models: all networks of the system, each with the compiled model through which it learns:
            `{g_model: gan_model, d_model: d_model}` for a GAN.
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
        if not isinstance(every, Integral) or every < 1:
            raise ValueError(f"every is {every!r}; it must be a whole number of epochs, at least 1.")
        self.folder, self.models, self.every = os.fspath(folder), dict(models), every
        self.path = None  # of the save that this object wrote or restored last: the only one that it may delete
        self.unsaved = None  # the last epoch's number and state, until they are written
        os.makedirs(self.folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.folder):
            pass  # an error now, and not after the first epoch

    def restore(self):
        """Set the models to the latest save, the curves too, as `model.history`.

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
        try:
            with np.load(path) as file:
                state = dict(file)
            saved_names = json.loads(str(state["names"]))
        except Exception as error:  # damaged bytes make NumPy, zipfile and zlib raise a dozen kinds
            raise ValueError(f"{path} is damaged ({error}). Delete it, or put a copy in its place.") from error
        variables, names = self._variables(), [network.name for network in self.models]
        shapes = [variable.shape for variable in variables]
        n_saved = sum(name.startswith("variable_") for name in state)
        saved_shapes = [state[f"variable_{i}"].shape for i in range(n_saved)]
        if shapes != saved_shapes or (names != saved_names and sorted(names) == sorted(saved_names)):
            raise ValueError(
                f"{path} was saved with other models, or with these in another order: {', '.join(saved_names)}, in all "
                f"{sum(map(np.prod, saved_shapes)):,.0f} numbers; given are {', '.join(names)}, in all "
                f"{sum(map(np.prod, shapes)):,.0f}. Build the models as they were, or take another folder."
            )
        for i, variable in enumerate(variables):
            variable.assign(state[f"variable_{i}"])
        for key, part in self._parts().items():
            part.set_state({name.removeprefix(key): state[name] for name in state if name.startswith(key)})
        position, has_gauss, cached_gaussian = state["random_position"]
        np.random.set_state(("MT19937", state["random_keys"], int(position), int(has_gauss), float(cached_gaussian)))
        for model in self.models.values():
            model.history = keras.callbacks.History()
            model.history.epoch, model.history.history = json.loads(str(state["curves"]))
        self.path = path
        return max(saves)

    def on_epoch_begin(self, epoch, logs=None):
        latest = max(self._saves(), default=0)
        if latest > epoch:
            raise ValueError(
                f"{self.folder} holds a save of {latest} epochs, which this training, from epoch {epoch} on, would "
                "replace. Go on with it: initial_epoch=save.restore(). Or take another folder, or delete the file."
            )

    def on_epoch_end(self, epoch, logs=None):
        state = self._state(epoch, logs or {})
        if broken := [
            name for name, value in state.items() if value.dtype.kind == "f" and not np.isfinite(value).all()
        ]:
            print(f"Epoch {epoch + 1} is not saved: {len(broken)} arrays hold numbers that are not finite.")
            return  # the last good save stays
        self.unsaved = epoch + 1, state
        if (epoch + 1) % self.every == 0:
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
        for network, model in self.models.items():
            for variable in (*network.variables, *model.variables, *model.optimizer.variables):
                variables[id(variable)] = variable
        return list(variables.values())

    def _parts(self):
        """What hangs on the models and has a state of its own, by a key for its arrays."""
        parts = {}
        for i, model in enumerate(self.models.values()):
            for name, value in vars(model).items():
                if hasattr(value, "get_state") and hasattr(value, "set_state"):
                    parts[f"{i}.{name}."] = value
        return parts

    def _state(self, epoch, logs):
        state = {f"variable_{i}": keras.ops.convert_to_numpy(v).copy() for i, v in enumerate(self._variables())}
        for key, part in self._parts().items():
            state |= {key + name: value for name, value in part.get_state().items()}
        _, state["random_keys"], *position = np.random.get_state()
        state["random_position"] = np.array(position)
        history = self.model.history  # without this epoch: it hears of it last
        curves = {name: [*history.history.get(name, []), float(value)] for name, value in logs.items()}
        state["curves"] = np.array(json.dumps([[*history.epoch, epoch], curves]))
        state["names"] = np.array(json.dumps([network.name for network in self.models]))
        return state

    def _write(self):
        if self.unsaved is None:
            return
        epoch, state = self.unsaved
        path = os.path.join(self.folder, f"epoch-{epoch:05d}.npz")
        with open(path + ".part", "wb") as file:
            np.savez(file, **state)
        os.replace(path + ".part", path)
        previous, self.path, self.unsaved = self.path, path, None
        if previous and previous != path and os.path.exists(previous):
            os.remove(previous)

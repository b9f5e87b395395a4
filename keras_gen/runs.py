"""Save a GAN's training and go on with it later, as if it had never stopped."""

import json
import math
import os
import re
import shutil
import tempfile

import keras
import numpy as np

from .gan import define_gan


def variables(g_model, d_model, gan_model):
    """What the `.keras` files of generator and discriminator leave out: Adam's state of the composite model and the
    state of random layers such as Dropout."""
    return gan_model.optimizer.variables + g_model.non_trainable_variables + d_model.non_trainable_variables


class SaveRun(keras.callbacks.Callback):
    """Save a training after every few epochs, whole or not at all.

    A save is everything the next epoch depends on: both models, both optimizers, NumPy's random state. It is written
    under another name and renamed when complete, and only then is the previous one deleted: a run that is killed
    while saving leaves the previous save as it was. `generator.keras` in it is the generator on its own.

    Args:
        folder: where to; made if it is not there.
        g_model, d_model, gan_model: the three models that `train` trains.
        every: epochs between two saves. The last epoch is always saved.

    Raises:
        OSError: at once, where the folder cannot be written to.
    """

    def __init__(self, folder, g_model, d_model, gan_model, every=1):
        super().__init__()
        self.folder, self.every = os.fspath(folder), every
        self.g_model, self.d_model, self.gan_model = g_model, d_model, gan_model
        os.makedirs(self.folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.folder):
            pass  # an error now, and not after the first epoch

    def on_epoch_end(self, epoch, logs=None):
        if not all(math.isfinite(value) for value in (logs or {}).values()):
            return  # the last good save stays
        if (epoch + 1) % self.every == 0 or epoch + 1 == self.params["epochs"]:
            self.save(epoch + 1)

    def save(self, epoch):
        """Save now; `epoch` is the number of epochs finished."""
        done = os.path.join(self.folder, f"epoch-{epoch:05d}")
        unfinished = done + ".unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        os.makedirs(unfinished)
        frozen = not self.d_model.trainable
        self.d_model.trainable = True  # saved while frozen, it would come back without its optimizer's state
        self.g_model.save(os.path.join(unfinished, "generator.keras"))
        self.d_model.save(os.path.join(unfinished, "discriminator.keras"))
        values = [keras.ops.convert_to_numpy(v) for v in variables(self.g_model, self.d_model, self.gan_model)]
        self.d_model.trainable = not frozen
        _, keys, *position = np.random.get_state()
        np.savez(os.path.join(unfinished, "state.npz"), *values, random_keys=keys, random_position=position)
        with open(os.path.join(unfinished, "gan_compile.json"), "w") as file:
            json.dump(self.gan_model.get_compile_config(), file)
        shutil.rmtree(done, ignore_errors=True)
        os.rename(unfinished, done)
        for name in os.listdir(self.folder):
            if re.fullmatch(r"epoch-\d+(\.unfinished)?", name) and os.path.join(self.folder, name) != done:
                shutil.rmtree(os.path.join(self.folder, name))


def load_run(folder, custom_objects=None):
    """Load the last complete save of a training.

    Args:
        folder: the folder given to `SaveRun`.
        custom_objects: names of your own layers and losses, as in `keras.models.load_model`.

    Returns:
        `g_model, d_model, gan_model, initial_epoch`: hand all four to `train`, which then goes on as if it had never
        stopped, on a CPU bit for bit. NumPy's random state is set to what it was.

    Raises:
        ValueError: where the folder holds no complete save.
    """
    folder = os.fspath(folder)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    saves = sorted(name for name in names if re.fullmatch(r"epoch-\d+", name))
    if not saves:
        raise ValueError(f"{folder} holds no complete save of SaveRun.")
    save = os.path.join(folder, saves[-1])
    g_model = keras.models.load_model(os.path.join(save, "generator.keras"), custom_objects)
    d_model = keras.models.load_model(os.path.join(save, "discriminator.keras"), custom_objects)
    gan_model = define_gan(g_model, d_model)
    with open(os.path.join(save, "gan_compile.json")) as file, keras.saving.custom_object_scope(custom_objects or {}):
        gan_model.compile_from_config(json.load(file))
    gan_model.optimizer.build(g_model.trainable_variables)
    d_model.trainable = True
    with np.load(os.path.join(save, "state.npz")) as state:
        for i, variable in enumerate(variables(g_model, d_model, gan_model)):
            variable.assign(state[f"arr_{i}"])
        position, has_gauss, cached_gaussian = state["random_position"]
        np.random.set_state(("MT19937", state["random_keys"], int(position), int(has_gauss), float(cached_gaussian)))
    return g_model, d_model, gan_model, int(saves[-1].removeprefix("epoch-"))

"""Save a training of `train` or `train_cyclegan` and go on with it later, as if it had never stopped."""

import json
import math
import os
import re
import shutil
import tempfile

import keras
import numpy as np

from .cyclegan import define_composite_model
from .gan import define_gan

# What the models of a run are called in its folder, in the order in which the training loop takes them. Networks become
# `.keras` files; the composite models, which train them, are made again when a run is loaded.
GAN = ["generator", "discriminator"], ["gan"]
CYCLEGAN = ["discriminator_A", "discriminator_B", "generator_AtoB", "generator_BtoA"], ["cycle_AtoB", "cycle_BtoA"]


def define_composites(networks):
    """Make the composite models of a GAN or a CycleGAN, one at a time: each freezes what does not learn in it."""
    if len(networks) == 2:
        yield define_gan(*networks)
    else:
        d_model_A, d_model_B, g_model_AtoB, g_model_BtoA = networks
        image_shape = g_model_AtoB.inputs[0].shape[1:]
        yield define_composite_model(g_model_AtoB, d_model_B, g_model_BtoA, image_shape)
        yield define_composite_model(g_model_BtoA, d_model_A, g_model_AtoB, image_shape)


def variables(networks, composites):
    """What the `.keras` files of the networks leave out: Adam's state of the composite models and the state of random
    layers such as Dropout."""
    lists = [model.optimizer.variables for model in composites] + [model.non_trainable_variables for model in networks]
    return [variable for one in lists for variable in one]


class SaveRun(keras.callbacks.Callback):
    """Save a training after every few epochs, whole or not at all.

    A save is everything the next epoch depends on: all models and their optimizers, a CycleGAN's image pools, NumPy's
    random state. It is written under another name and renamed when complete, and only then is the previous one
    deleted: a run that is killed while saving leaves the previous save as it was. `generator.keras` in it is the
    generator on its own; a CycleGAN has `generator_AtoB.keras` and `generator_BtoA.keras`.

    Args:
        folder: where to; made if it is not there.
        models: the three models that `train` trains, `g_model, d_model, gan_model`, or the six of `train_cyclegan`, in
            the order of its arguments.
        every: epochs between two saves, by keyword. The last epoch is always saved.

    Raises:
        OSError: at once, where the folder cannot be written to.
        ValueError: where the models are neither three nor six.
    """

    def __init__(self, folder, *models, every=1):
        super().__init__()
        if len(models) not in (3, 6):
            raise ValueError(
                f"SaveRun takes the three models of train or the six of train_cyclegan; given: {len(models)}. "
                "The epochs between two saves are given as every=..."
            )
        self.folder, self.every = os.fspath(folder), every
        networks, composites = GAN if len(models) == 3 else CYCLEGAN
        self.networks = dict(zip(networks, models, strict=False))
        self.composites = dict(zip(composites, models[len(networks) :], strict=True))
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
        frozen = [network for network in self.networks.values() if not network.trainable]
        for network in frozen:
            network.trainable = True  # saved while frozen, it would come back without its optimizer's state
        for name, network in self.networks.items():
            network.save(os.path.join(unfinished, f"{name}.keras"))
        values = variables(self.networks.values(), self.composites.values())
        values = [keras.ops.convert_to_numpy(value) for value in values]
        for network in frozen:
            network.trainable = False
        _, keys, *position = np.random.get_state()
        named = {"random_keys": keys, "random_position": position}
        for name, composite in self.composites.items():
            with open(os.path.join(unfinished, f"{name}_compile.json"), "w") as file:
                json.dump(composite.get_compile_config(), file)
            if hasattr(composite, "pool"):
                named |= {f"{name}_pool": np.array(composite.pool.images), f"{name}_pool_size": composite.pool.size}
        np.savez(os.path.join(unfinished, "state.npz"), *values, **named)
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
        The models in the order given to `SaveRun`, and `initial_epoch`: `g_model, d_model, gan_model, initial_epoch`
        for a GAN. Hand all to `train` or `train_cyclegan`, which then goes on as if it had never stopped, on a CPU bit
        for bit. NumPy's random state is set to what it was. (On torch a Dropout layer needs a `seed=` for that: without
        one it draws from torch's own generator, which is not saved.)

    Raises:
        ValueError: where the folder holds no complete save.
    """
    folder = os.fspath(folder)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    saves = sorted(name for name in names if re.fullmatch(r"epoch-\d+", name))
    if not saves:
        raise ValueError(f"{folder} holds no complete save of SaveRun.")
    save = os.path.join(folder, saves[-1])
    network_names, composite_names = GAN if os.path.exists(os.path.join(save, "generator.keras")) else CYCLEGAN
    networks = [keras.models.load_model(os.path.join(save, f"{name}.keras"), custom_objects) for name in network_names]
    composites = []
    with np.load(os.path.join(save, "state.npz")) as state:
        for name, composite in zip(composite_names, define_composites(networks), strict=True):
            with open(os.path.join(save, f"{name}_compile.json")) as file:
                with keras.saving.custom_object_scope(custom_objects or {}):
                    composite.compile_from_config(json.load(file))
            composite.optimizer.build(composite.trainable_variables)  # of the generator alone, the rest is frozen here
            if hasattr(composite, "pool"):
                composite.pool.size = int(state[f"{name}_pool_size"])
                composite.pool.images = list(state[f"{name}_pool"])
            composites.append(composite)
        for network in networks:
            if not network.trainable:
                network.trainable = True
        for i, variable in enumerate(variables(networks, composites)):
            variable.assign(state[f"arr_{i}"])
        position, has_gauss, cached_gaussian = state["random_position"]
        np.random.set_state(("MT19937", state["random_keys"], int(position), int(has_gauss), float(cached_gaussian)))
    return *networks, *composites, int(saves[-1].removeprefix("epoch-"))

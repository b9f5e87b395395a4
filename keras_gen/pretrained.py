"""Models that come with the project, trained by `tools/pretrained.py`; their cards are in data/README.md."""

import json
from pathlib import Path

import keras
import numpy as np

from .data import DataUnavailable
from .data.sets import CHECKOUT
from .vae import VAE  # noqa: F401  one of the files is of this class: Keras knows it once it is imported

# Settings that newer versions of Keras write although they are at their default, and that older ones refuse.
NEW_DEFAULTS = {"renorm": False, "renorm_momentum": 0.99}

FOLDER = CHECKOUT / "data" / "pretrained" if CHECKOUT else Path(__file__).resolve().parent / "pretrained_models"


def load_pretrained(name="faces_generator"):
    """Load a trained model that comes with the project.

    Args:
        name: "faces_generator", a GAN's generator of the drawn faces: `(n, 100)` to `(n, 32, 32, 3)` in [-1, 1];
            "faces_vae", a VAE of the same faces, 32 latent dimensions, images in [0, 1]; "cifar10_dcgan", the lecture's
            generator of photographs, `(n, 100)` to `(n, 32, 32, 3)` in [-1, 1]; "cifar10_acgan", one that is told a
            class: `[points, classes]`, the classes whole numbers 0 to 9, `(n, 1)`; "horse2zebra" and "zebra2horse", the
            generators of a CycleGAN: photographs `(n, height, width, 3)` in [-1, 1] to such ones, sides multiples of 4
            pixels, best 128; or the network of a judge, "judge_digits", "judge_faces", "judge_mnist" or
            "judge_cifar10", as `train_judge` makes them.

    Returns:
        A `keras.Model`, or a `VAE`, not compiled, in float32 (the file holds float16). Its card is in data/README.md.

    Raises:
        ValueError: an unknown name.
        DataUnavailable: the file is damaged.
    """
    path = FOLDER / f"{name}.npz"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in FOLDER.glob("*.npz"))) or "none"
        raise ValueError(f"There is no pretrained model {name!r} in {FOLDER.name}; there are: {there}.")
    try:
        with np.load(path) as file:
            model = keras.saving.deserialize_keras_object(json.loads(file["config"].item()))
            model.set_weights([file[str(i)] for i in range(len(model.weights))])
    except Exception as error:  # damaged bytes make NumPy, zipfile, zlib and json raise a dozen kinds
        raise DataUnavailable(
            f"{path.name} is damaged ({type(error).__name__}: {error}). Take the one in the repository's "
            "data/pretrained/, or make it: `python tools/pretrained.py`."
        ) from error
    return model


def save_pretrained(model, path):
    """Write a model, its weights as float16, into an npz file that `load_pretrained` reads."""
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)  # its loss may be of the script that trained it
    config = _for_older_keras(config)
    weights = {str(i): weight.astype("float16") for i, weight in enumerate(model.get_weights())}
    np.savez(path, config=np.array(json.dumps(config).encode()), **weights)


def _for_older_keras(config):
    """Leave out of the layers' settings what is None, or a new one's default: older versions of Keras refuse both."""
    if isinstance(config, list):
        return [_for_older_keras(part) for part in config]
    if not isinstance(config, dict):
        return config
    return {
        key: _for_older_keras(part)
        for key, part in config.items()
        if key == "registered_name" or (part is not None and part != NEW_DEFAULTS.get(key))
    }

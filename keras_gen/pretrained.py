"""Models that come with the project, trained by `python run.py pretrain`; their cards are in data/README.md."""

import contextlib
import json
from pathlib import Path

import keras
import numpy as np

from .files import CHECKOUT, DataUnavailable, did_you_mean, read_npz, write_npz
from .vae import VAE  # noqa: F401  one of the files is of this class: Keras knows it once it is imported

# Settings that newer versions of Keras write although they are at their default, and that older ones refuse.
NEW_DEFAULTS = {"renorm": False, "renorm_momentum": 0.99}

_PACKAGE = Path(__file__).resolve().parent
FOLDER = CHECKOUT / "data" / "pretrained" if CHECKOUT else _PACKAGE / "pretrained_models"
RECIPES = CHECKOUT / "trainings" if CHECKOUT else _PACKAGE / "trainings"


def load_pretrained(name="faces_generator"):
    """Load a trained model that comes with the project.

    Args:
        name: "faces_generator", a GAN's generator of the drawn faces: `(n, 100)` to `(n, 32, 32, 3)` in [-1, 1];
            "faces_vae", a VAE of the same faces, 32 latent dimensions, images in [0, 1]; "cifar10_dcgan", the lecture's
            generator of photographs, `(n, 100)` to `(n, 32, 32, 3)` in [-1, 1]; "cifar10_acgan", one that is told a
            class: `[points, classes]`, the classes whole numbers 0 to 9, `(n, 1)`; "mnist_cgan", one that draws the
            digit asked for, `(n, 28, 28, 1)`, told like that; "digits_diffusion", a diffusion model of the same digits,
            for `sample_diffusion`; "digits_pixelcnn", an autoregressive model of binary digits: 0 and 1, `(n, 28, 28,
            1)`, to logits, for `sample_pixels` in the order that its recipe has; "digits_flow", the networks of a flow
            of grey digits side by side, layers "coupling_00" to "coupling_17": half of the channels to shifts and log
            scales of the other half; "horse2zebra" and "zebra2horse", the generators of a CycleGAN: photographs `(n,
            height, width, 3)` in [-1, 1] to such ones, sides multiples of 4 pixels, best 128; or the network of a
            judge, "judge_digits", "judge_faces", "judge_mnist" or "judge_cifar10", as `train_judge` makes them.

    Returns:
        A `keras.Model`, or a `VAE`, not compiled, in float32 whatever the global policy is (the file holds float16).
        Its card is in data/README.md.

    Raises:
        ValueError: an unknown name.
        DataUnavailable: the file is damaged.
    """
    path = _file_of(name)
    advice = "Take the one in the repository's data/pretrained/, or make it: `python run.py pretrain`."
    with read_npz(path, advice, DataUnavailable) as arrays, plain_keras():
        config = json.loads(arrays["config"].item())
        if any(f'"class_name": "{kind}"' in json.dumps(config) for kind in ("Lambda", "function")):
            raise ValueError("it names a function, which no model of ours does")
        model = keras.saving.deserialize_keras_object(config)
        weights = [arrays[str(i)] for i in range(len(model.weights))]
        if not all(np.isfinite(weight).all() for weight in weights):
            raise ValueError("a weight is not finite")
        model.set_weights(weights)
    return model


def read_recipe(name):
    """Read the program that trained a model which comes with the project.

    It holds networks, step and score; what several trainings share stands in trainings/common.py, the judges' network
    in judge.py.

    Args:
        name: as in `load_pretrained`.

    Returns:
        The text of its file in trainings/, which `python run.py pretrain` runs.

    Raises:
        ValueError: an unknown name.
    """
    _file_of(name)
    file = "judges" if name.startswith("judge_") else {"zebra2horse": "horse2zebra"}.get(name, name)
    return (RECIPES / f"{file}.py").read_text(encoding="utf-8")


def _file_of(name):
    """The path of a shipped model, or a ValueError that says which there are."""
    there = shipped_files()
    if not isinstance(name, str) or name not in there:
        names = ", ".join(sorted(there))
        raise ValueError(
            f"There is no pretrained model {name!r} in {FOLDER.name}; there are: {names or 'none'}."
            f"{did_you_mean(name, there)} A model of your own: keras.models.load_model(path)."
        )
    return there[name]


def shipped_files():
    """Find the files of the models that come with the project: a dict from each name to its path."""
    return {file.stem: file for file in FOLDER.glob("*.npz")}


@contextlib.contextmanager
def plain_keras():
    """Within it, new layers are float32 and channels_last, whatever the global settings are."""
    policy, data_format = keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(data_format)


def save_pretrained(model, path, **numbers):
    """Write a model, its weights as float16, into an npz file that `load_pretrained` reads, whole or not at all.

    Args:
        model: a `keras.Model` that Keras can serialise.
        path: of the file.
        numbers: what else it holds, such as a judge's `test_accuracy`.

    Raises:
        ValueError: a weight that float16 cannot hold: above 65,504, or not finite.
    """
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)  # its loss may be of the script that trained it
    config = _for_older_keras(config)
    weights = {}
    for i, (variable, weight) in enumerate(zip(model.weights, model.get_weights(), strict=True)):
        with np.errstate(over="ignore"):
            weights[str(i)] = weight.astype("float16")
        if not np.isfinite(weights[str(i)]).all():
            raise ValueError(
                f"{variable.path} reaches {np.abs(weight).max():.4g}; float16 holds numbers up to 65504. Train with a "
                "smaller learning rate, or keep the model as model.save writes it."
            )
    write_npz(path, config=np.array(json.dumps(config).encode()), **weights, **numbers)


def _for_older_keras(config):
    """Leave out of the layers' settings what is None, or a new one's default: older versions of Keras refuse both.

    Policies become float32, which is what the weights are once they are loaded.
    """
    if isinstance(config, list):
        return [_for_older_keras(part) for part in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return config | {"config": {"name": "float32"}}
    return {
        key: _for_older_keras(part)
        for key, part in config.items()
        if key == "registered_name" or (part is not None and part != NEW_DEFAULTS.get(key))
    }

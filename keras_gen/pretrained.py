"""Models that come with the project, trained by `tools/pretrained.py`; their cards are in data/README.md."""

from pathlib import Path

import keras
import numpy as np
from keras import layers

from .data import DataUnavailable
from .vae import define_vae

_HERE = Path(__file__).resolve().parent
_IN_CHECKOUT = (_HERE.parent / "pyproject.toml").is_file()  # else: installed, where the files lie beside this one
FOLDER = _HERE.parent / "data" / "pretrained" if _IN_CHECKOUT else _HERE / "pretrained_models"


def define_face_generator(latent_dim=100, width=48):
    """The untrained generator of notebook 03: points `(n, latent_dim)` to images `(n, 32, 32, 3)` in [-1, 1]."""
    model = keras.Sequential([keras.Input((latent_dim,))], name="generator")
    model.add(layers.Dense(4 * 4 * 2 * width, kernel_initializer="he_normal"))
    model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(layers.Reshape((4, 4, 2 * width)))
    for _ in range(3):  # 4x4 -> 8x8 -> 16x16 -> 32x32
        model.add(layers.Conv2DTranspose(width, 4, strides=2, padding="same", kernel_initializer="he_normal"))
        model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(layers.Conv2D(3, 3, padding="same", activation="tanh"))
    return model


def define_face_vae(latent_dim=32, width=24):
    """An untrained convolutional VAE, as in notebook 02, for images `(n, 32, 32, 3)` in [0, 1]."""
    x = image = keras.Input((32, 32, 3))
    for filters in (width, 2 * width, 2 * width):  # 32x32 -> 16x16 -> 8x8 -> 4x4
        x = layers.Conv2D(filters, 4, strides=2, padding="same", activation="gelu")(x)
    x = layers.Dense(256, activation="gelu")(layers.Flatten()(x))
    encoder = keras.Model(image, [layers.Dense(latent_dim)(x), layers.Dense(latent_dim)(x)], name="encoder")

    x = point = keras.Input((latent_dim,))
    x = layers.Dense(256, activation="gelu")(x)
    x = layers.Reshape((4, 4, 2 * width))(layers.Dense(4 * 4 * 2 * width, activation="gelu")(x))
    for filters in (2 * width, width):
        x = layers.Conv2DTranspose(filters, 4, strides=2, padding="same", activation="gelu")(x)
    x = layers.Conv2DTranspose(3, 4, strides=2, padding="same", activation="sigmoid")(x)
    return define_vae(encoder, keras.Model(point, x, name="decoder"))


PRETRAINED = {"faces_generator": define_face_generator, "faces_vae": define_face_vae}


def load_pretrained(name="faces_generator"):
    """Load a trained model that comes with the project.

    Args:
        name: "faces_generator", a GAN's generator of the drawn faces: `(n, 100)` to `(n, 32, 32, 3)` in [-1, 1]; or
            "faces_vae", a VAE of the same faces, 32 latent dimensions, images in [0, 1].

    Returns:
        A `keras.Model`, or a `VAE`, in float32 (the file holds float16). Its card is in data/README.md.

    Raises:
        ValueError: an unknown name. DataUnavailable: the file is missing or damaged.
    """
    if name not in PRETRAINED:
        raise ValueError(f"There is no pretrained model {name!r}; there are: {', '.join(PRETRAINED)}.")
    model = PRETRAINED[name]()
    path = FOLDER / f"{name}.npz"
    try:
        with np.load(path) as weights:
            model.set_weights([weights[str(i)].astype("float32") for i in range(len(model.weights))])
    except Exception as error:  # damaged bytes make NumPy, zipfile and zlib raise a dozen kinds
        raise DataUnavailable(
            f"{path.name} is missing or damaged ({type(error).__name__}: {error}). It belongs into data/pretrained/ of "
            "a checkout; `python tools/pretrained.py` makes it."
        ) from error
    return model


def save_pretrained(model, path):
    """Write the model's weights, as float16, into an npz file that `load_pretrained` reads."""
    np.savez(path, **{str(i): weight.astype("float16") for i, weight in enumerate(model.get_weights())})

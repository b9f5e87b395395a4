"""The labelled data sets, always uint8 (n, height, width, channels) with int64 labels (n,).

Real: mnist, fashion_mnist, cifar10. Embedded, no download: digits, faces. data/README.md has a card for each.
"""

import gzip
import os
import zlib
from functools import lru_cache

import keras
import numpy as np
from PIL import Image

from ..files import DataUnavailable, did_you_mean, keras_home, local_folders, read_npz
from ..images import to_tanh

# name: (image shape, the embedded set that may stand in, how many images to train and to test)
_REAL = {
    "mnist": ((28, 28, 1), "digits", (60_000, 10_000)),
    "fashion_mnist": ((28, 28, 1), "digits", (60_000, 10_000)),
    "cifar10": ((32, 32, 3), "faces", (50_000, 10_000)),
}
_KEYS = ("x_train", "y_train", "x_test", "y_test")


def load_dataset(name):
    """Load a data set with labels, as `keras.datasets` does.

    A real set is looked for as `<name>.npz` in the folder $KERAS_GEN_DATA, in the repository's data/ and in Keras's own
    cache, then downloaded by `keras.datasets`. Nothing is ever substituted: you know what you train on.

    Args:
        name: "mnist", "fashion_mnist", "cifar10" (real), "digits" or "faces" (embedded).

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images uint8 (n, height, width, channels), the channel axis always
        there; labels int64 (n,), 0 to 9 (faces: 0 to 15, see `FACE_CLASSES`). Both are yours to change.

    Raises:
        ValueError: an unknown name, or a damaged file.
        DataUnavailable: not here, and the download failed; or $KERAS_GEN_DATA is not a folder.
    """
    names = (*_REAL, "digits", "faces")
    if name not in names:
        raise ValueError(
            f"There is no data set {name!r}.{did_you_mean(name, names)} The names are {', '.join(names)}. "
            "Your own images: load_image_folder(path, size)."
        )
    if name == "digits":
        return _digits()
    if name == "faces":
        return tuple((x.copy(), y.copy()) for x, y in _faces())  # what the caller changes does not reach the cache
    path = _find_local(f"{name}.npz")
    return _read(name, path) if path else _through_keras(name)


def load_real_samples(name="cifar10", split="train"):
    """Load the images of a data set as a tanh generator makes them: the lecture's function.

    Args:
        name: as in `load_dataset`.
        split: "train" or "test".

    Returns:
        float32 in [-1, 1], (n, height, width, channels).

    Raises:
        ValueError: another split; else as in `load_dataset`.
        DataUnavailable: as in `load_dataset`.
    """
    if split not in ("train", "test"):
        raise ValueError(f'split is {split!r}; it must be "train" or "test".')
    return to_tanh(load_dataset(name)[split == "test"][0])


def _find_local(*names):
    """The first file or folder with one of these names in the local folders, or None."""
    places = (folder / name for folder in local_folders() for name in names)
    return next((place for place in places if os.path.lexists(place)), None)  # a link that leads nowhere is named too


def _read(name, path):
    try:
        with read_npz(path, "Delete or replace it.") as arrays:
            pass
    except OSError as error:
        raise ValueError(
            f"{path} should be the data set's file, and cannot be opened ({error}). Put it right or take it away."
        ) from error
    if missing := set(_KEYS) - set(arrays):
        wrong = f"no {', '.join(sorted(missing))} in it, only {', '.join(arrays) or 'nothing'}"
        raise ValueError(f"{path} is not {name}: {wrong}. Delete or replace it.")
    (x_train, _), (x_test, _) = splits = _checked(name, arrays, path)
    whole = _REAL[name][2]
    if (len(x_train), len(x_test)) != whole:
        print(
            f"{name}: {len(x_train):,} training and {len(x_test):,} test images, not {whole[0]:,} and {whole[1]:,}, "
            f"in {path.name}: say so beside your results."
        )
    return splits


def _checked(name, arrays, source):
    """The four arrays as `load_dataset` returns them, or a ValueError that names `source`."""
    shape = _REAL[name][0]
    splits = []
    for split in ("train", "test"):
        x, y = arrays.pop(f"x_{split}"), arrays.pop(f"y_{split}")
        wrong = None
        if x.dtype != np.uint8 or x.shape[1:] not in (shape, shape[:2] if shape[2] == 1 else shape):
            wrong = f"x_{split} is {x.dtype} {x.shape}, and uint8 {('n', *shape)} is wanted".replace("'", "")
        elif y.dtype.kind not in "iu" or y.shape not in ((len(x),), (len(x), 1)):
            wrong = f"y_{split} is {y.dtype} {y.shape}, and {len(x)} whole numbers are wanted, one for each image"
        elif len(x) == 0:
            wrong = f"x_{split} is empty"
        elif y.min() < 0 or y.max() > 9:
            wrong = f"labels in y_{split} run from {y.min()} to {y.max()}, and 0 to 9 is wanted"
        if wrong:
            raise ValueError(f"{source} is not {name}: {wrong}. Delete or replace it.")
        x = np.require(x, requirements=("C_CONTIGUOUS", "WRITEABLE"))  # Keras hands out views and read-only arrays
        splits.append((x.reshape(len(x), *shape), y.reshape(-1).astype(np.int64)))
    return tuple(splits)


def _through_keras(name):
    """From Keras's cache, or downloaded into it; `keras.utils.get_file` checks the hashes that Keras knows."""
    cache = keras_home() / "datasets"
    # Keras 3 keeps cifar-10-python.tar.gz under this name.
    if name == "cifar10" and not (cache / "cifar-10-batches-py-target_archive").exists():
        print("cifar10: downloading 170 MB. Its host is slow: some minutes, or an hour. Stopping starts over.")
    try:
        train, test = getattr(keras.datasets, name).load_data()
    except Exception as error:  # get_file raises a bare Exception when the network fails
        if name == "fashion_mnist":
            _name_damaged_gzip(cache / "fashion-mnist")
        folders = local_folders()
        raise DataUnavailable(
            f"{name} is not on this machine, and Keras could not download it ({type(error).__name__}: {error}).\n"
            f"Looked for {name}.npz in {', '.join(map(str, folders))}.\n"
            f"By hand: run `(a, b), (c, d) = keras.datasets.{name}.load_data(); numpy.savez_compressed('{name}.npz', "
            f"x_train=a, y_train=b, x_test=c, y_test=d)` where there is a network, and copy {name}.npz into "
            f"{folders[-2:][0]}, or into a folder that KERAS_GEN_DATA names; data/README.md has other ways.\n"
            f"Without it: load_dataset({_REAL[name][1]!r}) needs no download; choose it if it serves you."
        ) from error
    arrays = dict(zip(_KEYS, (*train, *test), strict=True))
    del train, test  # so that `_checked`, which copies what it must, frees each array on the way
    if name == "cifar10" and keras.config.image_data_format() == "channels_first":
        arrays |= {key: arrays[key].transpose(0, 2, 3, 1) for key in ("x_train", "x_test")}
    return _checked(name, arrays, cache)


def _name_damaged_gzip(folder):
    for file in sorted(folder.glob("*.gz")):
        try:
            with gzip.open(file) as content:
                content.read()
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{file} is damaged ({error}). Delete it and load again.") from error


def _digits():
    """scikit-learn's 1,797 digits, 8x8 -> 28x28 with MNIST's margin of four pixels; 1,437 to train, 360 to test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    small, labels = load_digits(return_X_y=True)
    small = np.rint(small.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    images = np.zeros((len(small), 28, 28, 1), np.uint8)
    for image, digit in zip(images, small, strict=True):
        image[4:24, 4:24, 0] = Image.fromarray(digit).resize((20, 20), Image.Resampling.BICUBIC)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels.astype(np.int64), test_size=360, stratify=labels, random_state=0
    )
    return (x_train, y_train), (x_test, y_test)


@lru_cache  # drawing takes seconds
def _faces():
    from .faces import draw_faces, face_classes, sample_face_attributes

    attributes = (sample_face_attributes(10_000, seed=1), sample_face_attributes(2_000, seed=2))
    return [(draw_faces(a), face_classes(a).astype(np.int64)) for a in attributes]

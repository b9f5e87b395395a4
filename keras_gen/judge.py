"""The judge: a classifier trained on real images only, which scores generated ones.

Images are uint8, as `load_dataset` gives them, or floats in [-1, 1], as a generator makes them, `(n, height, width,
channels)`; floats of another range are converted first, `to_uint8(images, (0, 1))`. All are compared as uint8: a
generated image has no finer shades than a real one.
"""

import contextlib
import hashlib
import os
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from .data import load_dataset
from .data.sets import CHECKOUT, keras_home
from .images import to_numpy, to_uint8
from .pretrained import FOLDER, load_pretrained

EPOCHS = {"digits": 15, "mnist": 4, "fashion_mnist": 4, "cifar10": 8, "faces": 3}
_VERSION = 1  # goes up with every change to how judges are built or trained: old files are then left aside


class Judge(NamedTuple):
    """A classifier that scores other models; `train_judge` makes one.

    Args:
        model: uint8 images `(n, height, width, channels)` to `[features, class logits]`, `(n, 64)` and
            `(n, n_classes)`.
        name: the data set's; "your images" where `train_judge` was given arrays.
        test_accuracy: the share of right answers on real test images, in [0, 1].
    """

    model: keras.Model  # uint8 images -> [features (n, 64), class logits (n, n_classes)]
    name: str
    test_accuracy: float

    def __str__(self):
        return f"Judge of {self.name}: right on {self.test_accuracy:.2%} of its real test images."


def train_judge(dataset, epochs=None):
    """Train a small CNN to classify real images, so that it can score generated ones.

    The judges of "digits", "faces", "mnist" and "cifar10" come trained with the project: everybody scores with the same
    ones, and nobody waits. Others are trained, that of "fashion_mnist" in a minute on two CPU cores, and kept in data/
    (outside a checkout: in Keras's folder) under a hash of the data and the epochs: a subset has its own judge. Only
    training images are learnt from; the accuracy on the test images is printed and kept with the judge. Python's,
    NumPy's and Keras's global seeds stay untouched.

    Args:
        dataset: a name for `load_dataset`, or what it returns: `(x_train, y_train), (x_test, y_test)`. Images may also
            be floats in [-1, 1].
        epochs: passes over the training images, of a training anew; None takes the judge that comes with the project
            where there is one, else 3 to 15 epochs by the data set, and 10 for your images.

    Returns:
        A `Judge`.

    Raises:
        ValueError: images or labels that are not as `load_dataset` returns them; else as in `load_dataset`.
        DataUnavailable: as in `load_dataset`.
    """
    name = dataset if isinstance(dataset, str) else "your images"
    (x_train, y_train), (x_test, y_test) = load_dataset(dataset) if isinstance(dataset, str) else dataset
    x_train = checked(x_train, "training images")
    x_test = checked(x_test, "test images", x_train.shape[1:])
    y_train = checked_labels(y_train, x_train, np.inf)
    n_classes = int(y_train.max()) + 1
    y_test = checked_labels(y_test, x_test, n_classes)
    if epochs is None and (FOLDER / f"judge_{name}.npz").is_file():
        judge = _judge(load_pretrained(f"judge_{name}"), name, x_test, y_test)
        print(judge)
        return judge

    epochs = epochs or EPOCHS.get(name, 10)
    classifier, model = _define_judge(x_train.shape[1:], n_classes)
    path = _cache_file(name, epochs, x_train, y_train, x_test, y_test)
    test_accuracy = _load(path, model)
    if test_accuracy is not None:
        judge = Judge(model, name, test_accuracy)
    else:
        print(f"Training the judge of {name}, once: {epochs} epochs of {len(x_train):,} images ...")
        _fit(classifier, x_train, y_train, epochs)
        judge = _judge(model, name, x_test, y_test)
        _save(path, model, judge.test_accuracy)
    print(judge)
    return judge


def _judge(model, name, x_test, y_test):
    """A judge, its accuracy counted on these test images."""
    right = predict_labels(Judge(model, name, 0), x_test) == y_test
    return Judge(model, name, float(np.mean(right)))


def _define_judge(image_shape, n_classes):
    seeds = iter(range(100))  # its own: whether a judge was kept or trained must not change a notebook's random numbers

    def he_normal():
        return keras.initializers.HeNormal(seed=next(seeds))

    x = inputs = keras.Input(image_shape, dtype="uint8")
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    width = 16 if image_shape[-1] == 1 else 32
    for filters in (width, 2 * width, 4 * width):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer=he_normal())(x)
        x = layers.MaxPooling2D(padding="same")(x)  # before the rest, which then has a quarter of the work
        x = layers.BatchNormalization(momentum=0.9)(x)  # 0.99 lags behind in a training this short
        x = layers.ReLU()(x)
    x = layers.Flatten()(x)
    features = layers.Dense(64, activation="relu", kernel_initializer=he_normal())(x)
    x = layers.Dropout(0.3, seed=next(seeds))(features)
    logits = layers.Dense(n_classes, kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)))(x)
    return keras.Model(inputs, logits), keras.Model(inputs, [features, logits])


def _fit(classifier, x, y, epochs, n_batch=128):
    n_batch = min(n_batch, len(x))
    n_steps = epochs * (len(x) // n_batch)
    warmup = n_steps // 5
    rate = keras.optimizers.schedules.CosineDecay(3e-4, n_steps - warmup, warmup_target=3e-3, warmup_steps=warmup)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier.compile(optimizer=keras.optimizers.Adam(rate), loss=loss)
    rng = np.random.default_rng(0)  # `fit` would shuffle with the global seed
    colour = x.shape[-1] == 3
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x) - n_batch + 1, n_batch):
            batch = order[start : start + n_batch]
            # Each batch is moved by a pixel or two; mirrored only in colour, for a mirrored digit is another sign.
            images = np.roll(x[batch], rng.integers(-1 - colour, 2 + colour, 2), axis=(1, 2))
            images = images[:, :, ::-1] if colour and rng.random() < 0.5 else images
            classifier.train_on_batch(images, y[batch])


def _cache_file(name, *key):
    folder = CHECKOUT / "data" if CHECKOUT else keras_home()
    digest = hashlib.sha256(repr([getattr(k, "shape", k) for k in key]).encode())
    for array in (k for k in key if isinstance(k, np.ndarray)):
        digest.update(np.ascontiguousarray(array))
    return folder / f"judge-{name.replace(' ', '-')}-v{_VERSION}-{digest.hexdigest()[:12]}.npz"


def _load(path, model):
    """Set the weights from `path` and return the test accuracy kept there; None if there is no sound file."""
    try:
        with path.open("rb") as file, np.load(file) as kept:
            weights = [kept[str(i)] for i in range(len(model.weights))]
            test_accuracy = float(kept["test_accuracy"])
        model.set_weights(weights)
    except FileNotFoundError:
        return None
    except Exception as error:  # damaged bytes make NumPy, zipfile and zlib raise a dozen kinds
        print(f"{path.name} is damaged ({type(error).__name__}); it will be replaced.")
        return None
    return test_accuracy


def _save(path, model, test_accuracy):
    weights = {str(i): w for i, w in enumerate(model.get_weights())}
    part = path.with_suffix(f".{os.getpid()}.part")  # put in place whole: nobody ever meets half a judge
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez(file, test_accuracy=test_accuracy, **weights)
        os.replace(part, path)
    except OSError as error:  # a read-only or full disk costs the cache, not the judge
        with contextlib.suppress(OSError):  # where there is none, nor a folder for it
            part.unlink()
        print(f"The judge is not kept: {error}.")


def judge_features(judge, images):
    """Compute what the judge sees in each image: the layer before its answer.

    Args:
        judge: a `Judge`.
        images: uint8, or floats in [-1, 1], `(n, height, width, channels)` with the sides and channels that the judge
            learnt from; n at least 1.

    Returns:
        float64 `(n, 64)`.

    Raises:
        ValueError: images of another shape or range, or none.
    """
    return ask(judge, images)[0].astype(np.float64)


def predict_labels(judge, images):
    """Let the judge classify images.

    Args:
        judge, images: as in `judge_features`.

    Returns:
        The class of each image, int64 `(n,)`, 0 to n_classes - 1.

    Raises:
        ValueError: as in `judge_features`.
    """
    return ask(judge, images)[1].argmax(axis=1)


def ask(judge, images):
    """The judge's features `(n, 64)` and class logits `(n, n_classes)` of images."""
    images = checked(images, "images", judge.model.input_shape[1:])
    return judge.model.predict(images, batch_size=256, verbose=0)


def checked(images, what, shape=None):
    """Verify images, and make them uint8.

    Args:
        images: uint8, or floats in [-1, 1], `(n, height, width, channels)`, n at least 1.
        what: names the images in an error about their shape, such as "test images".
        shape: the `(height, width, channels)` wanted; None allows any.

    Returns:
        uint8, the same shape.

    Raises:
        ValueError: another shape, no image, or another range (see `to_uint8`).
    """
    images = to_numpy(images)
    if images.ndim != 4 or len(images) == 0 or (shape and images.shape[1:] != tuple(shape)):
        wanted = ", ".join(map(str, shape or ("height", "width", "channels")))
        raise ValueError(f"The {what} must have shape (n, {wanted}), n at least 1; given: {images.shape}.")
    return to_uint8(images)


def checked_labels(labels, images, n_classes):
    """Verify labels, one for each image.

    Args:
        labels: integers `(n,)`, 0 to n_classes - 1.
        images: of any kind; only their number n counts, at least 1.
        n_classes: how many classes there are.

    Returns:
        int64 `(n,)`.

    Raises:
        ValueError: labels that are not integers, of another shape or of another class, or none.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.shape != (len(images),) or len(labels) == 0:
        raise ValueError(f"Labels must be {len(images)} integers; given: {labels.dtype} of shape {labels.shape}.")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(f"Labels run from {labels.min()} to {labels.max()}; the classes are 0 to {n_classes - 1}.")
    return labels.astype(np.int64)

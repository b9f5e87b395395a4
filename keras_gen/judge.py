"""The judge: a classifier trained on real images only, which scores generated ones.

Images are uint8, as `load_dataset` gives them, or floats in [-1, 1], as a generator makes them, `(n, height, width,
channels)`; floats of another range are converted first, `to_uint8(images, (0, 1))`. All are compared as uint8: a
generated image has no finer shades than a real one.
"""

import hashlib
from numbers import Integral
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from .checks import checked_labels
from .data import load_dataset
from .files import CHECKOUT, DataUnavailable, did_you_mean, keras_home, read_npz, write_npz
from .images import generated_to_uint8, to_numpy, to_uint8, way_to_an_array
from .pretrained import load_pretrained, plain_keras, shipped_files

EPOCHS = {"digits": 15, "mnist": 4, "fashion_mnist": 4, "cifar10": 8, "faces": 3}
_VERSION = 1  # goes up with every change to how judges are built or trained: old files are then left aside
_SHIPPED = "judge_"  # opens the names of the shipped judges' files


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


def load_judge(name):
    """Load a judge that comes with the project; no data set is needed.

    Args:
        name: "digits", "faces", "mnist" or "cifar10".

    Returns:
        A `Judge`. Its `test_accuracy` was counted once, on the test images that its card in data/README.md names.

    Raises:
        ValueError: another name.
        DataUnavailable: the file is damaged.
    """
    there = _shipped_judges()
    if not isinstance(name, str) or name not in there:
        raise ValueError(
            f"No judge of {name!r} comes with the project; there are those of {', '.join(there) or 'nothing'}."
            f"{did_you_mean(name, there)} train_judge trains one of any data set with classes."
        )
    model = load_pretrained(_SHIPPED + name)
    path = shipped_files()[_SHIPPED + name]
    with read_npz(path, "Take the one in the repository's data/pretrained/.", DataUnavailable) as arrays:
        judge = Judge(model, name, float(arrays["test_accuracy"]))
    print(judge)
    return judge


def _shipped_judges():
    return sorted(name.removeprefix(_SHIPPED) for name in shipped_files() if name.startswith(_SHIPPED))


def train_judge(dataset, epochs=None):
    """Train a small CNN to classify real images, so that it can score generated ones.

    The judges of "digits", "faces", "mnist" and "cifar10" come trained with the project: everybody scores with the same
    ones, and nobody waits, nor needs the data set (see `load_judge`). Others are trained, that of "fashion_mnist" in a
    minute on two CPU cores, and kept in data/ (outside a checkout: in Keras's folder) under a hash of the data and the
    epochs: a subset has its own judge. Only training images are learnt from; the accuracy on the test images is printed
    and kept with the judge. Python's, NumPy's and Keras's global seeds stay untouched; a judge is float32 and takes
    its channels last, whatever Keras's global settings are.

    Args:
        dataset: a name for `load_dataset`, or what it returns: `(x_train, y_train), (x_test, y_test)`. Images may also
            be floats in [-1, 1], labels of shape `(n, 1)`. Your own images and labels are cut in two first:
            `x_train, x_test, y_train, y_test = sklearn.model_selection.train_test_split(images, labels,
            stratify=labels, random_state=0)`.
        epochs: passes over the training images, of a training anew; None takes the judge that comes with the project
            where there is one, else 3 to 15 epochs by the data set, and 10 for your images.

    Returns:
        A `Judge`.

    Raises:
        ValueError: images or labels that are not as `load_dataset` returns them, epochs that are no whole number, at
            least 1; else as in `load_dataset`.
        DataUnavailable: as in `load_dataset`.
    """
    if epochs is not None and (not isinstance(epochs, Integral) or epochs < 1):
        raise ValueError(f"epochs is {epochs!r}; it must be a whole number, at least 1, or None.")
    if epochs is None and isinstance(dataset, str) and dataset in _shipped_judges():
        return load_judge(dataset)
    name = dataset if isinstance(dataset, str) else "your images"
    (x_train, y_train), (x_test, y_test) = _parts(load_dataset(dataset) if isinstance(dataset, str) else dataset)
    x_train = to_uint8(_shaped(x_train, "training images"))
    x_test = to_uint8(_shaped(x_test, "test images", x_train.shape[1:]))
    y_train = checked_labels(y_train, len(x_train))
    n_classes = int(y_train.max()) + 1
    if n_classes > len(x_train):
        raise ValueError(
            f"Labels run up to {n_classes - 1}, more classes than training images ({len(x_train)}). From 0 on they are "
            "numbered by np.unique(labels, return_inverse=True)[1]."
        )
    y_test = checked_labels(y_test, len(x_test), n_classes)

    epochs = EPOCHS.get(name, 10) if epochs is None else int(epochs)
    with plain_keras():
        classifier, model = _define_judge(x_train.shape[1:], n_classes)
    path = _cache_file(name, epochs, x_train, y_train, x_test, y_test)
    test_accuracy = _load(path, model)
    if test_accuracy is None:
        print(f"Training the judge of {name}, once: {epochs} epochs of {len(x_train):,} images ...")
        _fit(classifier, x_train, y_train, epochs)
        test_accuracy = float(np.mean(predict_labels(Judge(model, name, 0), x_test) == y_test))
        _save(path, model, test_accuracy)
    judge = Judge(model, name, test_accuracy)
    print(judge)
    return judge


def _parts(dataset):
    """A data set as `(x_train, y_train), (x_test, y_test)`, or a ValueError that says how to make it so."""
    wanted = "A judge wants a training and a test part, ((x_train, y_train), (x_test, y_test))"
    cut = (
        "x_train, x_test, y_train, y_test = sklearn.model_selection.train_test_split(images, labels, stratify=labels, "
        "random_state=0) cuts images and labels in two"
    )
    if not isinstance(dataset, (tuple, list)):
        if hasattr(dataset, "__array__"):
            raise ValueError(f"{wanted}; given: images without labels. With a label for each, {cut}.")
        raise ValueError(f"{wanted}; given: a {type(dataset).__name__}. {way_to_an_array(dataset)} Then {cut}.")
    if not all(isinstance(part, (tuple, list)) for part in dataset):
        raise ValueError(f"{wanted}; given: {len(dataset)} arrays. {cut}.")
    if len(dataset) != 2 or any(len(part) != 2 for part in dataset):
        raise ValueError(f"{wanted}; given: {len(dataset)} parts, of {', '.join(str(len(part)) for part in dataset)}.")
    return dataset


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
        with read_npz(path, "It will be replaced.") as kept:
            weights = [kept[str(i)] for i in range(len(model.weights))]
            test_accuracy = float(kept["test_accuracy"])
            # All is looked at before the first weight is set: a training anew must start from the judge's own ones.
            if [weight.shape for weight in weights] != [weight.shape for weight in model.weights]:
                raise ValueError("weights of another judge")
            if not all(np.isfinite(weight).all() for weight in weights) or not 0 <= test_accuracy <= 1:
                raise ValueError("numbers that no judge has")
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        print(error)
        return None
    model.set_weights(weights)
    return test_accuracy


def _save(path, model, test_accuracy):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_npz(path, test_accuracy=test_accuracy, **{str(i): w for i, w in enumerate(model.get_weights())})
    except OSError as error:  # a read-only or full disk costs the cache, not the judge
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


def ask(judge, images, real=False):
    """The judge's features `(n, 64)` and class logits `(n, n_classes)` of images; `real` as in `checked`."""
    count_classes(judge)
    images = checked(images, "images", judge.model.input_shape[1:], real)
    return judge.model.predict(images, batch_size=256, verbose=0)


def count_classes(judge):
    """How many classes a judge knows; a ValueError where it is none."""
    if not isinstance(judge, Judge):
        raise ValueError(
            f"judge must be a Judge, as load_judge and train_judge return it; given: a {type(judge).__name__}."
        )
    return judge.model.output_shape[1][1]


def checked(images, what, shape=None, real=False):
    """Verify images, and make them uint8.

    Args:
        images: uint8, or floats in [-1, 1], `(n, height, width, channels)`, n at least 1.
        what: names the images in an error about their shape, such as "test images".
        shape: the `(height, width, channels)` wanted; None allows any.
        real: whether they are real images, which are never light all over; see `generated_to_uint8`.

    Returns:
        uint8, the same shape.

    Raises:
        ValueError: another shape, no image, or another range (see `to_uint8`).
    """
    images = _shaped(images, what, shape)
    return to_uint8(images) if real else generated_to_uint8(images)


def _shaped(images, what, shape=None):
    """Images as an array; a ValueError for another shape, or none."""
    images = to_numpy(images)
    if images.ndim != 4 or len(images) == 0 or (shape and images.shape[1:] != tuple(shape)):
        wanted = ", ".join(map(str, shape or ("height", "width", "channels")))
        axis = " images[..., None] adds the axis of the channels." if images.ndim == 3 else ""
        raise ValueError(f"The {what} must have shape (n, {wanted}), n at least 1; given: {images.shape}.{axis}")
    return images

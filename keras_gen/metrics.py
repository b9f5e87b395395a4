"""Scores of generated images: by a judge, which is a classifier trained on real images only, and by plain distances.

Images are (n, height, width, channels), uint8 as `load_dataset` gives them or floats in [-1, 1] as a generator makes
them. Both are compared as uint8: a generated image gets no finer shades than a real one.
"""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

from keras_gen.data import load_dataset, to_uint8

_EPOCHS = {"digits": 15, "mnist": 4, "fashion_mnist": 4, "cifar10": 8, "faces": 3}
_VERSION = 1  # goes up with every change to how judges are built or trained: old files are then left aside


class Judge(NamedTuple):
    """A classifier that scores other models. `test_accuracy` is its share of right answers on real test images."""

    model: keras.Model  # uint8 images -> [features (n, 64), class logits (n, n_classes)]
    name: str
    test_accuracy: float

    def __str__(self):
        return f"Judge of {self.name}: right on {self.test_accuracy:.2%} of its real test images."


def train_judge(dataset, epochs=None):
    """Trains a small CNN to classify real images, so that it can score generated ones: a `Judge`.

    `dataset` is a name for `load_dataset`, or what it returns: `(x_train, y_train), (x_test, y_test)`. Only the
    training images are learnt from; the accuracy on the test images is printed and kept with the judge. "mnist" takes
    under a minute on two CPU cores. The next call finds the judge in data/ (outside a checkout: in Keras's folder),
    under a hash of the data: a subset has its own judge. Python's, NumPy's and Keras's global seeds stay untouched.

    ValueError: images or labels that are not as `load_dataset` returns them; its own errors too.
    """
    name = dataset if isinstance(dataset, str) else "your images"
    (x_train, y_train), (x_test, y_test) = load_dataset(dataset) if isinstance(dataset, str) else dataset
    x_train = _checked(x_train, "training images")
    x_test = _checked(x_test, "test images", x_train.shape[1:])
    y_train = _checked_labels(y_train, x_train, np.inf)
    n_classes = int(y_train.max()) + 1
    y_test = _checked_labels(y_test, x_test, n_classes)
    epochs = epochs or _EPOCHS.get(name, 10)

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
    checkout = Path(__file__).resolve().parent.parent
    in_checkout = (checkout / "pyproject.toml").is_file()  # else: installed into site-packages
    folder = checkout / "data" if in_checkout else Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    digest = hashlib.sha256(repr([getattr(k, "shape", k) for k in key]).encode())
    for array in (k for k in key if isinstance(k, np.ndarray)):
        digest.update(np.ascontiguousarray(array))
    return folder / f"judge-{name.replace(' ', '-')}-v{_VERSION}-{digest.hexdigest()[:12]}.npz"


def _load(path, model):
    """Sets the weights from `path` and returns the test accuracy kept there; None if there is no sound file."""
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
        print(f"The judge is not kept: {error}.")


def judge_features(judge, images):
    """What the judge sees in each image, float64 (n, 64): the layer before its answer."""
    return _ask(judge, images)[0].astype(np.float64)


def predict_labels(judge, images):
    """The class the judge gives to each image, int64 (n,)."""
    return _ask(judge, images)[1].argmax(axis=1)


def _ask(judge, images):
    images = _checked(images, "images", judge.model.input_shape[1:])
    return judge.model.predict(images, batch_size=256, verbose=0)


def label_accuracy(judge, images, labels):
    """Share of images, 0 to 1, that the judge puts into the class in `labels` (n,): what the generator was asked for.

    Read it beside `judge.test_accuracy`: real images do not reach 1 either.
    """
    predicted = predict_labels(judge, images)
    return float(np.mean(predicted == _checked_labels(labels, predicted, judge.model.output_shape[1][1])))


def attribute_accuracy(judge, images, labels):
    """Of a judge of "faces": the share of images, 0 to 1, with the right answer for each attribute, as a dict."""
    if judge.name != "faces":
        raise ValueError(f"attribute_accuracy wants the judge of 'faces'; this one is of {judge.name!r}.")
    predicted = predict_labels(judge, images)
    wrong = predicted ^ _checked_labels(labels, predicted, 16)
    names = ("smiling", "glasses", "man", "old")  # the bits of a face's class, lowest first
    return {name: float(np.mean(wrong >> bit & 1 == 0)) for bit, name in enumerate(names)}


def frechet_distance(a, b):
    """Squared Frechet distance between the Gaussians with the means and covariances of two feature sets (n, dims).

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), after Heusel et al. 2017. It falls as n grows, so compare only
    distances from equally many samples. Exact for singular covariances too, n < dims included. ValueError: other
    shapes, under two samples, values that are not finite.
    """
    means, roots = [], []
    for features in (np.asarray(a, np.float64), np.asarray(b, np.float64)):
        if features.ndim != 2 or len(features) < 2 or not np.isfinite(features).all():
            raise ValueError(f"Feature sets must be finite, (n, dims), n at least 2; one has shape {features.shape}.")
        means.append(features.mean(axis=0))
        # R of the QR decomposition is a root of the covariance, R'R = C, without the rounding of forming C.
        roots.append(np.linalg.qr(features - means[-1], mode="r") / np.sqrt(len(features) - 1))
    if means[0].shape != means[1].shape:
        raise ValueError(f"Feature sets must have equally many columns; given: {len(means[0])} and {len(means[1])}.")
    # C_a C_b has the eigenvalues of M M', M = R_a R_b' (and zeros): the trace of its root sums M's singular values.
    trace_root = np.linalg.norm(roots[0] @ roots[1].T, "nuc")
    spread = sum(np.sum(root**2) for root in roots)
    return float(max(0, np.sum((means[0] - means[1]) ** 2) + spread - 2 * trace_root))


def feature_distance(judge, real, fake):
    """`frechet_distance` between the judge's features of real and of generated images. Not an FID: another network.

    Report it between its floor, real against other real images, and its ceiling, real against an untrained generator;
    all three with equally many images. ValueError: fewer images than 65, which say little about 64 features.
    """
    if min(len(real), len(fake)) < 65:
        raise ValueError(f"A feature distance wants 65 images or more a side; given: {len(real)} and {len(fake)}.")
    return frechet_distance(judge_features(judge, real), judge_features(judge, fake))


def mode_coverage(judge, images, real_labels):
    """How the classes of generated images, as the judge sees them, match those of real ones in `real_labels` (m,).

    Returns a dict: `classes`, how many of the `of` real classes are hit (by a tenth of their real share or more:
    a few misread images are no class); `kl`, KL(generated || real) in nats, 0 when shares agree, inf when there
    are images of a class that is not in `real_labels`; `shares` of the classes, (n_classes,).
    """
    predicted = predict_labels(judge, images)
    n_classes = judge.model.output_shape[1][1]
    real_labels = _checked_labels(real_labels, real_labels, n_classes)
    shares = np.bincount(predicted, minlength=n_classes) / len(predicted)
    real = np.bincount(real_labels, minlength=n_classes) / len(real_labels)
    hit = (real > 0) & (shares > 0) & (shares >= real / 10)
    present = shares > 0
    with np.errstate(divide="ignore"):
        kl = np.sum(shares[present] * np.log(shares[present] / real[present]))
    return {"classes": int(hit.sum()), "of": int((real > 0).sum()), "kl": max(0.0, float(kl)), "shares": shares}


def precision_recall(real, fake, k=3):
    """Precision and recall of generated features, each 0 to 1 (Kynkaanniemi et al. 2019), from `judge_features`.

    Precision: share of fake samples nearer to some real sample than that one's k-th nearest real neighbour. Recall: the
    same with the sides swapped. ValueError: k + 1 samples are needed on each side.
    """
    if min(len(real), len(fake)) <= k:
        raise ValueError(f"precision_recall with k={k} wants more than {k} samples a side: {len(real)}, {len(fake)}.")

    def share_inside(samples, reference):
        radii = NearestNeighbors(n_neighbors=k).fit(reference).kneighbors()[0][:, -1]  # without the sample itself
        inside = pairwise_distances_chunked(samples, reference, reduce_func=lambda d, _: (d <= radii).any(axis=1))
        return float(np.mean(np.concatenate(list(inside))))

    return share_inside(fake, real), share_inside(real, fake)


def nearest_neighbours(images, reference, k=1):
    """The k most similar images of `reference` for each image: `indices, distances`, both (n, k), nearest first.

    Distances are Euclidean over pixels in [0, 1]. ValueError: other shapes, nothing given, k above len(reference).
    """
    reference = _checked(reference, "reference images")
    images = _checked(images, "images", reference.shape[1:])
    if not 1 <= k <= len(reference):
        raise ValueError(f"k is {k}; there are {len(reference)} reference images.")
    flat = [np.divide(x.reshape(len(x), -1), 255, dtype=np.float32) for x in (images, reference)]
    distances, indices = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(flat[1]).kneighbors(flat[0])
    return indices, distances


def memorisation_ratio(samples, train, held_out):
    """Median distance of samples to their nearest training image, over that of real images held out from training.

    About 1: as far from the training images as new real ones are. Near 0: copies. Blur also lowers it, so look at the
    neighbours. ValueError as in `nearest_neighbours`, or if most of `held_out` is in `train`.
    """
    own, real = (np.median(nearest_neighbours(images, train)[1]) for images in (samples, held_out))
    if real < 1e-3:
        raise ValueError("Most held-out images are also training images: give images the model never saw.")
    return float(own / real)


def _checked(images, what, shape=None):
    """Images as uint8 (n, height, width, channels), n at least 1, or a ValueError."""
    images = images if isinstance(images, np.ndarray) else keras.ops.convert_to_numpy(images)
    if images.ndim != 4 or len(images) == 0 or (shape and images.shape[1:] != tuple(shape)):
        wanted = ", ".join(map(str, shape or ("height", "width", "channels")))
        raise ValueError(f"The {what} must have shape (n, {wanted}), n at least 1; given: {images.shape}.")
    if images.dtype.kind == "f" and images.min() >= 0:
        raise ValueError(
            f"The {what} have no value below 0. Floats must lie in [-1, 1]: from [0, 1], give images * 2 - 1. "
            "(If they do, and are this light: give to_uint8(images).)"
        )
    return to_uint8(images)


def _checked_labels(labels, images, n_classes):
    """Labels as int64 (n,), one for each image, 0 to n_classes - 1, or a ValueError."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.shape != (len(images),) or len(labels) == 0:
        raise ValueError(f"Labels must be {len(images)} integers; given: {labels.dtype} of shape {labels.shape}.")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(f"Labels run from {labels.min()} to {labels.max()}; the classes are 0 to {n_classes - 1}.")
    return labels.astype(np.int64)

"""Scores: what a judge (judge.py) and plain distances say about generated images.

The generated images come first; what is real is given by name. Images are uint8, or floats in [-1, 1], `(n, height,
width, channels)`, n at least 1; floats of another range are converted first, `to_uint8(images, (0, 1))`. Labels may
also have the shape `(n, 1)`.
"""

from numbers import Integral

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import softmax
from sklearn.metrics import pairwise_distances_chunked
from sklearn.metrics.cluster import contingency_matrix
from sklearn.neighbors import NearestNeighbors

from .checks import checked_labels
from .images import to_numpy
from .judge import ask, checked, count_classes, predict_labels


def label_accuracy(judge, images, labels):
    """Compute how often the judge puts an image into the class that the generator was asked for.

    Read it beside `judge.test_accuracy`: real images do not reach 1 either.

    Args:
        judge: a `Judge`.
        images: as in `judge_features`.
        labels: the classes asked for, integers `(n,)`, 0 to n_classes - 1.

    Returns:
        The share of images, in [0, 1].

    Raises:
        ValueError: images or labels of another shape or range.
    """
    n_classes, predicted = count_classes(judge), predict_labels(judge, images)
    return float(np.mean(predicted == checked_labels(labels, len(predicted), n_classes)))


def attribute_accuracy(judge, images, labels):
    """Compute how often the judge of "faces" is right about each attribute: smiling, glasses, man, old.

    Args:
        judge: the `Judge` of "faces".
        images: as in `judge_features`.
        labels: the classes asked for, integers `(n,)`, 0 to 15; the attributes are a class's bits, lowest first.

    Returns:
        A dict from each attribute's name to the share of images with the right answer, in [0, 1].

    Raises:
        ValueError: the judge of another data set; images or labels of another shape or range.
    """
    count_classes(judge)
    if judge.name != "faces":
        raise ValueError(f"attribute_accuracy wants the judge of 'faces'; this one is of {judge.name!r}.")
    predicted = predict_labels(judge, images)
    wrong = predicted ^ checked_labels(labels, len(predicted), 16)
    names = ("smiling", "glasses", "man", "old")  # the bits of a face's class, lowest first
    return {name: float(np.mean(wrong >> bit & 1 == 0)) for bit, name in enumerate(names)}


def frechet_distance(a, b):
    """Compute the squared Frechet distance between two feature sets, each as the Gaussian of its mean and covariance.

    `|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))`, after Heusel et al. 2017. It falls as n grows, so compare only
    distances from equally many samples. Exact for singular covariances too, n < dims included.

    Args:
        a, b: features, `(n, dims)` each, finite; n at least 2, and may differ.

    Returns:
        A float, 0 or more, in squared units of the features.

    Raises:
        ValueError: other shapes, fewer than two samples, values that are not finite.
    """
    means, roots = [], []
    for features in (to_numpy(x).astype(np.float64) for x in (a, b)):
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


def feature_distance(judge, images, *, real):
    """Compute the `frechet_distance` between the judge's features of generated and of real images.

    Not an FID: another network. Report it between its floor, real against other real images, and its ceiling, real
    against an untrained generator; all three with equally many images.

    Args:
        judge: a `Judge`.
        images, real: the generated ones and real ones, as in `judge_features`, 65 or more of each: fewer say little
            about 64 features.

    Returns:
        A float, 0 or more.

    Raises:
        ValueError: fewer than 65 images a side, or images of another shape or range.
    """
    count_classes(judge)
    images, real = to_numpy(images), to_numpy(real)
    if min(len(images), len(real)) < 65:
        raise ValueError(f"A feature distance wants 65 images or more a side; given: {len(images)} and {len(real)}.")
    return frechet_distance(ask(judge, images)[0], ask(judge, real, real=True)[0])


def mode_coverage(judge, images, *, real_labels):
    """Compare the classes of generated images, as the judge sees them, with those of real ones.

    Args:
        judge: a `Judge`.
        images: the generated ones, as in `judge_features`.
        real_labels: the classes of real images, integers `(m,)`, 0 to n_classes - 1.

    Returns:
        A dict. `classes`, how many of the `of` real classes are hit, by a tenth of their real share or more, for a few
        misread images are no class; `kl`, `KL(generated || real)` in nats, 0 when the shares agree, inf when there are
        images of a class that is not in `real_labels`; `shares` of the classes in the images, `(n_classes,)`, each in
        [0, 1].

    Raises:
        ValueError: images or labels of another shape or range.
    """
    n_classes, predicted = count_classes(judge), predict_labels(judge, images)
    real_labels = to_numpy(real_labels)
    real_labels = checked_labels(real_labels, real_labels.size, n_classes)
    shares = np.bincount(predicted, minlength=n_classes) / len(predicted)
    real = np.bincount(real_labels, minlength=n_classes) / len(real_labels)
    hit = (real > 0) & (shares > 0) & (shares >= real / 10)
    present = shares > 0
    with np.errstate(divide="ignore"):
        kl = np.sum(shares[present] * np.log(shares[present] / real[present]))
    return {"classes": int(hit.sum()), "of": int((real > 0).sum()), "kl": max(0.0, float(kl)), "shares": shares}


def confident_share(judge, images, p=0.9):
    """Compute the share of images that the judge gives to one class, whichever, with a probability above `p`.

    It does not notice missing variety, and real images do not reach 1: give theirs beside it.

    Args:
        judge, images: as in `judge_features`.
        p: a probability, 0 to 1.

    Returns:
        A float in [0, 1].

    Raises:
        ValueError: p out of its range; else as in `judge_features`.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p is {p}; it must be a probability, 0 to 1.")
    return float(np.mean(softmax(ask(judge, images)[1], axis=1).max(axis=1) > p))


def class_variety(judge, images, labels, *, real, real_labels):
    """Compare how much generated images of one class differ from each other with how much real ones do.

    A generator that draws one picture of a class can have a low `feature_distance`, and the judge may see another class
    in it. Odena et al. 2017 (section 4.2) ask the same with the MS-SSIM of pairs.

    Args:
        judge: a `Judge`.
        images, real: as in `judge_features`.
        labels, real_labels: the classes asked for and those of the real images, integers, 0 to n_classes - 1.

    Returns:
        Float64 `(n_classes,)`, 0 or more: the root mean square distance of two generated images of the class, over that
        of two real ones, both in the judge's features. 1: as varied as real images; 0: one picture. nan: fewer than
        two images of the class on a side, or real ones that are all alike.

    Raises:
        ValueError: images or labels of another shape or range.
    """

    n_classes = count_classes(judge)

    def spreads(images, labels, real):
        features = ask(judge, images, real)[0].astype(np.float64)
        labels = checked_labels(labels, len(features), n_classes)
        of_class = [features[labels == label] for label in range(n_classes)]
        return np.array([np.sqrt(x.var(axis=0, ddof=1).sum()) if len(x) > 1 else np.nan for x in of_class])

    own, others = spreads(images, labels, real=False), spreads(real, real_labels, real=True)
    return own / np.where(others > 0, others, np.nan)


def precision_recall(features, *, real, k=3):
    """Compute precision and recall of generated features (Kynkaanniemi et al. 2019).

    Precision: share of generated samples at least as near to some real sample as that one's k-th nearest real
    neighbour. Recall: the same with the sides swapped.

    Args:
        features, real: of generated and of real images, `(n, dims)` each, from `judge_features`; more than k samples
            each; n may differ.
        k: which neighbour.

    Returns:
        `precision, recall`, each in [0, 1].

    Raises:
        ValueError: fewer than k + 1 samples on a side, features of another shape, values that are not finite, a k that
            is no whole number, at least 1.
    """
    features, real = to_numpy(features), to_numpy(real)
    for side in (real, features):
        if side.ndim != 2 or side.shape[1] != real.shape[1] or not np.isfinite(side).all():
            raise ValueError(
                "Both sides must be finite features (n, dims), as judge_features(judge, images) gives them; one has "
                f"shape {side.shape}."
            )
    if not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k is {k!r}; it must be a whole number, at least 1.")
    if min(len(features), len(real)) <= k:
        raise ValueError(
            f"precision_recall with k={k} wants more than {k} samples a side: {len(features)}, {len(real)}."
        )

    def share_inside(samples, reference):
        radii = NearestNeighbors(n_neighbors=k).fit(reference).kneighbors()[0][:, -1]  # without the sample itself
        inside = pairwise_distances_chunked(samples, reference, reduce_func=lambda d, _: (d <= radii).any(axis=1))
        return float(np.mean(np.concatenate(list(inside))))

    return share_inside(features, real), share_inside(real, features)


def nearest_neighbours(images, reference, k=1):
    """Find the k most similar images of `reference` for each image.

    Args:
        images: `(n, height, width, channels)`, uint8 or floats in [-1, 1].
        reference: likewise, `(m, height, width, channels)`.
        k: how many, 1 to m.

    Returns:
        `indices, distances`, both `(n, k)`, nearest first. Distances are Euclidean over pixels scaled to [0, 1].

    Raises:
        ValueError: images of other shapes or of another range, none, or k out of its range.
    """
    reference = checked(reference, "reference images", real=True)
    images = checked(images, "images", reference.shape[1:])
    if not isinstance(k, Integral) or not 1 <= k <= len(reference):
        raise ValueError(f"k is {k!r}; there are {len(reference)} reference images.")
    flat = [np.divide(x.reshape(len(x), -1), 255, dtype=np.float32) for x in (images, reference)]
    distances, indices = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(flat[1]).kneighbors(flat[0])
    return indices, distances


def memorisation_ratio(images, *, train, held_out):
    """Compute how much nearer generated images lie to the training images than new real ones do.

    About 1: as far from the training images as new real ones are. Near 0: copies. Blur also lowers it, so look at the
    neighbours.

    Args:
        images: the generated ones, as in `nearest_neighbours`.
        train: the training images.
        held_out: real images held out from training.

    Returns:
        The median distance of `images` to their nearest training image, over that of `held_out`; a float, 0 or more.

    Raises:
        ValueError: as in `nearest_neighbours`, or where most of `held_out` is in `train`.
    """
    held_out = checked(held_out, "held-out images", real=True)
    own, real = (np.median(nearest_neighbours(x, train)[1]) for x in (images, held_out))
    if real < 1e-3:
        raise ValueError("Most held-out images are also training images: give images the model never saw.")
    return float(own / real)


def clustering_accuracy(clusters, labels):
    """Compute how often clusters are right about the labels that they never saw.

    Each cluster is given one class, and each class at most one cluster, such that most points are right: the Hungarian
    method. What is in a cluster without a class, where there are more of them, is wrong.

    Args:
        clusters: which cluster each point is in, integers `(n,)`, 0 or more; n at least 1. How they are counted does
            not matter.
        labels: the classes, likewise.

    Returns:
        A float in [0, 1]. Clusters at random reach a little over the share of a class.

    Raises:
        ValueError: unequally many, none, or no such integers.
    """
    clusters, labels = np.atleast_1d(to_numpy(clusters)), np.atleast_1d(to_numpy(labels))
    if len(clusters) != len(labels):
        raise ValueError(
            f"{len(clusters)} points are in clusters, and {len(labels)} have labels; they must be the same."
        )
    counts = contingency_matrix(checked_labels(labels, len(labels)), checked_labels(clusters, len(labels)))
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(labels))

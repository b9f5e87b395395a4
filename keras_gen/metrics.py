"""Scores: what a judge (judge.py) and plain distances say about generated images.

Every function takes images as uint8 or as floats in [-1, 1], shape (n, height, width, channels).
"""

import numpy as np
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

from .judge import checked, checked_labels, judge_features, predict_labels


def label_accuracy(judge, images, labels):
    """Share of images, 0 to 1, that the judge puts into the class in `labels` (n,): what the generator was asked for.

    Read it beside `judge.test_accuracy`: real images do not reach 1 either.
    """
    predicted = predict_labels(judge, images)
    return float(np.mean(predicted == checked_labels(labels, predicted, judge.model.output_shape[1][1])))


def attribute_accuracy(judge, images, labels):
    """Of a judge of "faces": the share of images, 0 to 1, with the right answer for each attribute, as a dict."""
    if judge.name != "faces":
        raise ValueError(f"attribute_accuracy wants the judge of 'faces'; this one is of {judge.name!r}.")
    predicted = predict_labels(judge, images)
    wrong = predicted ^ checked_labels(labels, predicted, 16)
    names = ("smiling", "glasses", "man", "old")  # the bits of a face's class, lowest first
    return {name: float(np.mean(wrong >> bit & 1 == 0)) for bit, name in enumerate(names)}


def frechet_distance(a, b):
    """Squared Frechet distance between the Gaussians with the means and covariances of two feature sets (n, dims).

    `|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))`, after Heusel et al. 2017. It falls as n grows, so compare only
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
    real_labels = checked_labels(real_labels, real_labels, n_classes)
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
    reference = checked(reference, "reference images")
    images = checked(images, "images", reference.shape[1:])
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

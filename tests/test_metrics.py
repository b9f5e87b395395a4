"""Each score first reproduces a value that is known: closed forms, SciPy, plain NumPy, data with a known answer."""

import itertools

import keras
import numpy as np
import pytest
import scipy.linalg
from judges import cache, data, judge, quadrants  # noqa: F401  fixtures
from scipy.spatial.distance import pdist

from keras_gen import (
    Judge,
    attribute_accuracy,
    class_variety,
    clustering_accuracy,
    confident_share,
    feature_distance,
    frechet_distance,
    judge_features,
    label_accuracy,
    memorisation_ratio,
    mode_coverage,
    nearest_neighbours,
    precision_recall,
    predict_labels,
)


def exact_sample(mean, covariance, n=500, seed=0):
    """Samples whose own mean and covariance are exactly these."""
    z = np.random.default_rng(seed).normal(size=(n, len(mean)))
    z = (z - z.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T))).T
    return mean + z @ np.linalg.cholesky(covariance).T


# Frechet distance


def test_frechet_distance_of_gaussians_with_a_closed_form():
    variances = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 0.25])
    a = exact_sample(np.zeros(3), np.diag(variances[0]))
    b = exact_sample(np.array([3.0, -4.0, 0.0]), np.diag(variances[1]), seed=1)
    known = 25 + np.sum((np.sqrt(variances[0]) - np.sqrt(variances[1])) ** 2)  # 32.25
    assert frechet_distance(a, b) == pytest.approx(known, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(known, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_agrees_with_scipy():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(300, 20)) @ rng.normal(size=(20, 20)) + rng.normal(size=20) for _ in range(2))
    c_a, c_b = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(c_a @ c_b).real
    known = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(c_a + c_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(known, rel=1e-6)


@pytest.mark.parametrize(("dims", "noise"), [(40, 0), (40, 1e-9), (150, 0)])
def test_frechet_distance_with_singular_covariances(dims, noise):
    """Turning a small space into a large one changes no distance: dead and doubled features, n < dims."""
    a = exact_sample(np.zeros(3), np.diag([1.0, 4.0, 9.0]), n=100)
    b = exact_sample(np.array([3.0, -4.0, 0.0]), np.diag([4.0, 4.0, 0.25]), n=100, seed=1)
    rng = np.random.default_rng(2)
    turn = np.linalg.qr(rng.normal(size=(dims, dims)))[0][:3]
    a, b = (x @ turn + noise * rng.normal(size=(100, dims)) for x in (a, b))
    assert frechet_distance(a, b) == pytest.approx(32.25, rel=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (np.zeros((5, 3)), np.zeros((5, 4)), "equally many columns; given: 3 and 4"),
        (np.zeros(5), np.zeros((5, 4)), r"shape \(5,\)"),
        (np.zeros((1, 4)), np.zeros((5, 4)), "n at least 2"),
        (np.full((5, 4), np.nan), np.zeros((5, 4)), "finite"),
    ],
)
def test_frechet_distance_says_what_is_wrong(a, b, says):
    with pytest.raises(ValueError, match=says):
        frechet_distance(a, b)


def test_attributes_are_the_bits_of_a_face_class():
    class Answers:
        input_shape, output_shape = (None, 2, 2, 3), [(None, 64), (None, 16)]

        def predict(self, images, **_):
            return [None, np.eye(16)[[0b0000, 0b0101, 0b1111, 0b1000]]]

    images = np.zeros((4, 2, 2, 3), np.uint8)
    wanted = np.array([0b1001, 0b0100, 0b0011, 0b1000])  # wrong: smiling and old; smiling; man and old; none
    shares = attribute_accuracy(Judge(Answers(), "faces", 1.0), images, wanted)
    assert shares == {"smiling": 0.5, "glasses": 1.0, "man": 0.75, "old": 0.5}
    with pytest.raises(ValueError, match="judge of 'faces'"):
        attribute_accuracy(Judge(Answers(), "mnist", 1.0), images, wanted)


# What the judge says about sets of images


def test_feature_distance_has_a_floor_and_a_ceiling(judge, data):
    (x_train, _), (x_test, _) = data
    floor = feature_distance(judge, x_train[:200], real=x_test)
    one_class = feature_distance(judge, x_train[data[0][1] == 0][:200], real=x_test)
    noise = feature_distance(judge, np.random.default_rng(0).uniform(-1, 1, x_test.shape), real=x_test)
    assert floor < one_class / 10 and floor < noise / 10
    features = judge_features(judge, x_train[:200]), judge_features(judge, x_test)
    assert floor == frechet_distance(*features)
    with pytest.warns(UserWarning, match="light ones"):  # a generator that has turned white
        white = feature_distance(judge, np.random.default_rng(0).uniform(0.9, 1, x_test.shape), real=x_test)
    assert white > 10 * floor
    with pytest.raises(ValueError, match="no value below 0"):
        feature_distance(judge, x_test, real=x_test / 255 * 0.1 + 0.9)  # real images are never light all over
    with pytest.raises(ValueError, match="65 images or more a side; given: 64 and 200"):
        feature_distance(judge, x_train[:64], real=x_test)


def test_confident_share_is_the_softmax_of_the_judges_answers():
    """Images of one pixel whose three channels are the logits: a gap g between one and the two others has p known."""
    image = keras.Input((1, 1, 3), dtype="uint8")
    logits = keras.layers.Flatten()(keras.layers.Rescaling(0.1)(image))
    judge = Judge(keras.Model(image, [logits, logits]), "pixels", 0)
    gaps = np.array([0.0, 1.0, 2.8, 3.0, 5.0])  # p > 0.9 from log(18) = 2.89 on
    images = np.zeros((5, 1, 1, 3), np.uint8)
    images[range(5), 0, 0, [0, 1, 2, 0, 1]] = 10 * gaps
    assert confident_share(judge, images) == 0.4
    assert confident_share(judge, images, p=np.e / (np.e + 2) - 1e-3) == 0.8


def test_class_variety_is_the_distance_of_pairs_beside_that_of_real_ones():
    """Images of one pixel, whose channels are the features; the judge may call them what it likes."""
    image = keras.Input((1, 1, 3), dtype="uint8")
    features = keras.layers.Rescaling(1.0)(keras.layers.Flatten()(image))
    judge = Judge(keras.Model(image, [features, keras.layers.Dense(4)(features)]), "pixels", 0)
    x = np.random.default_rng(0).integers(0, 255, (60, 1, 1, 3), np.uint8)
    real, real_labels = x[:30], np.arange(30) % 3  # no real image of class 3
    images = np.concatenate([x[30:42] // 2, np.repeat(x[:1], 9, axis=0), x[42:43], x[43:45]])
    labels = np.repeat([0, 1, 2, 3], [12, 9, 1, 2])  # varied, all alike, a single one, without a real one
    known = [np.sqrt(np.mean(pdist(part[:, 0, 0].astype(float)) ** 2)) for part in (images[:12], real[::3])]
    varied = class_variety(judge, images, labels, real=real, real_labels=real_labels)
    np.testing.assert_allclose(varied, [known[0] / known[1], 0, np.nan, np.nan], rtol=1e-6)
    again = class_variety(judge, images, labels[:, None], real=real, real_labels=real_labels[:, None])
    np.testing.assert_array_equal(again, varied)
    alike = class_variety(judge, real, real_labels, real=np.repeat(x[:1], 30, axis=0), real_labels=real_labels)
    assert np.isnan(alike).all()  # how varied beside one picture, nobody can say
    with pytest.raises(ValueError, match="0 to 3"):
        class_variety(judge, images, labels + 1, real=real, real_labels=real_labels)


def test_mode_coverage_of_known_histograms(judge, data):
    x, y = data[1]
    same = mode_coverage(judge, x, real_labels=y)
    assert (same["classes"], same["of"], same["kl"]) == (4, 4, 0)
    np.testing.assert_array_equal(same["shares"], [0.25] * 4)

    collapsed = mode_coverage(judge, x[y == 2], real_labels=y)
    assert collapsed["classes"] == 1 and collapsed["kl"] == pytest.approx(np.log(4))

    x_first, x_second = x[y == 0], x[y == 1]
    halves = mode_coverage(judge, np.concatenate([x_first[:30], x_second[:10]]), real_labels=y)
    assert halves["classes"] == 2 and halves["kl"] == pytest.approx(0.75 * np.log(3))

    stray = mode_coverage(judge, np.concatenate([x_first, x_second[:1]]), real_labels=y)  # 1 of 51 is below 0.25 / 10
    assert stray["classes"] == 1

    assert mode_coverage(judge, x, real_labels=y[y < 3])["kl"] == np.inf
    assert mode_coverage(judge, x, real_labels=y[y < 3])["of"] == 3
    assert mode_coverage(judge, x, real_labels=y[y < 3])["classes"] == 3  # the fourth is none to be covered
    assert mode_coverage(judge, x, real_labels=y[:, None])["classes"] == 4

    sparse = np.concatenate([x_first, x_second[:2]])  # 2 of 52 is 0.15 of the real share, 3 are 0.23
    assert mode_coverage(judge, sparse, real_labels=y)["classes"] == 2


def test_precision_and_recall_of_known_sets():
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(200, 5)), rng.normal(size=(200, 5)) + 100
    both, narrow = np.concatenate([left, right]), rng.normal(size=(200, 5))
    assert precision_recall(left, real=right) == (0, 0)
    assert precision_recall(both, real=both) == (1, 1)
    precision, recall = precision_recall(narrow, real=both)  # half of the modes
    assert precision > 0.8 and 0.4 < recall <= 0.5

    real, fake = rng.normal(size=(60, 3)), rng.normal(size=(50, 3)) * 1.5

    def share(samples, reference):
        within = np.linalg.norm(reference[:, None] - reference, axis=-1)
        radii = np.sort(within, axis=1)[:, 3]  # column 0 is the sample itself
        return np.mean((np.linalg.norm(samples[:, None] - reference, axis=-1) <= radii).any(axis=1))

    assert precision_recall(fake, real=real) == pytest.approx((share(fake, real), share(real, fake)))
    with pytest.raises(ValueError, match="more than 3 samples a side: 3, 60"):
        precision_recall(fake[:3], real=real)
    for wrong in (np.zeros((60, 2, 2, 1)), fake[:, :2], fake * np.nan, fake[:, 0]):
        for sides in ((real, wrong), (wrong, real)):
            with pytest.raises(ValueError, match=r"finite features \(n, dims\), as judge_features"):
                precision_recall(sides[1], real=sides[0])
    for k in (0, 1.5, -1):
        with pytest.raises(ValueError, match=r"k is .*; it must be a whole number"):
            precision_recall(fake, real=real, k=k)


# Pixels


def test_nearest_neighbours_agree_with_numpy():
    rng = np.random.default_rng(0)
    images, reference = (rng.integers(0, 256, (n, 5, 4, 3), np.uint8) for n in (7, 30))
    indices, distances = nearest_neighbours(images, reference, k=4)
    known = np.linalg.norm((images.reshape(7, 1, -1) / 255 - reference.reshape(1, 30, -1) / 255), axis=-1)
    np.testing.assert_array_equal(indices, np.argsort(known)[:, :4])
    np.testing.assert_allclose(distances, np.sort(known)[:, :4], rtol=1e-5)

    indices, distances = nearest_neighbours(reference[[8, 3]] / 127.5 - 1, reference)
    assert indices.tolist() == [[8], [3]]
    np.testing.assert_allclose(distances, 0, atol=1e-5)


def test_distance_from_black_to_white_is_the_root_of_the_number_of_pixels():
    black, white = np.zeros((1, 4, 9, 1), np.uint8), np.ones((1, 4, 9, 1), np.float32)
    distances = nearest_neighbours(black, np.concatenate([white, -white[:, ::-1]]), k=2)[1]
    assert distances.tolist() == [[0, 6]]


def test_memorisation_ratio():
    """Images on a line: the training set at 0, 100, 200, real ones 10 away from it."""

    def at(*grey):
        return np.array(grey, np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 3, 3, 1), np.uint8)

    train, held_out = at(0, 100, 200), at(10, 90, 210)
    assert memorisation_ratio(at(0, 200, 100, 100), train=train, held_out=held_out) == pytest.approx(0, abs=1e-4)
    assert memorisation_ratio(at(110, 190), train=train, held_out=held_out) == pytest.approx(1, rel=1e-4)
    assert memorisation_ratio(at(150, 50, 105), train=train, held_out=held_out) == pytest.approx(5, rel=1e-4)
    with pytest.raises(ValueError, match="Most held-out images are also training images"):
        memorisation_ratio(held_out, train=train, held_out=train)
    white = np.full((4, 3, 3, 1), 0.999)
    with pytest.warns(UserWarning, match="light ones"):
        assert memorisation_ratio(white, train=train, held_out=held_out) == pytest.approx(5.5, rel=1e-3)
    for real in ((train / 255 * 0.1 + 0.9, held_out), (train, held_out / 255 * 0.1 + 0.9)):
        with pytest.raises(ValueError, match="no value below 0"):
            memorisation_ratio(white, train=real[0], held_out=real[1])


# Mistakes


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (np.zeros((0, 12, 12, 1), np.uint8), "n at least 1"),
        (np.zeros((12, 12, 1), np.uint8), r"shape \(n, 12, 12, 1\).*given: \(12, 12, 1\)"),
        (np.zeros((5, 28, 28, 1), np.uint8), r"given: \(5, 28, 28, 1\)"),
        (np.linspace(0, 1, 144).reshape(1, 12, 12, 1), "no value below 0"),
        ("pets", "load_image_folder"),
        (np.linspace(-1, 255, 144).reshape(1, 12, 12, 1), r"\[-1, 1\]"),
        (np.full((5, 12, 12, 1), np.nan), r"\[-1, 1\]"),
        (np.zeros((5, 12, 12, 1), np.int64), "int64"),
    ],
)
def test_wrong_images_get_a_sentence(judge, images, says):
    for score in (
        lambda: predict_labels(judge, images),
        lambda: nearest_neighbours(images, np.zeros((3, 12, 12, 1), np.uint8)),
    ):
        with pytest.raises(ValueError, match=says):
            score()


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.zeros(5), "float64"),
        (np.zeros((6, 4), int), r"6 integers; given: int64 of shape \(6, 4\)"),
        (np.zeros(5, int), r"of shape \(5,\)"),
        (np.array([0, 1, 2, 3, 4, 0]), "run from 0 to 4; the classes are 0 to 3"),
        (np.array([0, 1, 2, 3, -1, 0]), "run from -1 to 3"),
    ],
)
def test_wrong_labels_get_a_sentence(judge, labels, says):
    with pytest.raises(ValueError, match=says):
        label_accuracy(judge, np.zeros((6, 12, 12, 1), np.uint8), labels)


def test_more_neighbours_than_images(data):
    (x, _), _ = data
    for k in (4, 0, 1.5):
        with pytest.raises(ValueError, match=f"k is {k}; there are 3"):
            nearest_neighbours(x[:2], x[:3], k=k)


def test_real_images_are_never_light_all_over(data):
    (x, _), _ = data
    with pytest.raises(ValueError, match="no value below 0"):
        nearest_neighbours(x[:2], x[:3] / 255 * 0.1 + 0.9)


def test_something_else_for_a_judge(data):
    x, y = data[1]
    model = keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    for wrong in (model, "digits", None, x):
        for score in (
            lambda judge: predict_labels(judge, x),
            lambda judge: judge_features(judge, x),
            lambda judge: label_accuracy(judge, x, y),
            lambda judge: attribute_accuracy(judge, x, y),
            lambda judge: feature_distance(judge, x, real=x),
            lambda judge: mode_coverage(judge, x, real_labels=y),
            lambda judge: confident_share(judge, x),
            lambda judge: class_variety(judge, x, y, real=x, real_labels=y),
        ):
            with pytest.raises(ValueError, match="judge must be a Judge, as load_judge and train_judge return it"):
                score(wrong)


def test_a_generator_in_the_place_of_its_images(judge, data):
    x, _ = data[1]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(144)])
    for sides in ((x, model), (model, x)):
        with pytest.raises(ValueError, match=r"g_model\.predict\(points\)"):
            feature_distance(judge, sides[1], real=sides[0])


def test_a_probability_that_is_none(judge, data):
    for p in (-0.1, 1.1, 90, np.nan):
        with pytest.raises(ValueError, match=r"p is .*; it must be a probability"):
            confident_share(judge, data[1][0], p)


@pytest.mark.every_backend
def test_scores_of_tensors_are_those_of_their_pixels(judge, data):
    """Half precision keeps each of the 256 levels."""
    x, y = data[1]
    images = keras.ops.cast(x / 127.5 - 1, "bfloat16")
    assert label_accuracy(judge, images, y) == label_accuracy(judge, x, y)
    np.testing.assert_array_equal(judge_features(judge, images), judge_features(judge, x))
    assert feature_distance(judge, images, real=x) == feature_distance(judge, x, real=x)
    assert nearest_neighbours(images[:3], x)[0].tolist() == [[0], [1], [2]]
    features = keras.ops.convert_to_tensor(judge_features(judge, x))
    assert precision_recall(features, real=features) == (1, 1)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-3)


def test_what_is_real_is_never_taken_by_its_place(judge, data):
    """Swapped sides give another score without a word; earlier versions had the real images first."""
    (x, y), (real, real_labels) = data
    features = judge_features(judge, x), judge_features(judge, real)
    for swapped in (
        lambda: feature_distance(judge, real, x),
        lambda: precision_recall(*features),
        lambda: mode_coverage(judge, x, real_labels),
        lambda: class_variety(judge, x, y, real, real_labels),
        lambda: memorisation_ratio(x, real, real),
    ):
        with pytest.raises(TypeError, match="positional"):
            swapped()


def test_clusters_get_the_classes_that_make_most_of_them_right():
    labels = np.repeat([0, 1, 2], 4)
    assert clustering_accuracy((labels + 1) % 3 * 5, labels) == 1, "which numbers the clusters have does not matter"
    # By hand: to give each cluster its commonest class would give 0 to both and find 7 of 10; one class each finds 6.
    clusters, labels = np.repeat([0, 1], 5), np.array([0, 0, 0, 0, 1, 0, 0, 0, 1, 1])
    assert clustering_accuracy(clusters, labels) == 0.6
    # All assignments of five clusters to five classes, one after the other.
    clusters, labels = np.random.default_rng(0).integers(0, 5, (2, 60))
    best = max(np.mean(np.array(order)[clusters] == labels) for order in itertools.permutations(range(5)))
    assert clustering_accuracy(clusters.tolist(), labels[:, None]) == best


def test_clusters_may_be_more_or_fewer_than_the_classes():
    assert clustering_accuracy([0, 1, 2, 3], [0, 0, 1, 1]) == 0.5
    assert clustering_accuracy([0, 0, 0, 0], [0, 0, 1, 2]) == 0.5


@pytest.mark.parametrize(
    ("clusters", "labels", "says"),
    [
        ([0, 1], [0, 1, 1], "2 points are in clusters, and 3 have labels"),
        ([], [], "no labels"),
        ([0.5, 1], [0, 1], "2 integers"),
        ([0, 1], [0, -1], "from 0"),
        ([[0, 1], [1, 0]], [0, 1], "2 integers"),
    ],
)
def test_clusters_that_cannot_be_scored(clusters, labels, says):
    with pytest.raises(ValueError, match=says):
        clustering_accuracy(clusters, labels)

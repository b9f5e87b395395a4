"""The drawn fruits: same bytes everywhere, partners that differ in the fruit alone, and no short cut between them."""

import hashlib

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from keras_gen.data import draw_fruits, sample_fruit_attributes
from keras_gen.data.shapes import to_pixels

NAMES = "x depth size tilt ripeness stem bend leaf light wall table cloth".split()


def pairs(n, size=32, seed=3):
    fruits = sample_fruit_attributes(n, seed)
    return fruits, draw_fruits("apple", fruits, size), draw_fruits("orange", fruits, size)


def changed(kind, **attribute):
    """Which pixels differ between two fruits that differ in one attribute: bool (64, 64)."""
    first, second = draw_fruits(kind, attribute)
    return (first != second).any(axis=-1)


FRUIT = (draw_fruits("apple", {}) != draw_fruits("orange", {})).any(axis=-1)[0]  # where the default fruit is


@pytest.mark.parametrize(
    "kind, digest",
    [
        ("apple", "cdc975d79243e2be20377b181ebceb68e05bfc66115c90146bb0691bf200cadf"),
        ("orange", "a46f00cc5ea16c05a07e20153d0e439c07da549ce4f7ba34f0fa4d0cf29e8e17"),
    ],
)
def test_same_bytes_on_every_machine(kind, digest):
    # Checked with NumPy 1.26 and 2.4, with and without AVX2 and AVX-512. A change here changes everyone's data set.
    images = draw_fruits(kind, sample_fruit_attributes(64, seed=1))
    assert hashlib.sha256(images.tobytes()).hexdigest() == digest


@pytest.mark.parametrize(("kind", "seed"), [("apple", 1), ("orange", 2)])
def test_no_bright_pixel_of_the_set_runs_over_to_0(kind, seed, monkeypatch):
    """Every picture of the set at 32x32: in three, all oranges, light adds up to more than 1."""
    canvases = []

    def watch(canvas):
        canvases.append(np.moveaxis(canvas, 0, -1))
        return to_pixels(canvas)

    monkeypatch.setattr("keras_gen.data.fruits.to_pixels", watch)
    drawn = [draw_fruits(kind, sample_fruit_attributes(n, s), 32) for n, s in ((1000, seed), (200, 3))]
    levels = 255 * np.concatenate(canvases)
    assert np.abs(np.concatenate(drawn) - levels).max() < 2
    assert (levels.max() >= 255.5) == (kind == "orange")  # else this test has nothing to find


@pytest.mark.parametrize("kind", ["apple", "orange"])
@pytest.mark.parametrize("size", [8, 45, 128])
def test_shape_and_type(kind, size):
    images = draw_fruits(kind, sample_fruit_attributes(3), size)
    assert images.shape == (3, size, size, 3)
    assert images.dtype == np.uint8


def test_a_fruit_does_not_depend_on_its_neighbours():
    attributes = sample_fruit_attributes(20)  # more than one chunk
    alone = draw_fruits("apple", {name: values[18:19] for name, values in attributes.items()})
    np.testing.assert_array_equal(draw_fruits("apple", attributes)[18:19], alone)
    for name, values in sample_fruit_attributes(10).items():
        np.testing.assert_array_equal(values, attributes[name][:10])
    assert draw_fruits("orange", sample_fruit_attributes(0)).shape == (0, 64, 64, 3)


def test_attributes_are_balanced_and_independent():
    attributes = sample_fruit_attributes(10_000, seed=3)
    assert list(attributes) == NAMES
    for name, values in attributes.items():
        assert values.shape == (10_000,)
        low = -1 if name in ("x", "depth", "tilt", "bend", "light") else 0
        assert low <= values.min() < low + 0.01 and 0.99 < values.max() <= 1
        assert abs(values.mean() - (low + 1) / 2) < 0.03
    assert set(np.unique(attributes["leaf"])) == {0, 1}
    correlation = np.corrcoef(np.stack(list(attributes.values()))) - np.eye(12)
    assert np.abs(correlation).max() < 0.05  # five standard errors


def test_partners_differ_where_the_fruit_is_and_nowhere_else():
    fruits, apples, oranges = pairs(100, 64)
    mask = (apples != oranges).any(axis=-1)
    # The difference lies where position and size say, so nothing else differs.
    columns, rows = mask.any(axis=1), mask.any(axis=2)
    first, last = columns.argmax(axis=1), 63 - columns[:, ::-1].argmax(axis=1)
    bottom = 63 - rows[:, ::-1].argmax(axis=1)
    assert np.corrcoef((first + last) / 2, fruits["x"])[0, 1] > 0.98
    assert np.corrcoef(last - first, fruits["size"])[0, 1] > 0.95
    assert np.corrcoef(bottom, fruits["depth"])[0, 1] > 0.95
    assert 0.15 < mask.mean() < 0.4
    assert not mask[:, :4].any() and not mask[:, -4:].any()


@pytest.mark.parametrize("kind", ["apple", "orange"])
def test_what_partners_share_looks_the_same_in_both(kind):
    other = {"apple": "orange", "orange": "apple"}[kind]
    leaf = changed(kind, leaf=[0, 1])
    assert leaf.any() and leaf[32:].sum() == 0
    np.testing.assert_array_equal(leaf, changed(other, leaf=[0, 1]))
    for name in ("wall", "cloth"):
        background = changed(kind, **{name: [0, 1]})
        assert background.mean() > 0.1
        assert background[FRUIT].mean() < 0.2  # nothing but its blended edge and the partner's
    assert not changed(kind, ripeness=[0, 1])[~FRUIT].any()


def test_ripe_apples_are_red_and_unripe_ones_green_while_oranges_stay_orange():
    ripeness = np.linspace(0, 1, 6)
    hues = {}
    for kind in ("apple", "orange"):
        red, green, blue = draw_fruits(kind, {"ripeness": ripeness})[:, 34:44, 26:40].mean(axis=(1, 2)).T
        hues[kind] = red - green
        assert np.all(np.diff(red - green) > 0)  # each ripeness has a colour of its own: the partner is defined
        assert np.all(red > blue + 40)
    assert hues["apple"][0] < -10 < 100 < hues["apple"][-1]
    assert 20 < hues["orange"][0] < hues["orange"][-1]


@pytest.mark.parametrize("kind", ["apple", "orange"])
def test_light_falls_from_its_side(kind):
    left, right = draw_fruits(kind, {"light": [-1, 1], "tilt": 0}).mean(axis=-1)
    rows, columns = np.nonzero(FRUIT)
    low, high = columns < 28, columns > 36
    for image, bright, dark in ((left, low, high), (right, high, low)):
        pixels = image[rows, columns]
        assert pixels[bright].mean() > pixels[dark].mean() + 20
        assert (image[:8].mean(axis=0)[:10].mean() > image[:8].mean(axis=0)[-10:].mean()) == (image is left)


def test_a_linear_classifier_tells_the_kinds_apart_at_32_pixels():
    fruits = np.concatenate(
        [draw_fruits(k, sample_fruit_attributes(300, s), 32) for k, s in (("apple", 1), ("orange", 2))]
    )
    signs = np.repeat([-1, 1], 300)
    classifier = Ridge(10).fit(fruits.reshape(600, -1) / np.float32(255), signs)
    _, apples, oranges = pairs(100)
    predicted = classifier.predict(np.concatenate([apples, oranges]).reshape(200, -1) / np.float32(255))
    assert np.all(np.sign(predicted) == np.repeat([-1, 1], 100))


def test_no_map_of_colours_makes_oranges_of_apples():
    _, apples, oranges = pairs(200)
    a, b = apples.reshape(-1, 3) / 255, oranges.reshape(-1, 3) / 255
    nothing = np.abs(a - b).mean()
    assert nothing > 0.02
    matched = (a - a.mean(axis=0)) / a.std(axis=0) * b.std(axis=0) + b.mean(axis=0)
    assert np.abs(matched - b).mean() > nothing
    # Not even the best affine map of colours to colours, fitted with the true partners at hand.
    with_one = np.c_[a, np.ones(len(a))]
    best = with_one @ np.linalg.lstsq(with_one, b, rcond=None)[0]
    assert np.abs(best - b).mean() > nothing


@pytest.mark.parametrize("kind", ["apple", "orange"])
def test_larger_pictures_show_the_same_fruit(kind):
    fruits = sample_fruit_attributes(10)
    small, large = draw_fruits(kind, fruits, 64), draw_fruits(kind, fruits, 256)
    pooled = large.reshape(10, 64, 4, 64, 4, 3).mean(axis=(2, 4))
    assert np.abs(pooled - small).mean() < 1.5  # grey levels: edges are blended, not jagged


def test_defaults_and_single_numbers():
    sweep = draw_fruits("orange", {"light": np.linspace(-1, 1, 9), "leaf": 0})
    assert len(np.unique(sweep.reshape(9, -1), axis=0)) == 9
    assert draw_fruits("apple", {}).shape == (1, 64, 64, 3)
    np.testing.assert_array_equal(draw_fruits("apple", {}), draw_fruits("apple", {"leaf": 1, "x": [0]}))


@pytest.mark.parametrize(
    "kind, attributes, size, message",
    [
        ("pear", {}, 64, 'kind is \'pear\'; it must be "apple" or "orange"'),
        (["apple"], {}, 64, "kind is"),
        ("apple", {"ripe": 1}, 64, "Fruits have no attribute 'ripe'; they have x, depth, size"),
        ("apple", {"size": [0, 1.5]}, 64, "size must lie between 0 and 1; it runs from 0.0 to 1.5"),
        ("apple", {"tilt": np.nan}, 64, "tilt must lie between -1 and 1"),
        ("apple", {"x": [0, 1], "leaf": [0, 1, 1]}, 64, r"different lengths \(x 2, leaf 3\)"),
        ("apple", {"wall": np.zeros((2, 3))}, 64, r"wall has shape \(2, 3\)"),
        ("orange", {}, 4, "size is 4"),
        ("orange", {}, 64.0, "size is 64.0"),
    ],
)
def test_errors(kind, attributes, size, message):
    with pytest.raises(ValueError, match=message):
        draw_fruits(kind, attributes, size)

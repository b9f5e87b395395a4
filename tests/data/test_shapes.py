"""The shapes against geometry: closed forms and brute force in float64, not the formulas themselves."""

import numpy as np
import pytest

from keras_gen.data.shapes import box, checked_attributes, color, ellipse, join, line, palette, ramp, to_pixels

# Everywhere around shapes that are about 1 large, at no place twice.
X, Y = np.random.default_rng(0).uniform(-2, 2, (2, 2000)).astype(np.float32)


def distances_to(points):
    """From each of (X, Y) to the nearest of many points on an outline, (m, 2)."""
    return np.min([np.hypot(X - x, Y - y) for x, y in points], axis=0)


def test_circle():
    # Of first order: with the signs of the true distance, and the same number near the edge.
    truth = np.hypot(X, Y) - 0.8
    distance = ellipse(X, Y, 0.8, 0.8)
    np.testing.assert_array_equal(np.sign(distance), np.sign(truth))
    near = np.abs(truth) < 0.05
    assert near.sum() > 50
    np.testing.assert_allclose(distance[near], truth[near], atol=0.002)


@pytest.mark.parametrize("rx, ry", [(1.2, 0.5), (0.3, 0.9)])
def test_ellipse(rx, ry):
    angle = np.linspace(0, 2 * np.pi, 4001)
    x, y = rx * np.cos(angle), ry * np.sin(angle)
    np.testing.assert_allclose(ellipse(x, y, rx, ry), 0, atol=1e-6)
    # A step of 0.001 along the normal, (x / rx^2, y / ry^2), is a distance of 0.001, on either side.
    normal = np.stack([x / rx**2, y / ry**2])
    normal *= 0.001 / np.hypot(*normal)
    for step in (-1, 1):
        moved = ellipse(x + step * normal[0], y + step * normal[1], rx, ry)
        np.testing.assert_allclose(moved, step * 0.001, rtol=0.02)
    assert np.isfinite(ellipse(0.0, 0.0, rx, ry)) and ellipse(0.0, 0.0, rx, ry) < 0  # where the gradient vanishes


@pytest.mark.parametrize("corner", [0, 0.2, 0.5])
def test_box(corner):
    rx, ry = 1.0, 0.5
    # Its outline: four straight sides, and four quarters of circles.
    quarter = np.linspace(0, np.pi / 2, 200)
    top = np.stack([np.linspace(0, rx - corner, 300), np.full(300, ry)], axis=1)
    right = np.stack([np.full(200, rx), np.linspace(0, ry - corner, 200)], axis=1)
    round_ = np.stack([rx - corner + corner * np.cos(quarter), ry - corner + corner * np.sin(quarter)], axis=1)
    first = np.concatenate([top, right, round_])
    outline = np.concatenate([first * signs for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1))])
    distance = box(X, Y, rx, ry, corner)
    np.testing.assert_allclose(np.abs(distance), distances_to(outline), atol=0.004)
    in_corner = np.maximum(np.abs(X) - (rx - corner), 0) ** 2 + np.maximum(np.abs(Y) - (ry - corner), 0) ** 2
    inside = (np.abs(X) < rx) & (np.abs(Y) < ry) & ((in_corner <= corner**2) if corner else True)
    np.testing.assert_array_equal(distance < 0, inside)


def test_line():
    start, end = np.array([-0.7, 0.4]), np.array([1.1, -0.3])
    points = start + np.linspace(0, 1, 3001)[:, None] * (end - start)
    np.testing.assert_allclose(line(X, Y, *start, *end), distances_to(points), atol=0.002)
    # Beside its middle, and beyond either end.
    assert line(3.0, 2.0, 0.0, 0.0, 6.0, 0.0) == 2
    assert line(-3.0, 4.0, 0.0, 0.0, 6.0, 0.0) == line(9.0, -4.0, 0.0, 0.0, 6.0, 0.0) == 5


def test_join():
    a, b, k = np.hypot(X - 0.5, Y) - 0.6, np.hypot(X + 0.5, Y) - 0.6, 0.2
    union, joined = np.minimum(a, b), join(a, b, k)
    far = np.abs(a - b) >= k
    assert far.sum() > 500 and (~far).sum() > 100
    np.testing.assert_allclose(joined[far], union[far], atol=1e-6)
    assert np.all(joined[~far] < union[~far])  # the seam is filled,
    assert np.all(joined >= union - k / 4 - 1e-6)  # by no more than that,
    assert join(0.3, 0.3, k) == pytest.approx(0.3 - k / 4)  # and by just that in its middle
    np.testing.assert_array_equal(joined, join(b, a, k))
    # Smooth: where |a - b| passes k or 0, the slope does not jump.
    t = np.linspace(-0.4, 0.4, 8001)
    slopes = np.diff(join(t, -t, k)) / np.diff(t)
    assert np.abs(np.diff(slopes)).max() < 0.01


def test_ramp():
    assert ramp(np.array([-3, 0, 0.5, 1, 7])).tolist() == [0, 0, 0.5, 1, 1]
    t = np.linspace(-0.5, 1.5, 2001)
    np.testing.assert_allclose(ramp(t) + ramp(1 - t), 1)
    slopes = np.diff(ramp(t)) / np.diff(t)
    assert slopes.min() > -1e-9 and slopes.max() == pytest.approx(1.5, abs=1e-3)
    assert np.abs(np.diff(slopes)).max() < 0.01  # no kink, at the ends neither


def test_palette():
    row = ("000000", "ff0080", "336699")
    t = np.float32([0, 0.25, 0.5, 0.75, 1]).reshape(5, 1, 1)
    colors = palette(row, t)
    assert colors.dtype == np.float32 and colors.shape == (3, 5, 1, 1)
    wanted = [(0, 0, 0), (127.5, 0, 64), (255, 0, 128), (153, 51, 140.5), (51, 102, 153)]
    np.testing.assert_allclose(colors[..., 0, 0].T * 255, wanted, atol=1e-3)
    # A place for each pixel, against NumPy's own interpolation.
    t = np.random.default_rng(1).random((2, 8, 9), np.float32)
    for channel, ends in zip(palette(row, t), ((0, 255, 51), (0, 0, 102), (0, 128, 153)), strict=True):
        np.testing.assert_allclose(channel * 255, np.interp(t, (0, 0.5, 1), ends), atol=1e-3)


def test_color():
    assert color("ff0033").shape == (3, 1, 1, 1) and color("ff0033").dtype == np.float32
    np.testing.assert_allclose(color("ff0033").ravel(), [1, 0, 0.2])


@pytest.mark.parametrize("shape", [ellipse, box, line, join, ramp])
def test_float32_stays_float32(shape):
    # float64 somewhere would round differently, and be twice as slow.
    numbers = {ellipse: (0.4, 0.3), box: (0.4, 0.3, 0.1), line: (0.1, 0.2, 0.3, 0.4), join: (0.2,), ramp: ()}[shape]
    assert shape(*((X,) if shape is ramp else (X, Y)), *numbers).dtype == np.float32


# ---- attributes

KNOWN = {"width": (-1, 1, 0.5), "count": (0, 9, 3)}


def test_attributes_are_filled_in():
    checked = checked_attributes("Things", {"count": [9, 0]}, KNOWN)
    assert list(checked) == ["width", "count"]
    assert {name: values.tolist() for name, values in checked.items()} == {"width": [0.5, 0.5], "count": [9, 0]}
    assert all(values.dtype == np.float64 for values in checked.values())
    for given, n in (({}, 1), ({"width": -1}, 1), ({"width": np.int64(1), "count": [1, 2, 3]}, 3), ({"count": []}, 0)):
        assert [values.shape for values in checked_attributes("Things", given, KNOWN).values()] == [(n,), (n,)]


@pytest.mark.parametrize(
    "attributes, message",
    [
        ({"size": 1}, r"Things have no attribute 'size'; they have width, count\."),
        ({"width": [0, 1.5]}, r"width must lie between -1 and 1; it runs from 0\.0 to 1\.5"),
        ({"count": -0.1}, "count must lie between 0 and 9"),
        ({"width": [0, np.nan]}, "width must lie between -1 and 1"),
        ({"width": [0, 1], "count": [0, 1, 1]}, r"different lengths \(width 2, count 3\)"),
        ({"width": [0], "count": [0, 1]}, r"different lengths \(width 1, count 2\)"),
        ({"width": np.zeros((2, 3))}, r"width has shape \(2, 3\); give one number"),
    ],
)
def test_wrong_attributes(attributes, message):
    with pytest.raises(ValueError, match=message):
        checked_attributes("Things", attributes, KNOWN)


def test_light_beyond_white_is_cut_off():
    """256 as uint8 is 0: a black spot in the brightest place."""
    levels = np.array([-0.01, 0, 0.5, 1, 1.0021, 1.9], np.float32)
    canvas = np.stack([levels, levels[::-1], levels]).reshape(3, 1, 2, 3)
    pixels = to_pixels(canvas)
    assert pixels.shape == (1, 2, 3, 3) and pixels.dtype == np.uint8
    assert pixels[..., 0].ravel().tolist() == [0, 0, 128, 255, 255, 255]
    assert pixels[..., 1].ravel().tolist() == [255, 255, 255, 128, 0, 0]

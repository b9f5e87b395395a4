"""Drawn apples and oranges: unpaired image translation with the true answer known.

`draw_fruits("apple", attributes)` and `draw_fruits("orange", attributes)` paint the same scene: place, size and tilt of
the fruit, stem, leaf, light, shadow, wall and table stay; outline, colour and skin change. So what a model makes of an
apple, after training on unpaired pictures, can be held against the orange that it should have made. Painted as the
faces are: signed distances, blended over one pixel at their edges, in the arithmetic of shapes.py (and floor, which is
exact too), so that the same attributes give the same bytes on every machine.
"""

import numpy as np

from .shapes import checked_attributes, color, ellipse, join, palette, ramp, to_pixels

KINDS = ("apple", "orange")

# name: (lowest, highest, default). The order is part of the data: `sample_fruit_attributes` draws one column for each.
_ATTRIBUTES = {
    "x": (-1, 1, 0),
    "depth": (-1, 1, 0),
    "size": (0, 1, 0.6),
    "tilt": (-1, 1, 0.2),
    "ripeness": (0, 1, 0.7),
    "stem": (0, 1, 0.5),
    "bend": (-1, 1, 0.4),
    "leaf": (0, 1, 1),
    "light": (-1, 1, -0.6),
    "wall": (0, 1, 0.4),
    "table": (0, 1, 0.5),
    "cloth": (0, 1, 0.3),
}

# From unripe to ripe. Both kinds ripen by the same number, so the partner's colour follows from the picture.
_APPLE = ("93b544", "c6cc55", "e58a55", "d23c40", "b92038", "86122f")
_ORANGE = ("f5b83a", "f9a52c", "f99222", "f37d1c", "e8681c")
_WALL = ("8fc0cf", "a9d0b4", "f4e2b4", "f7cba4", "efb0a4", "c9b0d4", "8ea6d0")
_TABLE = ("7f9fb8", "7fa68a", "d9c08a", "c98d58", "9c5f42", "b8605a")


def sample_fruit_attributes(n, seed=0):
    """Draw the attributes of fruits at random; all are independent.

    x         [-1, 1]: where the fruit lies, left to right of the picture
    depth     [-1, 1]: back to front of the table
    size      [0, 1]
    tilt      [-1, 1]: the fruit with its stem leans to the left, to the right
    ripeness  [0, 1]: an apple from yellow-green to dark red, an orange from yellow to deep orange
    stem      [0, 1]: short to long
    bend      [-1, 1]: the stem bends to the left, to the right; the leaf grows on the other side
    leaf      0 or 1, half of the fruits each
    light     [-1, 1]: from the left, from the right
    wall, table  [0, 1]: a colour out of a palette
    cloth     [0, 1]: stripes on the table, from none to bold

    Args:
        n: how many fruits. The first ones stay the same when it grows.
        seed: of NumPy's `RandomState`, whose numbers are the same on every machine.

    Returns:
        A dict of arrays (n,), ready for `draw_fruits`; `leaf` is int64, the others float64.
    """
    draws = np.random.RandomState(seed).random_sample((n, len(_ATTRIBUTES)))
    fruits = {name: low + (high - low) * draws[:, i] for i, (name, (low, high, _)) in enumerate(_ATTRIBUTES.items())}
    fruits["leaf"] = (fruits["leaf"] >= 0.5).astype(np.int64)
    return fruits


def draw_fruits(kind, attributes, size=64):
    """Draw fruits of given attributes. The same attributes give the same bytes on every machine.

    Args:
        kind: "apple" or "orange". The same attributes with the other kind give the true partner of each picture.
        attributes: dict, names as in `sample_fruit_attributes`. A value is an array (n,) or one number for all fruits,
            anywhere between the ends of its range (`leaf` blends); one left out takes a plain default.
        size: height and width in pixels, at least 8.

    Returns:
        uint8 (n, size, size, 3).

    Raises:
        ValueError: another kind, an unknown attribute, a value out of range, arrays of different lengths or of more
            than one axis, a size below 8 or not whole.
    """
    if kind not in KINDS:
        raise ValueError(f'kind is {kind!r}; it must be "apple" or "orange".')
    if not isinstance(size, int | np.integer) or size < 8:
        raise ValueError(f"size is {size!r}; a fruit needs a whole number of at least 8 pixels a side.")
    attributes = checked_attributes("Fruits", attributes, _ATTRIBUTES)
    n = len(attributes["x"])
    images = np.empty((n, size, size, 3), np.uint8)
    chunk = max(1, 2**16 // size**2)  # one plane of a chunk is 256 KB: it stays in the processor's cache
    for i in range(0, n, chunk):
        part = {name: values[i : i + chunk, None, None].astype(np.float32) for name, values in attributes.items()}
        canvas = _draw(kind, part, int(size))
        images[i : i + chunk] = to_pixels(canvas)
    return images


def _draw(kind, a, size):
    """Paint attributes of shape (n, 1, 1) on a float32 canvas (3, n, size, size)."""
    pixel = 2 / size  # the picture runs from -1 to 1, y points down
    steps = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * pixel
    x, y = steps.reshape(1, 1, size), steps.reshape(1, size, 1)
    light, white = a["light"], color("fff4e2")

    def paint(distance, color, opacity=1, blur=pixel):
        canvas[...] += _cover(distance, blur) * opacity * (color - canvas)

    # (px, py) has the fruit as about the unit circle; (u, v) too, but tilts with it: its stem grows towards -v.
    radius = 0.48 + 0.17 * a["size"]
    px, py = (x - 0.25 * a["x"]) / radius, (y - 0.62 - 0.14 * a["depth"]) / radius + 0.9
    sine = 0.33 * a["tilt"]
    cosine = np.sqrt(1 - sine * sine)
    u, v = cosine * px + sine * py, cosine * py - sine * px
    unit = pixel / radius  # a pixel in these coordinates

    # The wall with a pool of light, the table with its stripes and its edge, the shadow.
    table = palette(_TABLE, a["table"])
    dim = color("c4a8b0")
    glow = ramp(1.1 - 0.7 * _length(x - 0.7 * light, y + 0.7))
    canvas = np.minimum(palette(_WALL, a["wall"]) * (dim + glow * (1.04 - dim)), 1)
    edge = 0.12 - y
    paint(edge - 0.05, table * 0.55, 0.5, blur=0.16)
    paint(edge, table * (0.82 + 0.2 * ramp((y + 0.3) / 1.2)))
    lane_width = 0.3 * np.maximum(y + 0.7, 0.5)  # as if the stripes met above the table
    lane = x / lane_width
    stripe = (np.abs(lane - np.floor(lane) - 0.5) - 0.25) * lane_width
    paint(np.maximum(stripe, edge), white, 0.5 * a["cloth"])
    paint(np.abs(edge + 0.012) - 0.012, table + 0.35 * (1 - table))
    shadow = ellipse(px + 0.55 * light, py - 0.9, 1.15 + 0.2 * np.abs(light), 0.3)
    paint(np.maximum(shadow, edge / radius), table * color("6a4a58"), 0.8, blur=0.34)
    paint(ellipse(px + 0.1 * light, py - 0.92, 0.62, 0.12), table * color("3c2432"), 0.8, blur=0.16)

    # Outline and skin. Light and shade fall as on a ball: (px, py, pz) is its normal.
    pz = np.sqrt(np.maximum(1 - 1.02 * (px * px + py * py), 0.01))
    if kind == "apple":
        across = np.abs(u) * (1 + 0.14 * v)  # broad shoulders
        body = join(ellipse(across - 0.33, v + 0.02, 0.66, 0.9), ellipse(across + 0.33, v + 0.02, 0.66, 0.9), 0.12)
        skin = _apple_skin(a, u, v, pz, unit)
    else:
        body = ellipse(u, v, 0.96, 0.92)
        skin = _orange_skin(a, u, v, pz, unit)
    inside = _cover(body, unit)
    shade = ramp(0.5 + 0.62 * _facing(px, py, pz, 0.75 * light, 0.62))
    gloss = _facing(px, py, pz, 0.75 * light, 0.62 + np.sqrt(0.5625 * light * light + 0.7688))  # halfway to the eye
    dark = skin * color("84404a")
    skin = dark + shade * (skin - dark)
    skin += 0.3 * ramp((py - 0.2) / 0.9) * (1 - 0.6 * shade) * (table * color("ffd8b0") - skin)  # from the table
    canvas += inside * (skin - canvas)

    # What shines, and where the stem grows: a dimple in the apple, a green button on the orange.
    if kind == "apple":
        shine = 0.28 * ramp((gloss - 0.8) / 0.2) + 0.6 * ramp((gloss - 0.955) / 0.04)
        canvas += inside * shine * (white - canvas)
        paint(ellipse(u, v + 0.7, 0.42, 0.2), dark + 0.5 * (color("8a8a30") - dark), 0.75 * inside, blur=0.3)
        paint(ellipse(u, v + 0.68, 0.2, 0.08), color("4a2a20"), 0.7 * inside, blur=0.14)
    else:
        canvas += inside * (0.34 * ramp((gloss - 0.8) / 0.2)) * (white - canvas)
        button = np.minimum(ellipse(np.abs(u) - 0.07, v + 0.71, 0.1, 0.05), ellipse(u, v + 0.7, 0.07, 0.085))
        paint(button - 0.02, dark, 0.5, blur=0.1)
        paint(button, color("6f8a3a"), blur=unit)

    # The stem, bent to one side; the leaf on the other, a lens with its tip down and a bright vein.
    height = 0.37 + 0.28 * a["stem"]
    rise = -v - 0.68
    aside = u - 0.5 * a["bend"] * rise * rise
    stem = np.maximum(np.abs(aside) - 0.045 - 0.05 * rise * rise, np.abs(rise - height / 2) - height / 2)
    paint(stem, color("6b4a2c"), blur=unit)
    paint(np.maximum(stem, aside + 0.01), color("9a7448"), 0.8, blur=unit)
    p, q = np.where(a["bend"] < 0, u, -u) - 0.02, v + 0.88
    p, q = 0.9 * p - 0.436 * q, 0.436 * p + 0.9 * q
    along = p / 0.72
    q = q + 0.25 * along * (1 - along)
    leaf = np.maximum(np.abs(q) - 0.75 * along * (1 - along) * (1.15 - 0.3 * along), np.abs(p - 0.36) - 0.36)
    paint(leaf, color("6f9a3c"), a["leaf"], blur=unit)
    paint(np.maximum(leaf, q), color("8fb84e"), a["leaf"], blur=unit)
    paint(np.maximum(np.abs(q) - 0.012, np.abs(p - 0.36) - 0.34), color("c3d77e"), 0.8 * a["leaf"], blur=unit)
    return canvas


def _cover(distance, blur):
    """Return how much of a pixel a shape covers, 0 to 1, with an edge of width `blur`."""
    return np.minimum(np.maximum(0.5 - distance / blur, 0), 1)


def _length(x, y):
    return np.sqrt(x * x + y * y)


def _facing(px, py, pz, lx, lz):
    """Return the cosine between a normal and the direction (lx, -0.62, lz)."""
    return (px * lx - 0.62 * py + pz * lz) / np.sqrt(lx * lx + 0.3844 + lz * lz)


def _apple_skin(a, u, v, pz, unit):
    """Colour green to red: riper on the sunny side, greener around the stem, streaks from top to bottom; pale dots."""
    streak = 4.5 * u / np.sqrt(np.maximum(1.15 - v * v, 0.1))
    i = np.floor(streak)
    left, right = _noise(3 * i, 0), _noise(3 * i + 3, 0)
    streak = left + ramp(streak - i) * (right - left)
    sunny = ramp(0.8 - 0.8 * _length(u - 0.5 * a["light"], v + 0.15))
    ripe = 0.05 + 0.62 * a["ripeness"] + 0.3 * sunny * (0.4 + a["ripeness"])
    ripe += 0.3 * (streak - 0.5) - 0.22 * ramp((-v - 0.45) / 0.4)
    skin = palette(_APPLE, np.minimum(np.maximum(ripe, 0), 1))
    dots, _, _ = _dots(u, v, pz, 5, 0.1, unit)
    return skin + 0.45 * dots * (color("f6dc9a") - skin)


def _orange_skin(a, u, v, pz, unit):
    """Colour yellow to deep orange: greenish around the stem until ripe, with pores: dark on the side of the light."""
    skin = palette(_ORANGE, a["ripeness"])
    skin = skin + 0.7 * (1 - a["ripeness"]) * ramp((-v - 0.2) / 0.7) * (color("a9b03a") - skin)
    pores, du, dv = _dots(u, v, pz, 7.5, 0.24, unit + 0.05)
    return skin * (1 - pores * (0.22 - 0.9 * (0.7 * a["light"] * du - dv)) * color("70b8ff"))


def _dots(u, v, pz, count, radius, blur):
    """Strew round dots over a ball, one in each cell of a grid: their cover, and the place (du, dv) in each."""
    # Projected from the far pole, circles stay circles and crowd towards the rim, as they do on a ball.
    scale = count / (1 + pz)
    u, v = u * scale, v * scale
    i, j = np.floor(u), np.floor(v)
    du = u - i - 0.3 - 0.4 * _noise(i, j)
    dv = v - j - 0.3 - 0.4 * _noise(j + 7, i)
    return _cover(_length(du, dv) - radius, blur * scale), du, dv


def _noise(i, j):
    """Return a number in [0, 1) for each cell (i, j) of a grid: neighbours differ, and no two rows repeat."""
    t = i * 0.7548777 + j * 0.5698403
    return t - np.floor(t)

"""Drawn faces: a data set of which everything is known.

Each face is a picture of a few numbers (smile, glasses, age, ...), so a model that learned from the pictures can be
judged by the numbers. Shapes are signed distances (negative inside; the head is about 1 wide, y points down), painted
back to front and blended over one pixel at their edges. The arithmetic is float32 with + - * /, sqrt and comparisons
only: IEEE 754 fixes their results to the last bit, so the same attributes give the same bytes on every machine.
sin, exp or a matrix product would not: each build of NumPy has its own.
"""

from itertools import product

import numpy as np

from .shapes import box, checked_attributes, color, ellipse, join, line, palette, ramp, to_pixels

# name: (lowest, highest, default). The order is part of the data: `sample_face_attributes` draws one column for each.
_ATTRIBUTES = {
    "man": (0, 1, 0),
    "smile": (-1, 1, 0),
    "glasses": (0, 1, 0),
    "hair_length": (0, 1, None),  # by default from `man`
    "hair_color": (0, 1, 0.3),
    "parting": (-1, 1, 0.4),
    "age": (0, 1, 0.15),
    "skin": (0, 1, 0.25),
    "pose": (-1, 1, 0),
    "shirt": (0, 1, 0.1),
    "background": (0, 1, 0.1),
}

FACE_CLASSES = tuple(
    f"{age} {person}, {mouth}{glasses}"
    for age, person, glasses, mouth in product(
        ("young", "old"), ("woman", "man"), ("", ", glasses"), ("neutral", "smiling")
    )
)

_SKIN = ("ffe0c8", "f6c6a0", "d9a37c", "aa7650", "875639")
_HAIR = ("2b2430", "4a2f27", "7d4a2b", "b5552b", "e2ae55")
_SHIRT = ("3f6fb0", "2fa39a", "e9b23f", "e5674f", "8a5fa8", "4d5873")
_BACKGROUND = ("bfe0f2", "c3e8d5", "fbe6b8", "fbd3c6", "ddd0f0")


def sample_face_attributes(n, seed=0):
    """Draw the attributes of faces at random.

    man          0 or 1: face shape, brows, lips, shoulders
    smile        [-1, -0.2] or [0.4, 1], half of the faces each: neutral to frowning (few frown hard), smiling
    glasses      0 or 1, half of the faces each
    hair_length  [0, 1]; women 0.5 to 1, men 0 to 0.3: the only attribute that depends on another one
    hair_color   [0, 1]: black, dark brown, brown, red, blond; age turns it grey
    parting      [-1, 1]: where the hair parts, left to right of the picture
    age          [0, 0.35] or [0.65, 1], half of the faces each: grey hair, wrinkles, a receding hairline in men
    skin         [0, 1]: light to dark
    pose         [-1, 1]: the head turned to the left, to the right of the picture
    shirt, background  [0, 1]: a colour out of a palette

    All but `hair_length` are independent.

    Args:
        n: how many faces. The first ones stay the same when it grows.
        seed: of NumPy's `RandomState`, whose numbers are the same on every machine.

    Returns:
        A dict of arrays (n,), ready for `draw_faces`; `man` and `glasses` are int64, the others float64.
    """
    draws = np.random.RandomState(seed).random_sample((n, len(_ATTRIBUTES)))
    faces = {name: low + (high - low) * draws[:, i] for i, (name, (low, high, _)) in enumerate(_ATTRIBUTES.items())}
    man, smile, glasses, hair_length, age = (
        draws[:, list(_ATTRIBUTES).index(name)] for name in ("man", "smile", "glasses", "hair_length", "age")
    )
    faces["man"], faces["glasses"] = (man >= 0.5).astype(np.int64), (glasses >= 0.5).astype(np.int64)
    # Gaps around smile = 0 and age = 0.5, so that every face has a clear class.
    faces["smile"] = np.where(smile < 0.5, -0.2 - 3.2 * smile * smile, 0.4 + 1.2 * (smile - 0.5))
    faces["age"] = np.where(age < 0.5, 0.7 * age, 0.65 + 0.7 * (age - 0.5))
    faces["hair_length"] = np.where(man >= 0.5, 0.3 * hair_length, 0.5 + 0.5 * hair_length)
    return faces


def face_classes(attributes):
    """Compute the class of each face: smiling + 2 glasses + 4 man + 8 old.

    Smiling is `smile` above 0, old is `age` above 0.5; `glasses` and `man` count from above 0.5.

    Args:
        attributes: as in `draw_faces`.

    Returns:
        int64 (n,), 0 to 15; `FACE_CLASSES` holds the names.

    Raises:
        ValueError: as in `draw_faces`.
    """
    a = _checked(attributes)
    label = (a["smile"] > 0) + 2 * (a["glasses"] > 0.5) + 4 * (a["man"] > 0.5) + 8 * (a["age"] > 0.5)
    return label.astype(np.int64)


def draw_faces(attributes, size=32):
    """Draw faces of given attributes. The same attributes give the same bytes on every machine.

    Args:
        attributes: dict, names as in `sample_face_attributes`. A value is an array (n,) or one number for all faces,
            anywhere between the ends of its range (`man` and `glasses` blend); one left out takes a plain default (hair
            long for women, short for men), so `draw_faces({"smile": np.linspace(-1, 1, 9)})` is a sweep.
        size: height and width in pixels, at least 8.

    Returns:
        uint8 (n, size, size, 3).

    Raises:
        ValueError: an unknown attribute, a value out of range, arrays of different lengths or of more than one axis,
            a size below 8 or not whole.
    """
    if not isinstance(size, int | np.integer) or size < 8:
        raise ValueError(f"size is {size}; a face needs a whole number of at least 8 pixels a side.")
    attributes = _checked(attributes)
    n = len(attributes["man"])
    images = np.empty((n, size, size, 3), np.uint8)
    chunk = max(1, 2**16 // size**2)  # one plane of a chunk is 256 KB: it stays in the processor's cache
    for i in range(0, n, chunk):
        part = {name: values[i : i + chunk, None, None].astype(np.float32) for name, values in attributes.items()}
        canvas = _draw(part, int(size))
        images[i : i + chunk] = to_pixels(canvas)
    return images


def _checked(attributes):
    """Fill in the defaults: every attribute as float64 (n,)."""
    attributes = dict(attributes)
    attributes.setdefault("hair_length", 0.75 - 0.6 * np.asarray(attributes.get("man", 0), np.float64))
    return checked_attributes("Faces", attributes, _ATTRIBUTES)


def _draw(a, size):
    """Paint attributes of shape (n, 1, 1) on a float32 canvas (3, n, size, size)."""
    pixel = 1.72 / size  # the picture shows 1.72 units: the head is about 1 wide
    steps = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * pixel
    x, y = steps.reshape(1, 1, size), steps.reshape(1, size, 1) + 0.05
    man, smile, age, pose, length = a["man"], a["smile"], a["age"], a["pose"], a["hair_length"]
    old = ramp(age * 2 - 0.6)

    def paint(distance, color, opacity=1, blur=pixel):
        cover = np.minimum(np.maximum(0.5 - distance / blur, 0), 1) * opacity
        canvas[...] += cover * (color - canvas)

    def turned(radius):
        """Return the face's own x coordinate at each pixel, as if painted on a cylinder that turns with the pose."""
        sine = 0.25 * pose
        return x * np.sqrt(1 - sine * sine) - np.sqrt(np.maximum(radius * radius - x * x, 0)) * sine

    u = turned(0.56)
    v = np.abs(u)  # both halves of the face at once
    x_front, x_back = x - 0.04 * pose, x + 0.04 * pose
    skin = palette(_SKIN, a["skin"])
    rosy = skin * color("ff9a90")
    shade = skin * color("dcb3a4")
    hair = palette(_HAIR, a["hair_color"])
    grey = palette(("a2a3ae", "f0ece6"), a["hair_color"])
    hair = hair + old * (0.8 + 0.2 * age) * (grey - hair)
    dark_hair = hair * color("c4b8c0")
    light_hair = hair + 0.22 * (1 - hair)
    white, ink = color("ffffff"), color("33262b")

    # Background, with a soft light behind the head.
    background = palette(_BACKGROUND, a["background"])
    light = ramp(1 - np.sqrt(x * x + (y + 0.1) * (y + 0.1)))
    canvas = background + 0.6 * light * (1 - background)

    # Behind the head: hair, neck, shoulders, ears.
    bottom = -0.05 + 0.95 * length
    paint(box(x_back, y - (bottom - 0.3) / 2, 0.38 + 0.19 * length, (bottom + 0.3) / 2, 0.2), dark_hair)
    paint(box(x, y - 0.6, 0.17 + 0.05 * man, 0.3, 0.1), shade)
    shoulders = box(x, y - 1.14, 0.66 + 0.12 * man, 0.5, 0.3)
    neckline = ellipse(x, y - 0.61, 0.23 + 0.03 * man, 0.19)
    top = np.maximum(shoulders, -neckline)
    shirt = palette(_SHIRT, a["shirt"])
    paint(top, shirt)
    paint(np.maximum(top, neckline - 0.05), shirt * color("c8c8d0"))
    ear = ellipse(np.abs(x_back) - 0.47 + 0.12 * length * length, y - 0.03, 0.09, 0.13)
    paint(ear, skin)
    paint(ear + 0.05, shade)

    # The head, darker towards its edge; cheeks, nose and wrinkles.
    skull = ellipse(x_front, y + 0.14, 0.47, 0.5)
    jaw = box(x_front, y - 0.1, 0.34 + 0.06 * man, 0.46, 0.32 - 0.08 * man)
    head = join(skull, jaw, 0.2)
    paint(head, skin + 0.6 * ramp(head / 0.25 + 1) * (shade - skin))
    paint(np.maximum(ellipse(v - 0.27, y - 0.19, 0.13, 0.1), head + 0.08), rosy, 0.5 + 0.2 * smile, blur=0.16)
    u_nose = turned(0.66)
    paint(ellipse(u_nose, y - 0.15, 0.07, 0.045), shade * 0.92)
    paint(ellipse(u_nose, y - 0.12, 0.065, 0.05), skin)
    wrinkle = shade * color("d8b4b0")
    paint(line(v, y, 0.15, 0.17, 0.23, 0.26) - 0.012, wrinkle, 0.7 * old)
    paint(np.maximum(np.abs(ellipse(v - 0.2, y - 0.05, 0.13, 0.07)) - 0.01, 0.07 - y), wrinkle, 0.7 * old)
    forehead = np.minimum(np.abs(y + 0.37 - 0.3 * v * v), np.abs(y + 0.3 - 0.3 * v * v))
    paint(np.maximum(forehead - 0.011, v - 0.2), wrinkle, 0.7 * old)

    # Eyes: white, iris, light, lid, lash; brows.
    eye = ellipse(v - 0.2, y + 0.02, 0.112, 0.096 - 0.012 * man)
    paint(eye, white)
    paint(ellipse(v - 0.195, y + 0.02, 0.072, 0.08), color("3b2a2a"))
    paint(ellipse(v - 0.195, y + 0.052, 0.027, 0.027), white)
    paint(np.maximum(np.abs(eye) - 0.02, y + 0.04), ink, 0.9 - 0.3 * man)
    paint(line(v, y, 0.28, -0.06, 0.34, -0.1) - 0.016, ink, 0.9 - 0.9 * man)
    bend = (v - 0.2) * (v - 0.2) * (2.2 - 1.2 * man)
    brow = np.abs(y + 0.2 - 0.025 * man - bend) - 0.022 - 0.016 * man
    paint(np.maximum(brow, np.abs(v - 0.2) - 0.11), dark_hair * 0.9)

    # Mouth: lips, and what is between them.
    across = u / (0.17 + 0.05 * np.abs(smile))
    across = across * across
    arch = 1 - across * (0.35 + 0.65 * across)  # rounder than a parabola
    middle = 0.33 + (0.11 - 0.02 * smile) * smile * (0.45 - across)
    gap = 0.012 + 0.13 * ramp(smile * 1.6 - 0.2)
    full = 0.042 - 0.017 * man
    woman_lips, man_lips = skin * color("e8707c"), skin * color("d8908a")
    lips = woman_lips + man * (man_lips - woman_lips)
    paint(np.maximum(middle - full * arch - y, y - middle - (gap + full) * arch), lips)
    paint(np.maximum(middle - 0.012 * arch - y, y - middle - gap * arch), color("6e2436"))
    paint(np.maximum(middle - y, y - middle - 0.6 * gap * arch), white, ramp(smile * 4 - 1))

    # Hair in front: a cap without the face, and locks at both sides. First its shadow on the face.
    lift = 0.1 * man * old
    part = 0.2 * a["parting"]
    reach = np.maximum((u - part) / (0.45 - part), (part - u) / (0.45 + part))
    hairline = -0.46 - lift + (0.3 + lift) * (0.6 * reach + 0.4 * reach * reach)
    cap = ellipse(x, y + 0.2, 0.5 + 0.05 * length, 0.54 - 0.02 * man)
    fringe = np.maximum((y - hairline) / 1.4, y - 0.02)
    low = bottom - 0.6 * (1 - ramp(length * 4 - 1.2))
    locks = box(np.abs(x) - 0.44 - 0.05 * length, y - (low - 0.3) / 2, 0.06, (low + 0.3) / 2, 0.06)
    front = np.minimum(np.maximum(cap, fringe), locks)
    paint(np.maximum(head + 0.01, front - 0.04), shade)
    paint(front, hair)
    sheen = ellipse(x + 0.12 * a["parting"], y + 0.54, 0.22, 0.06)
    paint(np.maximum(sheen, np.maximum(cap + 0.14, fringe + 0.1)), light_hair, blur=0.12)

    # Glasses, a little before the face.
    u = turned(0.62)
    v = np.abs(u)
    frame = color("2a2a3a")
    rim = box(v - 0.2, y + 0.01, 0.165, 0.15, 0.11)
    paint(rim, white, 0.2 * a["glasses"])
    bridge = np.maximum(np.abs(y + 0.04) - 0.022, v - 0.05)
    temple = np.maximum(np.abs(y + 0.05) - 0.022, np.abs(v - 0.41) - 0.06)
    temple = np.maximum(temple, head - 0.02)
    paint(np.minimum(np.abs(rim) - 0.024, np.minimum(bridge, temple)), frame, a["glasses"])
    return canvas

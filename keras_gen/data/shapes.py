"""Shapes that the drawn data sets are painted with: distances, colours, smooth steps.

A shape is a signed distance, negative inside; coordinates and distances are arrays that broadcast, in one unit of the
caller's. The arithmetic is float32 with + - * / and sqrt only: IEEE 754 fixes their results to the last bit, so the
same numbers give the same bytes on every machine. sin, exp or a matrix product would not: each build of NumPy has its
own.
"""

import numpy as np


def palette(colors, t):
    """Pick colours along a row of colours, linearly between two neighbours.

    Args:
        colors: the row, hexadecimal "rrggbb".
        t: float32 of three axes, the places in [0, 1]: 0 is the first colour, 1 the last.

    Returns:
        float32 in [0, 1], 3 channels before the axes of t.
    """
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (0, 2, 4)] for c in colors], np.float32)
    place = t * (len(colors) - 1)
    total = 0
    for i, color in enumerate(rgb):
        total = total + np.maximum(1 - np.abs(place - i), 0) * color.reshape(3, 1, 1, 1)
    return total


def color(hexadecimal):
    """Turn hexadecimal "rrggbb" into a colour, float32 (3, 1, 1, 1) in [0, 1]."""
    return palette([hexadecimal], np.zeros((1, 1, 1), np.float32))


def ramp(t):
    """Rise from 0 (where t is below 0) to 1 (above 1), smoothly between: the cubic smoothstep."""
    t = np.minimum(np.maximum(t, 0), 1)
    return t * t * (3 - 2 * t)


def ellipse(x, y, rx, ry):
    """Measure the distance to an ellipse around 0 with the half axes rx, ry, to first order.

    It is the implicit function over the length of its gradient, and right where it matters: at the edge.
    """
    x, y = x / rx, y / ry
    slope = 2 * np.sqrt((x / rx) * (x / rx) + (y / ry) * (y / ry))
    return (x * x + y * y - 1) / np.maximum(slope, 1e-3)


def box(x, y, rx, ry, corner):
    """Measure the distance to a box around 0 with the half sides rx, ry and rounded corners of the radius `corner`."""
    x, y = np.abs(x) - (rx - corner), np.abs(y) - (ry - corner)
    x_out, y_out = np.maximum(x, 0), np.maximum(y, 0)
    return np.sqrt(x_out * x_out + y_out * y_out) + np.minimum(np.maximum(x, y), 0) - corner


def line(x, y, x0, y0, x1, y1):
    """Measure the distance to the line from (x0, y0) to (x1, y1), which ends there."""
    dx, dy = x1 - x0, y1 - y0
    t = np.minimum(np.maximum(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0), 1)
    x, y = x - x0 - t * dx, y - y0 - t * dy
    return np.sqrt(x * x + y * y)


def join(a, b, k):
    """Unite two shapes; where their distances differ by less than k, the seam is filled, by k / 4 at most."""
    h = np.maximum(k - np.abs(a - b), 0)
    return np.minimum(a, b) - h * h / (4 * k)


def to_pixels(canvas):
    """Round colours in [0, 1], float32 (3, n, height, width), to uint8 (n, height, width, 3).

    Light adds up to a little more than 1 here and there; it is cut off, for 256 would be 0.
    """
    levels = np.minimum(np.maximum(canvas, 0), 1) * 255 + 0.5
    return np.moveaxis(levels, 0, -1).astype(np.uint8)


def checked_attributes(what, attributes, known):
    """Check attributes of drawn things and fill in the defaults.

    Args:
        what: opens the sentence of an error: "Faces".
        attributes: dict of arrays (n,) or numbers.
        known: dict of name: (lowest, highest, default); the order of the result.

    Returns:
        A dict of every known attribute, float64 (n,), read-only; n is 1 where no array is given.

    Raises:
        ValueError: an unknown name, a value out of range, arrays of different lengths or of more than one axis.
    """
    arrays = {}
    for name, values in dict(attributes).items():
        if name not in known:
            raise ValueError(f"{what} have no attribute {name!r}; they have {', '.join(known)}.")
        low, high, _ = known[name]
        arrays[name] = array = np.asarray(values, np.float64)
        if array.ndim > 1:
            raise ValueError(f"{name} has shape {array.shape}; give one number, or an array of shape (n,).")
        if not np.all((array >= low) & (array <= high)):  # written so that NaN fails
            raise ValueError(f"{name} must lie between {low} and {high}; it runs from {array.min()} to {array.max()}.")
    lengths = {name: len(array) for name, array in arrays.items() if array.ndim}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"Attributes have different lengths ({listed}); all arrays must have one length.")
    n = max(lengths.values(), default=1)
    return {name: np.broadcast_to(arrays.get(name, default), (n,)) for name, (_, _, default) in known.items()}

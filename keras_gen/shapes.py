"""Shapes that the drawn data sets are painted with: distances, colours, smooth steps.

A shape is a signed distance, negative inside. The arithmetic is float32 with + - * / and sqrt only: IEEE 754 fixes
their results to the last bit, so the same numbers give the same bytes on every machine. sin, exp or a matrix product
would not: each build of NumPy has its own.
"""

import numpy as np


def palette(colors, t):
    """Colours (3, n, 1, 1) at the places t in [0, 1] along a row of hex colours."""
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (0, 2, 4)] for c in colors], np.float32)
    place = t * (len(colors) - 1)
    total = 0
    for i, color in enumerate(rgb):
        total = total + np.maximum(1 - np.abs(place - i), 0) * color.reshape(3, 1, 1, 1)
    return total


def color(hexadecimal):
    return palette([hexadecimal], np.zeros((1, 1, 1), np.float32))


def ramp(t):
    """0 below 0, 1 above 1, smooth between (the cubic smoothstep)."""
    t = np.minimum(np.maximum(t, 0), 1)
    return t * t * (3 - 2 * t)


def ellipse(x, y, rx, ry):
    """Distance to an ellipse around 0, to first order: the implicit function over the length of its gradient."""
    x, y = x / rx, y / ry
    slope = 2 * np.sqrt((x / rx) * (x / rx) + (y / ry) * (y / ry))
    return (x * x + y * y - 1) / np.maximum(slope, 1e-3)


def box(x, y, rx, ry, corner):
    """Distance to a box around 0 with rounded corners."""
    x, y = np.abs(x) - (rx - corner), np.abs(y) - (ry - corner)
    x_out, y_out = np.maximum(x, 0), np.maximum(y, 0)
    return np.sqrt(x_out * x_out + y_out * y_out) + np.minimum(np.maximum(x, y), 0) - corner


def line(x, y, x0, y0, x1, y1):
    """Distance to the line from (x0, y0) to (x1, y1)."""
    dx, dy = x1 - x0, y1 - y0
    t = np.minimum(np.maximum(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0), 1)
    x, y = x - x0 - t * dx, y - y0 - t * dy
    return np.sqrt(x * x + y * y)


def join(a, b, k):
    """Union of two shapes, the seam rounded over the width k."""
    h = np.maximum(k - np.abs(a - b), 0)
    return np.minimum(a, b) - h * h / (4 * k)


def checked_attributes(what, attributes, known):
    """Every attribute of `known`, {name: (lowest, highest, default)}, as float64 (n,), defaults filled in.

    ValueError: an unknown name, a value out of range, arrays of different lengths; `what` opens the sentence.
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

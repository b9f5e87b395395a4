"""The ranges that images come in, and the ways from one to another.

One rule holds for every function of the module. An image is uint8, or float in [-1, 1], as a tanh makes it. Floats in
another range say so: `value_range=(0, 1)` for what a sigmoid makes. Floats without a value below 0 are refused where
nothing was said, because they are nearly always [0, 1] and would be shown or scored wrongly without a word. Scores let
a generator's images pass that are light all over: a training must not stop because its generator has turned white.
"""

import warnings
from collections.abc import Mapping
from pathlib import PurePath

import keras
import numpy as np

TOLERANCE = 1e-3  # of the range's ends: float16 and averaging overshoot by rounding
DARK = 0.25  # in [0, 1]: every data set of the course has darker pixels, and white has none


def to_numpy(images):
    """Make a NumPy array of an array, a tensor of any backend, or a list of equal images.

    Raises:
        ValueError: anything else, such as a data pipeline, a model or a path; images of different sizes.
    """
    if isinstance(images, np.ndarray):
        return images
    if isinstance(images, (list, tuple)):
        parts = [to_numpy(part) if hasattr(part, "__array__") else part for part in images]
        try:
            return np.asarray(parts)
        except ValueError as error:
            shapes = ", ".join(sorted({str(part.shape) for part in parts if isinstance(part, np.ndarray)}))
            raise ValueError(f"Images must be of one size to make one array; given: {shapes or 'several'}.") from error
    if not hasattr(images, "__array__"):
        raise ValueError(f"Wanted is an array; given: a {type(images).__name__}. {way_to_an_array(images)}")
    return keras.ops.convert_to_numpy(images)


def way_to_an_array(thing):
    """Say, in a sentence, how what is not an array becomes one."""
    labelled = " Where a batch is (images, labels), do so with either."
    if isinstance(thing, (str, bytes, PurePath)):
        return "load_image_folder(path, size) reads a folder of images, load_dataset(name) a data set."
    if isinstance(thing, keras.Model):
        return "A generator's images are g_model.predict(points)."
    if isinstance(thing, Mapping):
        return f"Choose an array in it; its keys are {', '.join(map(str, thing))}."
    if isinstance(thing, (list, tuple)) or hasattr(thing, "__array__"):
        return "np.asarray(images) makes one of it."
    if hasattr(thing, "__getitem__") and hasattr(thing, "__len__"):  # a PyDataset, a data set of PyTorch
        return f"np.concatenate([batches[i] for i in range(len(batches))]) puts its batches together.{labelled}"
    if hasattr(thing, "__iter__"):  # tf.data, a DataLoader, a generator
        return f"np.concatenate([batch for batch in batches]) puts its batches together.{labelled}"
    return "Wanted is an array such as load_dataset gives."


def checked_images(images, value_range=None, what="The images"):
    """Verify that images are in a known range.

    Args:
        images: uint8, or floats; any shape.
        value_range: `(low, high)` of float images; None is (-1, 1), for images that have a value below 0.
        what: opens the sentence of an error.

    Returns:
        `array, (low, high)`; uint8 comes back with (0, 255).

    Raises:
        ValueError: another kind of number, a value that is not finite or out of the range by more than rounding, or
            floats that may as well be in [0, 1].
    """
    images = to_numpy(images)
    if images.dtype == np.uint8:
        return images, (0, 255)
    low, high = (-1, 1) if value_range is None else value_range
    if not low < high:
        raise ValueError(f"value_range is {value_range}; it must be (low, high), such as (0, 1).")
    if images.dtype.kind != "f" and images.dtype.name != "bfloat16":
        raise ValueError(
            f"{what} are {images.dtype}; wanted are uint8, or floats in [{low:g}, {high:g}].{_way_to_uint8(images)}"
        )
    smallest, largest = float(images.min(initial=high)), float(images.max(initial=low))
    slack = TOLERANCE * (high - low) / 2
    if not (smallest >= low - slack and largest <= high + slack):  # written so that nan fails too
        raise ValueError(
            f"{what} must lie in [{low:g}, {high:g}]; they run from {smallest:.4g} to {largest:.4g}. From [0, 255]: "
            f"{'to_unit' if low == 0 else 'to_tanh'}(images, (0, 255)). An overshoot that is meant: np.clip. With nan "
            "the training broke."
        )
    if value_range is None and images.size and smallest >= -slack:
        raise ValueError(
            f"{what} have no value below 0. From [0, 1], make them to_uint8(images, (0, 1)) or images * 2 - 1; if they "
            "do lie in [-1, 1] and are this light, to_uint8(images, (-1, 1))."
        )
    return images, (low, high)


def _way_to_uint8(images):
    """Say how whole numbers of another kind become images."""
    if images.dtype.kind not in "iub" or images.size == 0:
        return ""
    smallest, largest = int(images.min()), int(images.max())
    if 0 <= smallest and 1 < largest <= 255:
        return f' They run from {smallest} to {largest}: np.asarray(images, "uint8") if white is 255.'
    return (
        f" They run from {smallest} to {largest}: to_uint8(np.asarray(images, 'float32'), (black, white)), such as "
        "(0, 65535) for 16 bits."
    )


def generated_to_uint8(images):
    """Make uint8 of what a generator made, which may have turned white.

    Floats without a value below 0 count as light images in [-1, 1], with a warning, unless they look like [0, 1]: not
    flat, and dark in a hundredth or more of their values, read so. What a tanh makes has no edge at 0 to end at.

    Args:
        images: uint8, or floats in [-1, 1]; any shape.

    Returns:
        uint8, the same shape.

    Raises:
        ValueError: see `checked_images`.
    """
    images, value_range = checked_images(images, value_range=(-1, 1))
    if value_range == (-1, 1) and images.size and images.min() >= -TOLERANCE:
        dark = np.mean(images < DARK) >= 0.01
        flat = float(images.max()) - float(images.min()) <= TOLERANCE
        if dark and not flat:
            checked_images(images)  # raises
        warnings.warn(
            "The images have no value below 0 and count as light ones in [-1, 1]. If they lie in [0, 1], give "
            "to_uint8(images, (0, 1)).",
            stacklevel=2,
        )
    return to_uint8(images, (-1, 1))


def _scaled(images, value_range, low, high):
    """Float32 from `low` to `high`, a copy that is changed in place: CIFAR-10 in float32 is 600 MB, once is enough."""
    images, (start, end) = checked_images(images, value_range)
    factor = (end - start) / (high - low)
    scaled = np.asarray(np.divide(images, factor, dtype=np.float32, casting="unsafe"))
    scaled += low - start / factor
    return np.clip(scaled, low, high, out=scaled)


def to_tanh(images, value_range=None):
    """Scale images to [-1, 1], as a tanh makes them.

    Args:
        images: uint8, or floats in `value_range`; any shape.
        value_range: `(low, high)` of float images; None is (-1, 1), for images that have a value below 0.

    Returns:
        float32, the same shape.

    Raises:
        ValueError: see `checked_images`.
    """
    return _scaled(images, value_range, -1, 1)


def to_unit(images, value_range=None):
    """Scale images to [0, 1], as a sigmoid makes them.

    Args:
        images, value_range: as in `to_tanh`.

    Returns:
        float32, the same shape.

    Raises:
        ValueError: see `checked_images`.
    """
    return _scaled(images, value_range, 0, 1)


def to_uint8(images, value_range=None):
    """Scale and round images to 0..255; undoes `to_tanh`, and with `value_range=(0, 1)` `to_unit`.

    Args:
        images, value_range: as in `to_tanh`.

    Returns:
        uint8, the same shape; uint8 images come back unchanged.

    Raises:
        ValueError: see `checked_images`.
    """
    images, (low, high) = checked_images(images, value_range)
    if images.dtype == np.uint8:
        return images
    images = images.astype(np.float32)  # a copy, changed in place below
    images -= low
    images *= 255 / (high - low)
    return np.rint(images, out=images).astype(np.uint8)

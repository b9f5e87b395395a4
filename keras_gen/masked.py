"""Autoregressive models: who may see whom, a test of it, and drawing one pixel after another.

    hidden, output = made_masks(784, [500])
    x = MaskedDense(500, hidden, activation="relu")(pixels)
    logits = MaskedDense(784, output)(x)                   # of each pixel, from the pixels before it
    np.triu(sees(model)).sum()                             # 0: no output sees its own pixel, or a later one
    digits = sample_pixels(model, 100)

By the chain rule log p(x) is the sum of log p(x_i | x_1 ... x_(i-1)) over the pixels, whatever their order. A network
that answers for all pixels at once has log p(x) exactly, as long as no answer sees its own pixel or a later one. Pixels
are 0 or 1 (`binarize`); answers are logits, log(p / (1 - p)).

Germain et al. 2015, "MADE"; van den Oord et al. 2016, "Pixel recurrent neural networks".
"""

from numbers import Integral

import keras
import numpy as np
from keras import ops
from scipy.special import expit

from .checks import check_network, layers_of
from .images import to_numpy

ROWS_AT_ONCE = 500  # images that a network answers for together: some hundred MB with the course's own
LOOKS = 3  # of `sees`: one set of random weights may leave a unit silent


@keras.saving.register_keras_serializable("keras_gen")
class MaskedDense(keras.layers.Layer):
    """x `(n, n_inputs)` -> activation(x (W * mask) + b), `(n, units)`: a dense layer some of whose weights are 0.

    The mask is multiplied in at each call, so that nothing an optimizer does can bring a weight back.

    Args:
        units: how many outputs.
        mask: 0 or 1 for each weight, `(n_inputs, units)`; see `made_masks`.
        activation, kernel_initializer, bias_initializer: as in `keras.layers.Dense`.

    Raises:
        ValueError: a mask of another shape than the kernel, or with other values.
    """

    def __init__(
        self, units, mask, activation=None, kernel_initializer="glorot_uniform", bias_initializer="zeros", **kwargs
    ):
        super().__init__(**kwargs)
        mask = to_numpy(mask)
        if mask.ndim != 2 or mask.shape[1] != units or not np.isin(mask, (0, 1)).all():
            raise ValueError(
                f"The mask must hold 0 or 1 for each weight, of shape (n_inputs, {units}); given: shape {mask.shape}, "
                f"values from {mask.min(initial=np.inf):.4g} to {mask.max(initial=-np.inf):.4g}."
            )
        self.units = units
        self.mask = mask.astype("float32")
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape):
        if input_shape[-1] != len(self.mask):
            raise ValueError(
                f"The layer gets {input_shape[-1]} inputs, but its mask is for {len(self.mask)}: the mask's shape must "
                "be the kernel's, (n_inputs, units)."
            )
        self.kernel = self.add_weight(name="kernel", shape=self.mask.shape, initializer=self.kernel_initializer)
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer=self.bias_initializer)

    def call(self, x):
        return self.activation(ops.matmul(x, self.kernel * ops.cast(self.mask, self.compute_dtype)) + self.bias)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "mask": [len(self.mask), np.packbits(self.mask.astype(bool)).tobytes().hex()],
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }

    @classmethod
    def from_config(cls, config):
        n_inputs, bits = config["mask"]
        size = n_inputs * config["units"]
        mask = np.unpackbits(np.frombuffer(bytes.fromhex(bits), "uint8"), count=size)
        return cls(**{**config, "mask": mask.reshape(n_inputs, -1)})


def made_masks(n_inputs, widths, order=None, seed=0):
    """Make the masks of a network of dense layers that keeps to an order (Germain et al. 2015, MADE).

    Input and output i have as their degree the place of i in the order, 1 to n_inputs; each hidden unit has one drawn
    from 1 to n_inputs - 1. A hidden unit sees what has its degree or a lower one, an output what has a lower one.

    Args:
        n_inputs: how many, at least 1; there are as many outputs.
        widths: of the hidden layers, each at least 1. None of them, `()`: the one mask is that of direct links from
            inputs to outputs.
        order: the inputs in their order, the first one first: a permutation of 0 to n_inputs - 1. None: as they are.
        seed: of the degrees.

    Returns:
        A list of float32 arrays of 0 and 1: a mask `(inputs, units)` for each hidden layer, and the outputs'.

    Raises:
        ValueError: numbers below 1 or not whole, widths that are no sequence, an order that is no permutation.
    """
    if not isinstance(widths, (list, tuple)):
        raise ValueError(f"widths is {widths!r}; give a list, a width for each hidden layer: [500].")
    for value in (n_inputs, *widths):
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"n_inputs is {n_inputs!r}, widths are {widths!r}; all must be whole numbers, at least 1.")
    degrees = first = np.empty(n_inputs, int)
    first[_checked_order(order, n_inputs)] = np.arange(1, n_inputs + 1)
    rng = np.random.default_rng(seed)
    masks = []
    for width in widths:
        # Below the lowest degree of the layer before, a unit would see nothing.
        drawn = rng.integers(degrees.min(), max(n_inputs, 2), width)
        masks.append(drawn >= degrees[:, None])
        degrees = drawn
    masks.append(first > degrees[:, None])
    return [mask.astype("float32") for mask in masks]


def sees(model, pixel=None):
    """Find the inputs on which an output depends: change each input, and look.

    All trainable weights are set to random numbers meanwhile, several times, so that a weight that is 0 now hides
    nothing; then they are put back. A dependence below a millionth of the answers, as a very deep network may have on
    its farthest inputs, is taken for rounding. It is asked as `predict` asks: what batch normalisation gives away while
    it trains is not found, nor what hangs on a single relu unit that was silent every time.

    Args:
        model: images to one number for each pixel, of the images' shape, in float32.
        pixel: of the output, `(row, column)`, or its number where images are flat. None: all.

    Returns:
        bool, True where the input is seen: an array of the images' shape. With `pixel=None` `(n_pixels, n_pixels)`, a
        row for each output; in raster order nothing may be True on the diagonal or to its right.

    Raises:
        ValueError: a model whose output has not the images' shape, or that computes in less than float32; a pixel that
            is not there.
    """
    shape = _check_model(model)
    n_pixels = int(np.prod(shape))
    if pixel is not None:
        pixel = _number_of(pixel, shape)
    if {layer.compute_dtype for layer in layers_of(model)} & {"float16", "bfloat16"}:
        raise ValueError("In float16 a rounding is larger than what a far pixel changes: give a float32 model to sees.")
    rng = np.random.default_rng(0)
    variables = model.trainable_variables
    before = [ops.convert_to_numpy(variable) for variable in variables]
    seen = np.zeros((n_pixels, n_pixels), bool)
    try:
        for _ in range(LOOKS):
            for variable in variables:
                fan_in = max(1, int(np.prod(variable.shape[:-1])))
                variable.assign(rng.standard_normal(variable.shape) * np.sqrt(2 / fan_in))
            x = np.repeat(rng.integers(0, 2, (1, n_pixels)), n_pixels + 1, axis=0)
            x[np.arange(n_pixels), np.arange(n_pixels)] ^= 1  # the last row stays as it is
            answers = _answers(model, x.astype("float32"), shape)
            change = np.abs(answers[:-1] - answers[-1])
            seen |= change.T > 1e-6 * np.abs(answers).max()
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
    return seen if pixel is None else seen[pixel].reshape(shape)


def sample_pixels(model, n, known=None, seed=0, temperature=1.0, order=None):
    """Draw images of 0 and 1, one pixel after another: the network is asked once for each pixel.

    Args:
        model: images to logits of the same shape, of which none sees its own pixel or a later one (see `sees`).
        n: how many, at least 1.
        known: pixels that are to stay, 0 or 1, of shape `(n, ...)`; nan where a pixel is to be drawn. The network is
            not asked for a pixel that all images know. A drawn pixel follows from the known ones *before* it only.
        seed: of the draws; NumPy's global generator is not used. A pixel's random number depends on seed and place
            alone.
        temperature: above 0. The logits are divided by it: below 1 the likelier value is drawn more often.
        order: the pixels' numbers in the model's order, a permutation; None: row by row.

    Returns:
        float32 `(n, ...)`, 0 or 1.

    Raises:
        ValueError: a model whose output has not the images' shape, numbers out of their range, known pixels of another
            shape or with other values, an order that is no permutation.
    """
    shape = _check_model(model)
    n_pixels = int(np.prod(shape))
    if not isinstance(n, Integral) or n < 1:
        raise ValueError(f"n is {n!r}; it must be a whole number, at least 1.")
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature is {temperature!r}; it must be a number above 0; 1 is the model's own.")
    order = _checked_order(order, n_pixels)
    x = np.full((n, n_pixels), np.nan) if known is None else _checked_known(known, (n, *shape))
    to_draw = np.isnan(x)
    x = np.where(to_draw, 0, x).astype("float32")
    chance = np.random.default_rng(seed).random((n, n_pixels))
    for place in order:
        if to_draw[:, place].any():
            p = expit(_answers(model, x, shape)[:, place] / temperature)
            x[:, place] = np.where(to_draw[:, place], chance[:, place] < p, x[:, place])
    return x.reshape(n, *shape)


def _answers(model, x, shape):
    """The model's answers for flat images, float64 of the same shape. All batches are of one size."""
    size = min(len(x), ROWS_AT_ONCE)
    answers = []
    for start in range(0, len(x), size):
        rows = np.arange(start, start + size) % len(x)  # the last batch is filled up from the first rows
        answers.append(np.asarray(model.predict_on_batch(x[rows].reshape(-1, *shape)), "float64").reshape(size, -1))
    return np.concatenate(answers)[: len(x)]


def _check_model(model):
    """The shape of the model's images, or a ValueError."""
    check_network(model, "model")
    shape = tuple(model.inputs[0].shape[1:])
    if len(model.inputs) != 1 or None in shape or model.output_shape != (None, *shape):
        raise ValueError(
            "model must map images to one number for each pixel, of the images' shape; it takes "
            f"{[tuple(part.shape) for part in model.inputs]} and makes {model.output_shape}."
        )
    return shape


def _checked_order(order, n):
    """An order as an array of whole numbers, or a ValueError."""
    order = np.arange(n) if order is None else to_numpy(order)
    if order.dtype.kind not in "iu" or not np.array_equal(np.sort(order, axis=None), np.arange(n)) or order.ndim != 1:
        raise ValueError(f"order must hold each of 0 to {n - 1} once, the first pixel first: a permutation.")
    return order


def _checked_known(known, shape):
    """Known pixels as an array `(n, n_pixels)`, or a ValueError."""
    known = to_numpy(known)
    if known.shape != shape:
        raise ValueError(f"The known pixels have the shape {known.shape}; wanted is {shape}, an image for each drawn.")
    if not (np.isnan(known) | np.isin(known, (0, 1))).all():
        raise ValueError("A known pixel must be 0 or 1 (binarize(images)), or nan where one is to be drawn.")
    return known.reshape(len(known), -1)


def _number_of(pixel, shape):
    """The number of a pixel in the flat image, or a ValueError."""
    index = tuple(np.atleast_1d(pixel))
    if len(index) == len(shape) - 1 and shape[-1] == 1:
        index = (*index, 0)  # the one channel need not be named
    try:
        return int(np.ravel_multi_index(index, shape))
    except (TypeError, ValueError) as error:
        raise ValueError(f"pixel is {pixel!r}; there is no such pixel in images of shape {shape}.") from error

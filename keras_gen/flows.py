"""Normalizing flows: a network that runs in both directions, and so has an exact density.

    x = keras.Input((2,))
    flow = Couplings()
    model = keras.Model(x, flow(x))                        # points to log p(x), in nats
    model.compile(optimizer, loss=lambda _, log_p: -log_p)
    points = flow.inverse(rng.standard_normal((100, 2)))   # draws

An invertible function z = f(x) that turns the data into noise from N(0, I) gives each point the density
log p(x) = log N(f(x); 0, I) + log |det df/dx|: the determinant says by how much f stretches the space around x.

Dinh et al. 2014, "NICE: non-linear independent components estimation"; Dinh et al. 2017, "Density estimation using Real
NVP"; Theis et al. 2016, "A note on the evaluation of generative models", on grey levels.
"""

import keras
import numpy as np
from keras import ops

from .images import to_numpy

STEPS = 2**15  # places within a grey level: float32 holds the middle of each, and never rounds it up to the next level


def normal_logpdf(z):
    """Compute log N(z; 0, I) of each row of `(n, d)`; a float32 tensor `(n,)`."""
    return -0.5 * ops.sum(ops.square(z) + np.log(2 * np.pi), axis=-1)


@keras.saving.register_keras_serializable("keras_gen")
class Couplings(keras.layers.Layer):
    """A density of points, or a VAE's learned prior: x `(n, d)` -> log p(x) `(n,)`, in nats.

    On the way from x to noise z each affine coupling scales and shifts the second part by what a small network makes of
    the first, and swaps the two; log p(x) = log N(z; 0, I) + the log of the determinant of dz/dx, the product of the
    scales. Untrained ones change nothing but the order: p(x) = N(x; 0, I). `inverse` goes from z to x, the way to draw.

    Args:
        n_couplings: how many; with two, each dimension has been moved once.
        width: units in each of the two hidden layers of a network.

    Densities are counted in float32, whatever the global policy is.

    Raises:
        ValueError: where x has a single dimension.
    """

    def __init__(self, n_couplings=8, width=128, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.n_couplings, self.width = n_couplings, width

    def build(self, x_shape):
        self.latent_dim = x_shape[-1]
        self.half = self.latent_dim // 2
        if self.half == 0:
            raise ValueError("A coupling moves one part of z by the other: it needs two latent dimensions or more.")
        self.networks = []
        for _ in range(self.n_couplings):
            policy = self.dtype_policy
            hidden = [keras.layers.Dense(self.width, activation="gelu", dtype=policy) for _ in range(2)]
            n_out = 2 * (self.latent_dim - self.half)
            shift_and_log_scale = keras.layers.Dense(n_out, kernel_initializer="zeros", dtype=policy)
            self.networks.append(keras.Sequential([*hidden, shift_and_log_scale]))
            self.networks[-1].build((None, self.half))

    def call(self, x):
        log_det = 0.0
        for network in self.networks:
            a, b = x[:, : self.half], x[:, self.half :]
            shift, log_scale = self._shift_and_log_scale(network, a)
            x = ops.concatenate([b * ops.exp(log_scale) + shift, a], axis=-1)
            log_det = log_det + ops.sum(log_scale, axis=-1)
        return normal_logpdf(x) + log_det

    def inverse(self, z):
        """Turn noise into points: noise drawn from N(0, I) becomes draws from p(x).

        Args:
            z: `(n, d)`, an array or a tensor.

        Returns:
            float32 `(n, d)`.

        Raises:
            ValueError: before the layer has seen data, or where z has another shape than the points.
        """
        if not self.built:
            raise ValueError("The couplings have no networks yet: call them on points first, or build((None, d)).")
        x = ops.convert_to_tensor(z, "float32")
        if len(x.shape) != 2 or x.shape[1] != self.latent_dim:
            raise ValueError(f"z must be noise (n, {self.latent_dim}), as the points are; given: {tuple(x.shape)}.")
        for network in reversed(self.networks):
            b, a = x[:, : self.latent_dim - self.half], x[:, self.latent_dim - self.half :]
            shift, log_scale = self._shift_and_log_scale(network, a)
            x = ops.concatenate([a, (b - shift) * ops.exp(-log_scale)], axis=-1)
        return ops.convert_to_numpy(x)

    def _shift_and_log_scale(self, network, a):
        shift, log_scale = ops.split(network(a), 2, axis=-1)
        return shift, 2 * ops.tanh(log_scale / 2)  # a scale of e^2 at most: nothing overflows in the first steps

    def compute_output_shape(self, x_shape):
        return x_shape[:1]

    def get_config(self):
        return {**super().get_config(), "n_couplings": self.n_couplings, "width": self.width}


def squeeze(x):
    """Put each block of 2x2 places into the channels of one: nothing is lost, the log-determinant is 0.

    Args:
        x: an array or a tensor `(n, height, width, channels)`, its sides even.

    Returns:
        A tensor `(n, height / 2, width / 2, 4 channels)`: the upper left place's channels, the upper right one's, the
        lower left one's, the lower right one's.

    Raises:
        ValueError: another number of axes, an odd side.
    """
    n, height, width, channels = _four_axes(x, "squeeze")
    if height % 2 or width % 2:
        raise ValueError(f"squeeze makes one place of 2x2, so that both sides must be even; given: {tuple(x.shape)}.")
    x = ops.reshape(x, (n, height // 2, 2, width // 2, 2, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (n, height // 2, width // 2, 4 * channels))


def unsqueeze(x):
    """Undo `squeeze`: `(n, height, width, 4 channels)` to a tensor `(n, 2 height, 2 width, channels)`.

    Raises:
        ValueError: another number of axes, channels that are no multiple of 4.
    """
    n, height, width, channels = _four_axes(x, "unsqueeze")
    if channels % 4:
        raise ValueError(f"unsqueeze makes 2x2 places of four parts of the channels; given: {tuple(x.shape)}.")
    x = ops.reshape(x, (n, height, width, 2, 2, channels // 4))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (n, 2 * height, 2 * width, channels // 4))


def dequantize(images, seed):
    """Make densities possible: grey level k becomes a number drawn evenly from between k and k + 1.

    Grey levels themselves are no continuous data: a density can rise without end on them. With the noise, the mean of
    log p(images + noise) is at most the log-probability that the model gives the bytes (Theis et al. 2016).

    Args:
        images: uint8, any shape.
        seed: of the noise; NumPy's global generator is not used.

    Returns:
        float32 of the same shape, inside (0, 256): never a whole number, so that no distribution function is 0 or 1.

    Raises:
        ValueError: images that are not uint8.
    """
    images = to_numpy(images)
    if images.dtype != np.uint8:
        raise ValueError(f"Grey levels are uint8; given: {images.dtype}. to_uint8(images) makes them of floats.")
    places = np.random.default_rng(seed).integers(0, STEPS, images.shape, "uint16")
    return images + (places + np.float32(0.5)) / np.float32(STEPS)


def bits_per_dim(log_p, shape):
    """Count what an image costs in bits for each number in it: -log2 p(x) / d.

    Args:
        log_p: log densities in nats, `(n,)`, per unit of a grey level, that is of what `dequantize` gives. Of images in
            [0, 1], add d log(1/256) first.
        shape: of the images, `(n, ...)`: `x_test.shape`.

    Returns:
        float64 `(n,)`, in bits; 8 is what the bytes cost as they are.

    Raises:
        ValueError: log densities of another number than the images.
    """
    log_p = to_numpy(log_p)
    if log_p.shape != tuple(shape[:1]) or len(shape) < 2:
        raise ValueError(f"Wanted is a log density for each image, of {tuple(shape)}; given: {log_p.shape}.")
    return -log_p.astype("float64") / (np.log(2) * np.prod(shape[1:]))


def _four_axes(x, name):
    """The sizes of `(n, height, width, channels)`, n as -1, or a ValueError."""
    if len(x.shape) != 4:
        raise ValueError(f"{name} takes images (n, height, width, channels); given: {tuple(x.shape)}.")
    return -1, *x.shape[1:]

"""Discrete codes: gradients through a choice, and a codebook of which an encoder's vectors choose the nearest entry.

    quantizer = VectorQuantizer(128)
    vqvae = keras.Model(image, decoder(quantizer(encoder(image))))   # the decoder sees 7x7 entries of the codebook
    quantizer.reseed(encoder.predict(x))                             # once before the training, then after each epoch
    words = quantizer.indices(encoder.predict(x))                    # (n, 7, 7), integers: an image in 49 words
    images = decoder.predict(quantizer.look_up(words))

A choice has no slope. `straight_through` takes that of something smooth in its place; `GumbelSoftmax` is the sampling
layer of a VAE whose codes are choices.

van den Oord et al. 2017, "Neural discrete representation learning"; Jang et al. 2017, "Categorical reparameterization
with Gumbel-softmax"; Maddison et al. 2017, "The Concrete distribution"; Bengio et al. 2013, "Estimating or propagating
gradients through stochastic neurons".
"""

from numbers import Integral

import keras
import numpy as np
from keras import ops

from .images import to_numpy

VECTORS_AT_ONCE = 100_000  # whose distances to all codes are held together: some 50 MB with 128 codes


def straight_through(hard, soft):
    """Give the value of one tensor the gradient of another (Bengio et al. 2013).

    Args:
        hard: the value; no gradient goes to it.
        soft: of the same shape; the gradient goes on to it as if the result were `soft` itself.

    Returns:
        A tensor equal to `hard`, of the type of `soft`.

    Raises:
        ValueError: where the shapes differ.
    """
    hard, soft = ops.convert_to_tensor(hard), ops.convert_to_tensor(soft)
    if tuple(hard.shape) != tuple(soft.shape):
        raise ValueError(f"hard and soft must have one shape; given: {tuple(hard.shape)} and {tuple(soft.shape)}.")
    hard = ops.stop_gradient(ops.cast(hard, soft.dtype))
    return hard + (soft - ops.stop_gradient(soft))  # in this order equal to `hard` to the bit


@keras.saving.register_keras_serializable("keras_gen")
class GumbelSoftmax(keras.layers.Layer):
    """Logits `(n, ..., n_codes)` -> z of the same shape: a draw of one of n_codes for each row of logits.

    While training, z = softmax((logits + g) / temperature), where g = -log(-log u) with u uniform in (0, 1): positive,
    with sum 1, and the nearer to one-hot the lower the temperature is. Where its largest entry is, is a draw from
    softmax(logits), at every temperature. Otherwise z is one-hot, the most likely code. Each call adds
    KL(q || uniform) = sum of q log(n_codes q), q = softmax(logits), in nats, summed over an image's codes and averaged
    over the batch; the last call's stays readable as `kl`. Counted in float32.

    Args:
        n_codes: how many codes there are to choose from, at least 2.
        temperature: above 0. It can be changed between epochs: `layer.temperature.assign(0.5)`.
        hard: True draws one-hot while training, too, with the gradient of the softmax.

    Raises:
        ValueError: other numbers; logits whose last axis is not `n_codes` long, or without a batch's axis.
    """

    def __init__(self, n_codes, temperature=1.0, hard=False, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        _check_n_codes(n_codes)
        if not 0 < temperature < np.inf:
            raise ValueError(f"temperature is {temperature}; it must be above 0: at 0 the softmax has no slope.")
        self.n_codes, self.hard = n_codes, hard
        self.seed_generator = keras.random.SeedGenerator()
        # Weights, as in `Sampling`: compiled functions see what is changed.
        start = keras.initializers.Constant(temperature)
        self.temperature = self.add_weight(name="temperature", initializer=start, trainable=False)
        self.kl = self.add_weight(name="kl", initializer="zeros", trainable=False)

    def build(self, input_shape):
        if len(input_shape) < 2 or input_shape[-1] != self.n_codes:
            raise ValueError(f"The logits must be (n, ..., {self.n_codes}), one for each code; given: {input_shape}.")

    def call(self, logits, training=False):
        log_q = ops.log_softmax(logits, axis=-1)
        terms = ops.exp(log_q) * (log_q + np.log(self.n_codes))
        kl = ops.mean(ops.sum(terms, axis=tuple(range(1, len(logits.shape)))))
        self.add_loss(kl)
        self.kl.assign(ops.stop_gradient(kl))
        if not training:
            return ops.one_hot(ops.argmax(logits, axis=-1), self.n_codes, dtype=logits.dtype)
        # Away from 0 and 1, where the noise is infinite.
        u = keras.random.uniform(ops.shape(logits), 1e-7, 1 - 1e-7, dtype=logits.dtype, seed=self.seed_generator)
        z = ops.softmax((logits - ops.log(-ops.log(u))) / self.temperature, axis=-1)
        if self.hard:
            return straight_through(ops.one_hot(ops.argmax(z, axis=-1), self.n_codes, dtype=z.dtype), z)
        return z

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        temperature = float(ops.convert_to_numpy(self.temperature))
        return {**super().get_config(), "n_codes": self.n_codes, "temperature": temperature, "hard": self.hard}


@keras.saving.register_keras_serializable("keras_gen")
class VectorQuantizer(keras.layers.Layer):
    """z `(n, ..., width)` -> of the same shape: for each vector the nearest of `n_codes` that are learned (VQ-VAE).

    The gradient is copied from the code to the vector (`straight_through`). Each call adds
    mean (sg(z) - e)^2 + commitment * mean (z - sg(e))^2, over all vectors and their numbers; sg stops the gradient: the
    first draws the codes e to the vectors, the second the vectors to their codes. Counted in float32.

    The codebook `(n_codes, width)` starts near 0, far from where the vectors are: `reseed` before the training, and
    from time to time.

    Args:
        n_codes: how many codes there are, at least 2.
        commitment: weight of the second term, 0 or more; the paper's is 0.25.

    Raises:
        ValueError: other numbers; z without a batch's axis, or vectors of another width than the codes.
    """

    def __init__(self, n_codes, commitment=0.25, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        _check_n_codes(n_codes)
        if not 0 <= commitment < np.inf:
            raise ValueError(f"commitment is {commitment}; the weight must be 0 or more.")
        self.n_codes, self.commitment = n_codes, commitment

    def build(self, input_shape):
        if len(input_shape) < 2:
            raise ValueError(f"z must be (n, ..., width); given: {tuple(input_shape)}.")
        start = keras.initializers.RandomUniform(-1 / self.n_codes, 1 / self.n_codes)
        self.codebook = self.add_weight(name="codebook", shape=(self.n_codes, input_shape[-1]), initializer=start)

    def call(self, z):
        self._check_width(z.shape)
        # Not `take`: of a code that is taken twice, TensorFlow's Adam would make another step (docs of `Embedding`).
        e = ops.matmul(ops.one_hot(self._nearest(z), self.n_codes, dtype=z.dtype), self.codebook)
        to_codes = ops.mean(ops.square(z - ops.stop_gradient(e)))
        self.add_loss(ops.mean(ops.square(ops.stop_gradient(z) - e)) + self.commitment * to_codes)
        return straight_through(e, z)

    def _nearest(self, z):
        """|z|^2 - 2 z e + |e|^2, less |z|^2, which is the same for all codes: differences would fill the memory."""
        distances = ops.sum(ops.square(self.codebook), axis=1) - 2 * ops.matmul(z, ops.transpose(self.codebook))
        return ops.argmin(distances, axis=-1)

    def _check_width(self, shape):
        if shape[-1] != self.codebook.shape[1]:
            raise ValueError(f"z has vectors of {shape[-1]} numbers, the codes have {self.codebook.shape[1]}.")

    def indices(self, z):
        """Find the nearest code of each vector, the first of equally near ones.

        Args:
            z: finite numbers, `(n, ..., width)`, an encoder's output.

        Returns:
            An int32 array `(n, ...)`, 0 to n_codes - 1.

        Raises:
            ValueError: vectors of another width, or a number that is not finite.
        """
        z = to_numpy(z)
        if not self.built:
            self.build(z.shape)
        self._check_width(z.shape)
        if not np.isfinite(z).all():
            raise ValueError("z holds nan or infinity, to which no code is near: the training broke.")
        vectors = z.reshape(-1, z.shape[-1]).astype("float32")
        found = np.empty(len(vectors), "int32")
        for start in range(0, len(vectors), VECTORS_AT_ONCE):
            part = slice(start, start + VECTORS_AT_ONCE)
            found[part] = ops.convert_to_numpy(self._nearest(vectors[part]))
        return found.reshape(z.shape[:-1])

    def look_up(self, indices):
        """Take codes out of the codebook.

        Args:
            indices: integers `(n, ...)`, 0 to n_codes - 1.

        Returns:
            A float32 array `(n, ..., width)`, what a decoder takes.

        Raises:
            ValueError: indices that are not integers, or of no code; a layer that never saw a vector.
        """
        if not self.built:
            raise ValueError("The layer has no codebook yet: call it, or `reseed`, with vectors first.")
        indices = to_numpy(indices)
        if indices.dtype.kind not in "iu":
            raise ValueError(f"The indices must be integers; given: {indices.dtype}.")
        low, high = indices.min(initial=0), indices.max(initial=0)
        if low < 0 or high >= self.n_codes:
            raise ValueError(f"The indices run from {low} to {high}; the codes are 0 to {self.n_codes - 1}.")
        return ops.convert_to_numpy(self.codebook)[indices]

    def reseed(self, z, seed=0):
        """Move each code that is nearest to no vector of z onto one of these vectors, drawn at random.

        Args:
            z: as in `indices`; some thousand vectors, of images that were drawn evenly.
            seed: of the draw.

        Returns:
            How many codes were moved.

        Raises:
            ValueError: as in `indices`; fewer vectors than codes to move.
        """
        dead = np.setdiff1d(np.arange(self.n_codes), self.indices(z))
        vectors = to_numpy(z).reshape(-1, self.codebook.shape[1])
        if len(vectors) < len(dead):
            raise ValueError(f"{len(dead)} codes are to be moved, but z has only {len(vectors)} vectors: give more.")
        codebook = np.array(ops.convert_to_numpy(self.codebook))
        codebook[dead] = np.random.default_rng(seed).permutation(vectors)[: len(dead)]
        self.codebook.assign(codebook)
        return len(dead)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "n_codes": self.n_codes, "commitment": self.commitment}


def _check_n_codes(n_codes):
    if not isinstance(n_codes, Integral) or n_codes < 2:
        raise ValueError(f"n_codes is {n_codes!r}; it must be a whole number, at least 2.")

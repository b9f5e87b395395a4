"""Makes Keras train on a CPU as TensorFlow trains on a GPU; importing this file, before a model is compiled, is all.

`python run.py test --xla` does it in the tests' process and in every notebook's kernel. On a GPU two things are
different, and neither shows on a CPU:

* Keras compiles each model with XLA, unless one of its layers says `supports_jit = False`. An operation that XLA does
  not know ends the training in its first step.
* Sums are added up in an order that changes from run to run, so every gradient carries rounding errors that no seed
  repeats. What needs equality to the bit holds on a CPU only.
"""

import tensorflow as tf
from keras.src.optimizers.base_optimizer import BaseOptimizer
from keras.src.trainers.trainer import Trainer, model_supports_jit

ROUNDING = 1e-7  # of a gradient's root mean square: about float32's own precision
chance = tf.random.Generator.from_non_deterministic_state()  # has a state of its own, which no seed reaches
apply = BaseOptimizer.apply


def summed_otherwise(gradient):
    """The gradient with other rounding errors; a zero stays one, for a sum of zeros is 0 in any order."""
    if gradient is None:
        return None
    if isinstance(gradient, tf.IndexedSlices):  # an Embedding's: rows, and which ones they are
        return tf.IndexedSlices(summed_otherwise(gradient.values), gradient.indices, gradient.dense_shape)
    size = ROUNDING * tf.sqrt(tf.reduce_mean(tf.square(gradient)))
    noise = tf.cast(chance.normal(tf.shape(gradient)), gradient.dtype)
    return tf.where(gradient == 0, gradient, gradient + size * noise)


def apply_otherwise(optimizer, grads, trainable_variables=None):
    return apply(optimizer, [summed_otherwise(gradient) for gradient in grads], trainable_variables)


Trainer._resolve_auto_jit_compile = model_supports_jit  # what it asks where it sees a GPU
BaseOptimizer.apply = apply_otherwise
